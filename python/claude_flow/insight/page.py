"""Attention as one page that needs nothing else: choose a layer and a head, point at a cell."""

from __future__ import annotations

import json
from html import escape
from typing import Any

__all__ = ["page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #f7f8fa; --heat: 31 95 191; --line: #d5dae3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --paper: #12161d; --heat: 96 150 240; --line: #38414f; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.5 system-ui, sans-serif; }
.scroll { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 2px; font-variant-numeric: tabular-nums; }
td { min-width: 2.4rem; text-align: center; font-size: .8rem; background: rgb(var(--heat) / calc(var(--p) * .6)); }
th { font-size: .8rem; font-weight: 600; text-align: left; white-space: nowrap; } select { font: inherit; }
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


def page(answer: dict[str, Any]) -> str:
    """The page of an :func:`claude_flow.insight.attention.attention`."""
    title = f"Attention of {answer['model']}"
    told = ", ".join(f"{name} {value:+.2f}" for name, value in answer["agreement"].items())
    data = json.dumps(answer).replace("<", "\\u003c")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body><h1>{escape(title)}</h1>"
        f"<p>{escape(answer['data'])}. Take care: {escape(answer['caveat'])}. "
        f"Spearman's correlation with ablation, over {len(answer['tokens'])} tokens: {told}.</p>"
        f"<p><label>Show <select id=view></select></label></p>"
        f"<div class=scroll tabindex=0><table id=heat></table></div>"
        f"<script type='application/json' id=data>{data}</script><script>{_SCRIPT}</script></body></html>\n"
    )
