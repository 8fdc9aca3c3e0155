"""What ``data validate`` found as one HTML page: no scripts, nothing loaded from elsewhere, plots as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["STYLE", "halves", "page", "table"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1f2328; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin: 0; }
table { border-collapse: collapse; width: 100%; } td, th { border-bottom: 1px solid #d9dee4; padding: .35rem .5rem; }
td, th { text-align: left; vertical-align: top; } code { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; }
.error { color: #b3261e; } .warning { color: #8a5a00; } .info { color: #2b5f8f; } .error, .warning { font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1.2rem; }
figure { margin: 0; border: 1px solid #d9dee4; border-radius: 6px; padding: .7rem; } svg { width: 100%; height: auto; }
figcaption, .note { color: #59636e; font-size: .85rem; } .older { fill: #9aa7b4; } .newer { fill: #2b5f8f; }
text { font: 11px system-ui, sans-serif; fill: #59636e; }
"""
_DRIFT_PLOTS = 12
_BARS = 12  # of a text column: the most frequent values


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
        f"<h1>Dataset {escape(answer['dataset'])}</h1>",
        f"<p>{', '.join(counts)}, <span class=info>{answer['infos']} to know</span>. "
        f"{rows}. Checked: {', '.join(answer['checks'])}.</p>",
        "<h2>Findings</h2>",
        _findings(answer["findings"]) if answer["findings"] else "<p>Nothing to report.</p>",
    ]
    if answer["columns"]:
        columns = [c for c in answer["columns"] if not c["column"].startswith("x:")]
        parts += ["<h2>Known values per column</h2>", _known(columns)]
        if left_out := len(answer["columns"]) - len(columns):
            parts.append(f"<p class=note>{left_out} task features (x:…) are left out of this picture.</p>")
    if answer["drift"]:
        plots = "".join(halves(found) for found in answer["drift"][:_DRIFT_PLOTS])
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
    title = f"<title>{escape(answer['dataset'])}: data quality</title>"
    head = f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">{title}'
    return f"{head}<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"


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
    return f"<table><tr>{head}{''.join(rows)}</table>"


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table; numbers to four digits, other cells cut at 80 characters, nothing for None."""

    def cell(value: Any) -> str:
        if value is None:
            return "<td>"
        if isinstance(value, int):
            return f"<td class=number>{value}"
        return f"<td class=number>{value:.4g}" if isinstance(value, float) else f"<td>{escape(str(value)[:80])}"

    numeric = [isinstance(value, int | float) for value in rows[0]] if rows else [False] * len(names)
    head = "".join(f"<th{' class=number' * right}>{name}" for name, right in zip(names, numeric, strict=True))
    return f"<table><tr>{head}{''.join('<tr>' + ''.join(map(cell, row)) for row in rows)}</table>"


def _known(columns: list[dict[str, Any]]) -> str:
    """One horizontal bar per column: the share of rows where it is known."""
    drawn = []
    for index, column in enumerate(columns):
        y, share = 18 * index, 1 - column["missing_share"]
        name = escape(f"{column['table']}.{column['column']}")
        bar = f"<rect class=newer x=200 y={y + 2} width={400 * share:.1f} height=13 />"
        drawn += [f"<text x=190 y={y + 12} text-anchor=end>{name}</text>"]
        drawn += [f'<rect x=200 y={y + 2} width=400 height=13 fill="#eef1f4"/>{bar}']
        drawn += [f"<text x=608 y={y + 12}>{share:.0%}</text>"]
    return f'<svg viewBox="0 0 660 {18 * len(columns) + 4}" role=img aria-label="known share">{"".join(drawn)}</svg>'


def halves(found: dict[str, Any]) -> str:
    """Two histograms side by side: shares per bin, or per value of a text column."""
    is_text = found["measure"] == "total variation"  # its last label gathers what is rare
    count = min(_BARS, len(found["labels"]) - 1) if is_text else len(found["labels"])
    totals = {half: sum(found[half]) or 1 for half in ("older", "newer")}
    shares = {half: [value / totals[half] for value in found[half][:count]] for half in totals}
    highest = max(max(values) for values in shares.values()) or 1.0
    step = 300 / count
    bars = []
    for index in range(count):
        for offset, half in enumerate(("older", "newer")):
            share = shares[half][index]
            x, height = index * step + offset * step * 0.45, 90 * share / highest
            tip = escape(f"{found['labels'][index]}: {share:.1%} of the {half} half")
            bars.append(
                f"<rect class={half} x={x:.1f} y={95 - height:.1f} width={step * 0.42:.1f} height={height:.1f}>"
                f"<title>{tip}</title></rect>"
            )
    ends = [escape(found["labels"][index][:24]) for index in (0, count - 1)]
    axis = f"<text x=0 y=110>{ends[0]}</text><text x=300 y=110 text-anchor=end>{ends[1]}</text>"
    measure = f"{escape(found['measure'])} {found['distance']:.2f}, corrected p {found['p_corrected']:.2g}"
    caption = f"<h3>{escape(found['column'])}</h3><figcaption>{measure}</figcaption>"
    return f'<figure>{caption}<svg viewBox="0 0 300 114" role=img>{"".join(bars)}{axis}</svg></figure>'
