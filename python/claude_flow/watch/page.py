"""What was watched as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

from claude_flow.report import document, drawings, table
from claude_flow.watch.drift import facts

__all__ = ["drift", "runs"]

_PLOTS = 12
_CHARTS = 40


def drift(answer: dict[str, Any]) -> str:
    """The page of a ``monitor drift``."""
    parts = [f"<p>{escape(answer['method'])}, sensitivity {answer['sensitivity']}.</p>"]
    for name, group in answer["groups"].items():
        for kind in ("inputs", "outputs"):
            if found := group.get(kind):
                parts += [f"<h2>{escape(name)}: {kind}</h2>", _comparison(found)]
    return document(f"Drift of {answer['streaming_data']} from {answer['reference_data']}", "".join(parts))


def _comparison(found: dict[str, Any]) -> str:
    rows = [
        [r["feature"], r["effect"], r["threshold"], r["p_corrected"], "alarm" if r["alarm"] else "", r["since"] or ""]
        for r in found["features"]
    ]
    shown = [
        {
            **row,
            "column": row["feature"],
            "measure": "total variation" if row["is_category"] else row["measure"],
            # of a category the page's last label gathers what is rare
            **({"labels": [*row["labels"], ""], "older": [*row["older"], 0], "newer": [*row["newer"], 0]}
               if row["is_category"] else {}),
        }
        for row in found["features"][:_PLOTS]
    ]  # fmt: skip
    names = ["feature", "effect", "threshold", "corrected p", "", "since"]
    pictures = "".join(drawings.halves(row, ("reference", "stream")) for row in shown)
    grid = (
        f"<p class=note>Shares of the reference (grey) and of the stream (blue).</p><div class=plots>{pictures}</div>"
    )
    (_, told), *about = facts(found)
    return (
        f"<p><b class={'error' if found['verdict'] == 'drift' else 'info'}>{escape(told)}.</b></p>"
        f"{table(['', ''], about)}{'<h3>Features</h3>' + table(names, rows) if rows else ''}{grid if shown else ''}"
    )


def runs(answer: dict[str, Any]) -> str:
    """The page of an ``experiments compare``: what was given, and a plot of every metric."""
    heads = [run["run"][:8] for run in answer["runs"]]
    about = [[h, r["experiment"], r["name"], r["time"]] for h, r in zip(heads, answer["runs"], strict=True)]
    parts = [table(["run", "experiment", "name", "time"], about)]
    if answer["differ"]:
        rows = [[name, *values] for name, values in answer["differ"].items()]
        parts += ["<h2>Given</h2>", table(["parameter", *heads], rows)]
    plots = []
    for name, values in answer["metrics"].items():
        courses = answer["courses"].get(name, [])
        if any(len(course) > 1 for course in courses):
            shown = [(head, course) for head, course in zip(heads, courses, strict=True) if course]
            drawn = drawings.lines(shown)
        else:
            drawn = drawings.bars([(head, value) for head, value in zip(heads, values, strict=True)], name)
        plots.append(f"<figure><h3>{escape(name)}</h3>{drawn}</figure>")
    rows = [[name, *values] for name, values in answer["metrics"].items()]
    parts += ["<h2>Came out</h2>", table(["metric", *heads], rows), f"<div class=wide>{''.join(plots[:_CHARTS])}</div>"]
    return document(f"{len(heads)} runs compared", "".join(parts))
