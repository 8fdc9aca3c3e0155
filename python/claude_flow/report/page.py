"""Pages of HTML that need nothing else, follow the system's light or dark, and look alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["document", "table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --muted: #59636e; --paper: #f7f8fa; --line: #d5dae3; --empty: #e6eaf0;
        --heat: 31 95 191; --cold: 196 98 16; --older: #9aa7b4; --bad: #b3261e; --doubt: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --muted: #a4adba; --paper: #12161d; --line: #38414f;
        --empty: #262d38; --heat: 96 150 240; --cold: 224 138 60; --older: #6b7787; --bad: #ff8a80;
        --doubt: #e0b050; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
code { overflow-wrap: anywhere; } select { font: inherit; }
.note, figcaption { color: var(--muted); font-size: .85rem; }
.error { color: var(--bad); } .warning { color: var(--doubt); } .error, .warning { font-weight: 600; }
.info, .ok { color: rgb(var(--heat)); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
.bar { width: 16rem; } .bar i { display: block; height: .9rem; background: rgb(var(--heat)); }
.heat { border-collapse: separate; border-spacing: 2px; }
.heat th { white-space: nowrap; } .heat td, .heat th { border: 0; }
.heat td { min-width: 2.4rem; text-align: center; font-size: .8rem;
           background: rgb(var(--heat) / calc(var(--p, 0) * .6)); }
.heat .minus { background: rgb(var(--cold) / calc(var(--p, 0) * .6)); }
figure { margin: 0; } figure h3 { margin: 0 0 .4rem; } svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.plots, .wide { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); }
.wide { grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); }
.plots figure, .wide figure { border: 1px solid var(--line); border-radius: 6px; padding: .7rem; }
.many { display: flex; flex-wrap: wrap; gap: 1rem; } .many figcaption { font-weight: 600; color: var(--ink); }
input[type=range] { width: 20rem; vertical-align: middle; accent-color: rgb(var(--heat)); }
.older { fill: var(--older); } .newer { fill: rgb(var(--heat)); } .empty { fill: var(--empty); }
.dot { fill: rgb(var(--heat)); fill-opacity: .55; } .box { fill: none; stroke: var(--ink); }
.line0, .line1 { fill: none; stroke: rgb(var(--heat)); stroke-width: 2.5; }
.line1 { stroke: var(--ink); stroke-dasharray: 5 4; stroke-width: 1.5; }
.chart { background: #fff; color: #000; } .chart text { font: inherit; fill: #000; }
"""


def document(title: str, body: str, data: Any = None, script: str = "") -> str:
    """A page of ``body``, which is HTML, under ``title``, which is text; ``script`` finds ``data`` as JSON in the
    element of that id.

    >>> "<title>Load &amp; time</title>" in document("Load & time", "<p>fine</p>")
    True
    """
    code = ""
    if script:
        text = json.dumps(data).replace("<", "\\u003c")
        code = f"<script type='application/json' id=data>{text}</script><script>{script}</script>"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body><h1>{escape(title)}</h1>{body}{code}</body></html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table; numbers to four digits, other cells cut at 200 characters, nothing for None.

    >>> table(["<name>", "share"], [["a & b", 0.123456]])[:70]
    '<div class=scroll tabindex=0><table><tr><th>&lt;name&gt;<th class=numb'
    """

    def cell(value: Any) -> str:
        if value is None:
            return "<td>"
        if isinstance(value, bool):
            return f"<td>{'yes' if value else 'no'}"
        if isinstance(value, int):
            return f"<td class=number>{value}"
        return f"<td class=number>{value:.4g}" if isinstance(value, float) else f"<td>{escape(str(value)[:200])}"

    numbers = [[isinstance(cell, int | float) and not isinstance(cell, bool) for cell in row] for row in rows]
    numeric = [any(row[i] for row in numbers) for i in range(len(columns))]
    head = "".join(f"<th{' class=number' * right}>{escape(name)}" for name, right in zip(columns, numeric, strict=True))
    body = "".join("<tr>" + "".join(map(cell, row)) for row in rows)
    return f"<div class=scroll tabindex=0><table><tr>{head}{body}</table></div>"
