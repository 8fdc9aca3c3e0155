"""Charts of what was measured, as .png, .svg, or a page .html that needs nothing else."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from claude_flow import files
from claude_flow.errors import InputError, require
from claude_flow.report.page import document, table

__all__ = ["Draw", "check", "svg", "write"]

Draw = Callable[[Any], None]  # onto matplotlib's Axes
_KINDS = (".html", ".png", ".svg")


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
    body = "".join(f"<h2>{html.escape(name)}</h2>{table(columns, rows)}" for name, columns, rows in tables)
    files.atomic_write(path, document(title, _inline(figure) + body))


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
    return picture[1] + " class=chart" + picture[2]
