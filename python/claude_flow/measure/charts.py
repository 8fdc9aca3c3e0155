"""Charts of what was measured, as .png, .svg, or a page .html that needs nothing else."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from claude_flow import files
from claude_flow.errors import InputError, require

__all__ = ["Draw", "check", "latency", "load", "roofline", "svg", "write"]

Draw = Callable[[Any], None]  # onto matplotlib's Axes
_KINDS = (".html", ".png", ".svg")
_STYLE = "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}td,th{padding:2px 10px;"
_STYLE += "border-bottom:1px solid #ccc;text-align:left}"


def check(path: Path | None) -> None:
    """Refuse a file that cannot be drawn before anything is measured: :class:`InputError`, or :class:`MissingExtra`
    where matplotlib is not installed."""
    if path is None:
        return
    if path.suffix not in _KINDS:
        raise InputError(f"{path}: a chart is a file {', '.join(_KINDS[:-1])} or {_KINDS[-1]}")
    require("matplotlib", "bench")


def write(path: Path, title: str, plots: Sequence[Draw], tables: Sequence[tuple[str, Sequence[str], Any]]) -> None:
    """Draw ``plots`` side by side; a page has ``tables`` (title, columns, rows) under them."""
    figure = _figure((8 * len(plots), 5))
    figure.suptitle(title)
    for axes, draw in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
        draw(axes)
    if path.suffix != ".html":
        files.atomic_write(path, _render(figure, "png" if path.suffix == ".png" else "svg"))
        return
    body = [f"<h1>{html.escape(title)}</h1>", _inline(figure)]
    for name, columns, rows in tables:
        head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
        lines = ["".join(f"<td>{html.escape(_text(cell))}</td>" for cell in row) for row in rows]
        body.append(f"<h2>{html.escape(name)}</h2><table><tr>{head}</tr><tr>{'</tr><tr>'.join(lines)}</tr></table>")
    page = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    files.atomic_write(path, page + "\n".join(body) + "\n")


def svg(plot: Draw, size: tuple[float, float] = (6, 4)) -> str:
    """One plot as an ``<svg>`` element to put into a page; ``size`` in inches."""
    figure = _figure(size)
    plot(figure.subplots())
    return _inline(figure)


def _figure(size: tuple[float, float]) -> Any:
    """A figure of so many inches; not by pyplot, which would look for a screen."""
    return require("matplotlib.figure", "bench").Figure(figsize=size, layout="constrained")


def _render(figure: Any, kind: str) -> bytes:
    rc_context = require("matplotlib", "bench").rc_context
    drawn = io.BytesIO()
    with rc_context({"svg.hashsalt": "claude-flow"}):  # else every drawing of the same data differs
        figure.savefig(drawn, format=kind, dpi=120, metadata={"Date": None})
    return drawn.getvalue()


def _inline(figure: Any) -> str:
    picture = _render(figure, "svg").decode("utf-8").partition("<svg")
    return picture[1] + picture[2]


def _text(cell: Any) -> str:
    return "-" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def roofline(answer: dict[str, Any]) -> Draw:
    """The ops of a ``profile.computation`` under the machine's ceilings."""

    def draw(axes: Any) -> None:
        ceilings = answer["ceilings"]
        tops = {"fp32": ceilings["operations_per_second"]}
        if answer["precision"] == "int8":
            tops["int8"] = ceilings["int8_operations_per_second"]
        top = max(tops.values())
        ops = [op for op in answer["ops"] if op["operations"] and op["operations_per_second"]]
        intensities = [op["operations"] / op["bytes"] for op in ops]
        lowest, highest = min([0.1, *intensities]), max([100.0, *intensities])
        steps = [lowest * (highest / lowest) ** (i / 100) for i in range(101)]
        for rate in ceilings["bytes_per_second"]:
            line = [min(top, step * rate["rate"]) / 1e9 for step in steps]
            axes.plot(steps, line, color="0.6", linewidth=0.8)
            axes.annotate(f"{rate['working_set'] >> 10} KiB", (steps[0], line[0]), fontsize=7, color="0.4")
        for precision, limit in tops.items():
            axes.axhline(limit / 1e9, color="0.3", linewidth=0.8, linestyle="--")
            axes.annotate(f"{precision} limit", (steps[-1], limit / 1e9), fontsize=7, ha="right", va="bottom")
        for kind in dict.fromkeys(op["kind"] for op in ops):
            points = [(i, op) for i, op in zip(intensities, ops, strict=True) if op["kind"] == kind]
            sizes = [20 + 400 * op["seconds"] / answer["seconds"] for _, op in points]
            axes.scatter(
                [i for i, _ in points],
                [op["operations_per_second"] / 1e9 for _, op in points],
                sizes,
                label=kind,
                alpha=0.6,
            )
        axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="10⁹ operations per second")
        axes.legend(title="area = time")

    return draw


def load(answer: dict[str, Any]) -> Draw:
    """Latency over the number of clients, of a ``workload.benchmark``."""

    def draw(axes: Any) -> None:
        for kind in dict.fromkeys(row["workload"] for row in answer["rows"]):
            rows = sorted((row for row in answer["rows"] if row["workload"] == kind), key=lambda row: row["clients"])
            clients = [row["clients"] for row in rows]
            (line,) = axes.plot(clients, [row["p50_ms"] for row in rows], marker="o", label=f"{kind}, p50")
            axes.plot(
                clients,
                [row["p99_ms"] for row in rows],
                marker="^",
                linestyle=":",
                color=line.get_color(),
                label=f"{kind}, p99",
            )
        axes.set(yscale="log", xlabel="clients", ylabel="milliseconds")
        axes.legend()

    return draw


def latency(answer: dict[str, Any]) -> Draw:
    """The percentiles of a ``profile.latency``."""

    def draw(axes: Any) -> None:
        shares = answer["percentiles"]
        for row in answer["rows"]:
            label = f"{row['variation']}: {row['input']}"
            axes.plot([str(p) for p in shares], [row[f"p{p}_ms"] for p in shares], marker="o", label=label)
        axes.set(yscale="log", xlabel="percentile", ylabel="milliseconds")
        axes.legend()

    return draw
