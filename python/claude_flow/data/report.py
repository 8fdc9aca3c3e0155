"""What ``data validate`` found as one HTML page: no scripts, nothing loaded from elsewhere, plots as inline SVG."""

from __future__ import annotations

from html import escape
from typing import Any

from claude_flow.report import document, drawings, table

__all__ = ["page"]

_DRIFT_PLOTS = 12


def page(answer: dict[str, Any]) -> str:
    """The page for what :func:`claude_flow.data.validate.validate` returned.

    >>> "<h1>Dataset logs</h1>" in page({"dataset": "logs", "path": "logs", "checks": [], "rows": {"runs": 0},
    ...     "errors": 0, "warnings": 0, "infos": 0, "findings": [], "columns": [], "drift": [], "leakage": [],
    ...     "anomalies": []})
    True
    """
    counts = [
        f"<span class={s}>{answer[f'{s}s']} {s}{'s' * (answer[f'{s}s'] != 1)}</span>" for s in ("error", "warning")
    ]
    rows = ", ".join(f"{count} {table}" for table, count in answer["rows"].items() if count) or "no rows"
    parts = [
        f"<p>{', '.join(counts)}, <span class=info>{answer['infos']} to know</span>. "
        f"{rows}. Checked: {', '.join(answer['checks'])}.</p>",
        "<h2>Findings</h2>",
        _findings(answer["findings"]) if answer["findings"] else "<p>Nothing to report.</p>",
    ]
    if answer["columns"]:
        columns = [c for c in answer["columns"] if not c["column"].startswith("x:")]
        known = [(f"{c['table']}.{c['column']}", 1 - c["missing_share"]) for c in columns]
        parts += ["<h2>Known values per column</h2>", drawings.shares(known, "known share")]
        if left_out := len(answer["columns"]) - len(columns):
            parts.append(f"<p class=note>{left_out} task features (x:…) are left out of this picture.</p>")
    if answer["drift"]:
        plots = "".join(drawings.halves(found) for found in answer["drift"][:_DRIFT_PLOTS])
        note = "Share of the runs of the older half (grey) and of the newer (blue); the greatest differences first."
        parts += ["<h2>Older and newer runs</h2>", f"<p class=note>{note}</p><div class=plots>{plots}</div>"]
    if answer["leakage"]:
        told = [
            [leak["column"], leak["label"], leak["measure"], leak["value"], leak["rows"]] for leak in answer["leakage"]
        ]
        note = "How well each column tells the outcome alone; 1 is perfect, and suspicious. The twelve best."
        leaks = table(["column", "label", "measure", "value", "rows"], told[:12])
        parts += ["<h2>Columns that tell the outcome</h2>", f"<p class=note>{note}</p>{leaks}"]
    if answer["anomalies"]:
        unlike = [[a["run_id"], a["score"], a["column"], a["value"], a["median"]] for a in answer["anomalies"][:20]]
        strange = table(["run", "score", "most unusual in", "value", "median"], unlike)
        parts += ["<h2>Runs unlike the others</h2>", strange]
    return document(f"Dataset {answer['dataset']}", "".join(parts))


def _findings(findings: list[dict[str, Any]]) -> str:
    rows = []
    for found in findings:
        where = f"{found['table']}.{found['column']}" if found["column"] else found["table"]
        examples = "<br>".join(f"<code>{escape(example[:80])}</code>" for example in found["examples"][:3])
        rows.append(
            f"<tr><td class={found['severity']}>{found['severity']}<td>{escape(found['name'])}<td>{escape(where)}"
            f"<td>{escape(found['message'])}<td class=number>{found['count']} of {found['of']}<td>{examples}"
        )
    head = "".join(f"<th>{name}" for name in ("", "finding", "where", "what", "count", "examples"))
    return f"<div class=scroll tabindex=0><table><tr>{head}{''.join(rows)}</table></div>"
