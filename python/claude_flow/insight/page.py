"""What was found, as pages that need nothing else and follow the system's light or dark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["document", "features", "lines_svg", "page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #f7f8fa; --heat: 31 95 191; --line: #d5dae3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --paper: #12161d; --heat: 96 150 240; --line: #38414f; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.5 system-ui, sans-serif; }
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 2px; font-variant-numeric: tabular-nums; }
td { min-width: 2.4rem; text-align: center; font-size: .8rem; background: rgb(var(--heat) / calc(var(--p) * .6)); }
th { font-size: .8rem; font-weight: 600; text-align: left; white-space: nowrap; } select { font: inherit; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; } .plain { background: none; padding: 0 .6rem; text-align: left; }
.bar { background: none; width: 16rem; } .bar i { display: block; height: .9rem; background: rgb(var(--heat)); }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
.line0, .line1 { fill: none; stroke: rgb(var(--heat)); stroke-width: 2.5; }
.line1 { stroke: var(--ink); stroke-dasharray: 5 4; stroke-width: 1.5; }
"""
_SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const views = data.attention.map((a) => [`layer ${a.layer}, head ${a.head}`, a.weights]);
views.push(["rollout", data.rollout]);
at("view").replaceChildren(...views.map(([name]) => new Option(name)));
function show() {
  const [, weights] = views[at("view").selectedIndex];
  const most = Math.max(...weights.flat());
  const row = (head, cells) => {
    const tr = document.createElement("tr"), th = document.createElement("th");
    th.textContent = head;
    tr.append(th, ...cells);
    return tr;
  };
  const heads = data.tokens.map((t) => Object.assign(document.createElement("th"), { textContent: t }));
  const top = row("from \\u2193 to \\u2192", heads);
  at("heat").replaceChildren(top, ...data.tokens.map((from, i) => row(from, data.tokens.map((to, j) => {
    const cell = document.createElement("td"), text = `${Math.round(100 * weights[i][j])}%`;
    cell.textContent = text;
    cell.title = `${from} \\u2192 ${to}: ${text}`;
    cell.style.setProperty("--p", weights[i][j] / most);
    return cell;
  }))));
}
at("view").addEventListener("input", show);
show();
"""


def document(title: str, body: str, data: Any = None, script: str = "") -> str:
    """A page that needs nothing else: ``body`` is HTML, ``script`` finds ``data`` as JSON in the element of that id."""
    code = ""
    if script:
        text = json.dumps(data).replace("<", "\\u003c")
        code = f"<script type='application/json' id=data>{text}</script><script>{script}</script>"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body><h1>{escape(title)}</h1>{body}{code}</body></html>\n"
    )


def page(answer: dict[str, Any]) -> str:
    """The page of an :func:`claude_flow.insight.attention.attention`."""
    told = ", ".join(f"{name} {value:+.2f}" for name, value in answer["agreement"].items())
    return document(
        f"Attention of {answer['model']}",
        f"<p>{escape(answer['data'])}. Take care: {escape(answer['caveat'])}. "
        f"Spearman's correlation with ablation, over {len(answer['tokens'])} tokens: {told}.</p>"
        f"<p><label>Show <select id=view></select></label></p>"
        f"<div class=scroll tabindex=0><table id=heat></table></div>",
        answer,
        _SCRIPT,
    )


def features(answer: dict[str, Any]) -> str:
    """The page of a :func:`claude_flow.insight.features.features`."""
    parts = []
    for title, key in (("Groups", "groups"), ("Features", "features")):
        most = max((row["share"] for row in answer[key]), default=1) or 1
        rows = "".join(
            f"<tr><th>{escape(row['name'])}</th><td class=plain>{escape(row['group'])}</td>"
            f"<td class=bar><i style='width:{100 * row['share'] / most:.1f}%'></i></td>"
            f"<td class=plain>{row['share']:.1%}</td><td class=plain>{row['effect']:+.4f}</td>"
            f"<td class=plain>{_p(row['p_corrected'])}</td></tr>"
            for row in answer[key]
        )
        head = (
            "<tr><th>input</th><th>group</th><th>share of all effects</th><th></th><th>mean effect</th><th>p</th></tr>"
        )
        parts.append(f"<h2>{title}</h2><div class=scroll tabindex=0><table>{head}{rows}</table></div>")
    for side, says in (("deletion", "blanked, most important first"), ("insertion", "shown, most important first")):
        curve = answer["curves"][side]
        told = f"area {curve['area']:.4f}, random order {curve['random_area']:.4f}, p {_p(curve['p_corrected'])}"
        lines = [("by value", curve["by_value"]), ("random order", curve["random"])]
        parts.append(f"<h2>The lead while inputs are {says}</h2><p>{told}</p>{lines_svg(lines)}")
    about = answer["completeness"]
    error = "" if about["median_error"] is None else f" Completeness error: median {about['median_error']:.2%}, "
    error += "" if about["median_error"] is None else f"largest {about['largest_error']:.2%}."
    told = f"{answer['data']}. {answer['method']}, baseline {answer['baseline']}. Explained is {answer['explained']}."
    title = f"What the choices of {answer['model']} rest on"
    return document(title, f"<p>{escape(told)}{error} {escape(about['note'])}.</p>{''.join(parts)}")


def lines_svg(lines: Sequence[tuple[str, Sequence[float]]], width: int = 560, height: int = 220) -> str:
    """Lines over equal steps as an ``<svg>`` in the page's colours; the first is solid, the others dashed."""
    values = [v for _, line in lines for v in line]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def path(line: Sequence[float]) -> str:
        step = (width - 60) / max(len(line) - 1, 1)
        return " ".join(
            f"{50 + i * step:.1f},{10 + (height - 30) * (1 - (v - low) / span):.1f}" for i, v in enumerate(line)
        )

    dash = ("──", "- -")
    drawn = "".join(
        f"<polyline class='line{min(i, 1)}' points='{path(line)}'/><text x='{150 + 160 * i}' "
        f"y='{height - 4}' text-anchor=end>{escape(name)} {dash[min(i, 1)]}</text>"
        for i, (name, line) in enumerate(lines)
    )
    axis = f"<text x=0 y=16>{high:.3g}</text><text x=0 y={height - 18}>{low:.3g}</text>"
    names = escape(", ".join(name for name, _ in lines))
    return f"<svg viewBox='0 0 {width} {height}' width={width} role=img aria-label='{names}'>{axis}{drawn}</svg>"


def _p(value: float | None) -> str:
    return "too few requests" if value is None else f"{value:.3g}"
