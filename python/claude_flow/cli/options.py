"""Every option that two commands share, written once, so that it reads and behaves alike everywhere.

A command takes one as a decorator: ``@options.model()``. What differs between commands is an argument: the line of
help, and the default or, where there is none, the words of ``without`` that the help shows in its place. The types of
values are in :mod:`claude_flow.cli.params`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from claude_flow import files, registry
from claude_flow.cli import params
from claude_flow.cli.output import Output
from claude_flow.errors import InputError
from claude_flow.report import charts

__all__ = [
    "Option",
    "backend",
    "baselines",
    "chart",
    "check_pictures",
    "confidence_threshold",
    "data",
    "dataset",
    "duration",
    "explain_decision",
    "html",
    "isa",
    "log_request",
    "metrics",
    "model",
    "output",
    "page",
    "precision",
    "seed",
    "threads",
    "time_budget",
    "write_pictures",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_BUDGET = "CLAUDE_FLOW_TIME_BUDGET"


class Option(Protocol):
    """A decorator that gives a command an option."""

    def __call__(self, function: _Function, /) -> _Function:
        """The function, with the option."""


# What a command works on and what it makes ----------------------------------------------------------------


def model(help: str = "A name, NAME/VERSION, or a path.", *, without: str = "") -> Option:
    """``--model``, required unless there is something ``without`` it."""
    return click.option("--model", metavar="MODEL", required=not without, show_default=without or False, help=help)


def dataset(help: str) -> Option:
    """``--dataset`` of tables."""
    return click.option("--dataset", metavar="DATASET", default="swarm-training-data", show_default=True, help=help)


def data(help: str, *, default: str | None = None, without: str = "", metavar: str = "DATASET") -> Option:
    """``--data``: what a network learns from."""
    return click.option("--data", metavar=metavar, default=default, show_default=without or True, help=help)


def output(what: str, *, default: str | None = None, without: str = "") -> Option:
    """``--output``, as ``name``: what the new model or dataset is called."""
    return click.option(
        "--output",
        "name",
        type=params.NAME,
        default=default,
        show_default=without or True,
        help=f"The {what}'s name.",
    )


def html() -> Option:
    """``--html``: a report's page."""
    return click.option(
        "--html", type=click.Path(path_type=Path), help="Write the report with plots to this file .html too."
    )


def page() -> Option:
    """``--html``: the page that a command writes anyhow."""
    return click.option(
        "--html", type=click.Path(path_type=Path), show_default="reports/ in the workspace", help="Where the page goes."
    )


def chart() -> Option:
    """``--chart``: a measurement's picture."""
    return click.option("--chart", type=click.Path(path_type=Path), help="Draw it too: a file .html, .png or .svg.")


def check_pictures(html: Path | None, chart: Path | None) -> None:
    """Refuse a page or a chart of another kind before anything is computed: :class:`InputError`."""
    if html is not None and html.suffix != ".html":
        raise InputError(f"{html}: the page is a file .html; --chart takes .png and .svg")
    charts.check(chart)


def write_pictures(
    output: Output,
    answer: dict[str, Any],
    what: str,
    html: Path | None,
    chart: Path | None,
    page: Callable[[dict[str, Any]], str] | None,
) -> None:
    """Write what an explanation of ``answer["model"]`` shows, and say where it is.

    ``page``, if any, goes by default into the workspace; ``chart``, if one is asked for, to its file.
    """
    model = answer["model"]
    if page is not None:
        file = html or registry.workspace() / "reports" / f"{what}-{model.replace('/', '-')}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        files.atomic_write(file, page(answer))
        answer["page"] = str(file)
        output.note(f"{file} is written")
    if chart is not None:
        from claude_flow.insight.plots import PLOTS

        charts.write(chart, f"{model}: {what.replace('-', ' ')}", PLOTS[what](answer), [])
        answer["chart"] = str(chart)
        output.note(f"{chart} is written")


# How it runs ----------------------------------------------------------------------------------------------


def backend() -> Option:
    """``--backend``."""
    return click.option(
        "--backend",
        type=click.Choice(["native", "wasm", "torch"]),
        show_default="the workspace's setting, else native",
        help="The engine, the same as WebAssembly, or the reference.",
    )


def log_request() -> Option:
    """``--log-request``."""
    return params.switch(
        "--log-request",
        None,
        "Keep requests and answers in the workspace's requests/.",
        without="true where there is a workspace",
        envvar="CLAUDE_FLOW_LOG_REQUESTS",
    )


def isa() -> Option:
    """``--isa``."""
    return click.option("--isa", default="auto", show_default=True, help="Instruction set of the engine, such as avx2.")


def precision() -> Option:
    """``--precision``."""
    return click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "int8", "int4"]),
        default="auto",
        show_default=True,
        help="Arithmetic: what the file holds, or integers.",
    )


def threads() -> Option:
    """``--threads``."""
    return click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        show_default="the workspace's setting, else 1",
        help="Threads of the engine.",
    )


def seed(help: str) -> Option:
    """``--seed``; the libraries behind the commands all take 32 bits."""
    return click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help=help)


def time_budget(help: str) -> Option:
    """``--time-budget`` in seconds, of what gets better with time."""
    return click.option("--time-budget", type=params.DURATION, envvar=_BUDGET, show_envvar=True, help=help)


def duration(default: str, help: str) -> Option:
    """``--duration`` in seconds, of a measurement. The budget of the environment cuts it, and a note says so."""

    def cut(context: click.Context, option: click.Parameter, seconds: float) -> float:
        budget = os.environ.get(_BUDGET)
        most = float(params.DURATION.convert(budget, option, context)) if budget else seconds
        if most < seconds:
            context.ensure_object(Output).note(f"{_BUDGET} cuts --duration from {seconds:g} s to {most:g} s")
        return min(seconds, most)

    return click.option(
        "--duration",
        type=params.DURATION,
        default=default,
        show_default=True,
        callback=cut,
        help=f"{help} At most ${_BUDGET}.",
    )


def tensorboard() -> Option:
    """``--tensorboard-logging``."""
    return params.switch("--tensorboard-logging", help="Log to the run's folder, for TensorBoard.")


def resume(help: str) -> Option:
    """``--resume``."""
    return click.option("--resume", is_flag=True, help=help)


# What is judged, and how an answer reads ------------------------------------------------------------------


def metrics(without: str = "all") -> Option:
    """``--metrics``."""
    return click.option("--metrics", type=params.NAMES, show_default=without, help="What to measure.")


def baselines(help: str, *, default: Sequence[str] = (), without: str = "") -> Option:
    """``--baselines``."""
    return click.option(
        "--baselines",
        type=params.NAMES,
        default=tuple(default) or None,
        show_default=without or ", ".join(default),
        help=help,
    )


def confidence_threshold() -> Option:
    """``--confidence-threshold``."""
    return click.option(
        "--confidence-threshold",
        type=params.SHARE,
        default=0.0,
        show_default=True,
        help="Withhold what is less sure than this.",
    )


def explain_decision() -> Option:
    """``--explain-decision``."""
    return params.switch("--explain-decision", help="Name the inputs that decided.")
