"""What was found as pictures .png and .svg: what matplotlib draws of every page's answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from claude_flow.report.charts import Draw

__all__ = ["PLOTS"]

_ROWS = 14  # bars of a chart
_NAMED = 24  # tokens whose names are legible along an axis


def _heat(title: str, values: Any, rows: list[str], columns: list[str], centred: bool = False) -> Draw:
    """Cells ``values [rows][columns]``; ``centred``: of both signs."""

    def draw(axes: Any) -> None:
        most = max((abs(v) for row in values for v in row), default=1) or 1
        low, colours = (-most, "RdBu") if centred else (0, "Blues")
        image = axes.imshow(values, aspect="auto", cmap=colours, vmin=low, vmax=most)
        axes.figure.colorbar(image, ax=axes)
        if len(columns) <= _NAMED:
            axes.set_xticks(range(len(columns)), columns, rotation=90)
        if len(rows) <= _NAMED:
            axes.set_yticks(range(len(rows)), rows)
        axes.set_title(title)

    return draw


def _bars(title: str, rows: list[tuple[str, float]]) -> Draw:
    def draw(axes: Any) -> None:
        names, values = zip(*reversed(rows), strict=True)
        axes.barh(range(len(names)), values)
        axes.set_yticks(range(len(names)), names)
        axes.set_title(title)

    return draw


def _lines(title: str, series: list[tuple[str, list[float]]], x: str) -> Draw:
    def draw(axes: Any) -> None:
        for name, values in series:
            axes.plot(values, label=name)
        axes.set_xlabel(x)
        axes.set_title(title)
        axes.legend()

    return draw


def _attention(answer: dict[str, Any]) -> list[Draw]:
    tokens = answer["tokens"]
    rows = answer["attention"]
    mean = [[sum(r["weights"][i][j] for r in rows) / len(rows) for j in range(len(tokens))] for i in range(len(tokens))]
    shown = (
        ("raw, mean of the layers and heads", mean),
        ("rollout", answer["rollout"]),
        ("gradient-weighted", answer["gradient_weighted"]),
    )
    return [_heat(title, values, tokens, tokens) for title, values in shown]


def _features(answer: dict[str, Any]) -> list[Draw]:
    rows = [(f"{row['name']} ({row['group']})", row["share"]) for row in answer["features"][:_ROWS]]
    curve = answer["curves"]["deletion"]
    lines = [("most important first", curve["by_value"]), ("random order", curve["random"])]
    return [_bars("share of all effects", rows), _lines("the lead while inputs are blanked", lines, "twelfths blanked")]


def _boundaries(answer: dict[str, Any]) -> list[Draw]:
    flat = answer["projection"]

    def draw(axes: Any) -> None:
        for name in dict.fromkeys(flat["becomes"]):
            points = [p for p, own in zip(flat["points"], flat["becomes"], strict=True) if own == name]
            axes.scatter(*zip(*points, strict=True), s=8, label=name)
        axes.scatter(*flat["points"][0], s=120, facecolors="none", edgecolors="black", label="the request")
        one, other = flat["explained"]
        axes.set(xlabel=f"first component ({one:.0%})", ylabel=f"second component ({other:.0%})")
        axes.set_title(f"what {flat['decision']} becomes")
        axes.legend()

    return [draw]


def _evolution(answer: dict[str, Any]) -> list[Draw]:
    lines = [(f"layer {h['layer']}, head {h['head']}", h["entropy"]) for h in answer["heads"]]
    return [_lines("entropy of attention", lines, "request")]


def _comparison(answer: dict[str, Any]) -> list[Draw]:
    layers = answer["layers"]
    width = max(len(layer["shown"]) for layer in layers)
    values = [[unit["effect"] for unit in row["shown"]] + [0.0] * (width - len(row["shown"])) for row in layers]
    names = [layer["layer"] for layer in layers]
    return [_heat("units that differ most, in deviations", values, names, [str(i + 1) for i in range(width)], True)]


#: what a page shows -> its plots of an answer
PLOTS: dict[str, Callable[[dict[str, Any]], list[Draw]]] = {
    "attention": _attention,
    "features": _features,
    "boundaries": _boundaries,
    "attention-evolution": _evolution,
    "activation-comparison": _comparison,
}
