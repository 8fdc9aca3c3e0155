"""Small drawings as ``<svg>`` in a page's own colours, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["bars", "halves", "lines", "shares"]

_NAMED, _LETTER = 6, 7  # categories that are named one by one; the width of a letter
_BARS = 12  # of a text column: the most frequent values


def lines(series: Sequence[tuple[str, Sequence[float]]], width: int = 560, height: int = 220) -> str:
    """Lines over equal steps as an ``<svg>`` in the page's colours; the first is solid, the others dashed."""
    values = [v for _, line in series for v in line]
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
        for i, (name, line) in enumerate(series)
    )
    axis = f"<text x=0 y=16>{high:.3g}</text><text x=0 y={height - 18}>{low:.3g}</text>"
    names = escape(", ".join(name for name, _ in series))
    return f"<svg viewBox='0 0 {width} {height}' width={width} role=img aria-label='{names}'>{axis}{drawn}</svg>"


def bars(rows: Sequence[tuple[str, float | None]], label: str) -> str:
    """One horizontal bar per row from 0 to its value, which may be negative or unknown; ``label`` says what is drawn.

    >>> bars([("a", 2.0), ("b", -1.0), ("c", None)], "loss").count("class=newer")
    2
    """
    known = [value for _, value in rows if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    scale = 300 / ((high - low) or 1.0)
    drawn = []
    for index, (name, value) in enumerate(rows):
        y = 20 * index
        drawn += [f"<text x=90 y={y + 13} text-anchor=end>{escape(name)}</text>"]
        if value is not None:
            x, width = 100 + scale * (min(value, 0.0) - low), scale * abs(value)
            drawn += [f"<rect class=newer x={x:.1f} y={y + 3} width={width:.1f} height=13 />"]
        drawn += [f"<text x=410 y={y + 13}>{'-' if value is None else f'{value:.4g}'}</text>"]
    return f"<svg viewBox='0 0 480 {20 * len(rows) + 4}' role=img aria-label='{escape(label)}'>{''.join(drawn)}</svg>"


def halves(found: dict[str, Any], names: tuple[str, str] = ("older half", "newer half")) -> str:
    """Two histograms side by side: shares per bin, or per value of a text column; ``names`` says of what."""
    is_text = found["measure"] == "total variation"  # its last label gathers what is rare
    count = min(_BARS, len(found["labels"]) - 1) if is_text else len(found["labels"])
    totals = {half: sum(found[half]) or 1 for half in ("older", "newer")}
    shares = {half: [value / totals[half] for value in found[half][:count]] for half in totals}
    highest = max(max(values) for values in shares.values()) or 1.0
    step = 300 / count
    bars = []
    for index in range(count):
        for offset, (half, name) in enumerate(zip(("older", "newer"), names, strict=True)):
            share = shares[half][index]
            x, height = index * step + offset * step * 0.45, 90 * share / highest
            tip = escape(f"{found['labels'][index]}: {share:.1%} of the {name}")
            bars.append(
                f"<rect class={half} x={x:.1f} y={95 - height:.1f} width={step * 0.42:.1f} height={height:.1f}>"
                f"<title>{tip}</title></rect>"
            )
    if is_text and count <= _NAMED:
        places = [(index, (index + 0.43) * step, "middle", int(step / _LETTER)) for index in range(count)]
    else:
        places = [(0, 0.0, "start", 24), (count - 1, 300.0, "end", 24)]
    axis = "".join(
        f"<text x={x:.0f} y=110 text-anchor={anchor}>{escape(found['labels'][index][:most])}</text>"
        for index, x, anchor, most in places
    )
    measure = f"{escape(found['measure'])} {found['distance']:.2f}, corrected p {found['p_corrected']:.2g}"
    caption = f"<h3>{escape(found['column'])}</h3><figcaption>{measure}</figcaption>"
    return f'<figure>{caption}<svg viewBox="0 0 300 114" role=img>{"".join(bars)}{axis}</svg></figure>'


def shares(rows: Sequence[tuple[str, float]], label: str) -> str:
    """One horizontal bar per row: its name and its share, 0 to 1; ``label`` says what is drawn."""
    drawn = []
    for index, (name, share) in enumerate(rows):
        y = 18 * index
        drawn += [f"<text x=190 y={y + 12} text-anchor=end>{escape(name)}</text>"]
        drawn += [f"<rect class=empty x=200 y={y + 2} width=400 height=13 />"]
        drawn += [f"<rect class=newer x=200 y={y + 2} width={400 * share:.1f} height=13 />"]
        drawn += [f"<text x=608 y={y + 12}>{share:.0%}</text>"]
    return f"<svg viewBox='0 0 660 {18 * len(rows) + 4}' role=img aria-label='{escape(label)}'>{''.join(drawn)}</svg>"
