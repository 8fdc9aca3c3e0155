"""``claude-flow neural monitor``: watch what learns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from claude_flow.cli import params
from claude_flow.cli.command import Group
from claude_flow.cli.curve import sparkline
from claude_flow.cli.output import Output, Table
from claude_flow.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["group"]

group = Group(
    "monitor",
    members={
        "drift": ("claude_flow.cli.drift:drift", "Tell whether what is asked has moved away from what was learned."),
        "production": (
            "claude_flow.cli.production:production",
            "Watch models in production, from the requests that this workspace logged, until Ctrl-C.",
        ),
    },
    help="Watch training runs, drift, production.",
)

_TRAINING_EXAMPLE = """\
claude-flow neural monitor training \\
  --model "coordination-v3" \\
  --metrics '["loss","accuracy","coordination-efficiency","attention-weights"]' \\
  --visualization "real-time" \\
  --early-stopping-alerts true"""


@group.command(
    "training",
    examples=[_TRAINING_EXAMPLE, "claude-flow neural monitor training --model my-swarm --format json"],
)
@click.option("--model", required=True, metavar="NAME", help="The model that the run trains: `train --output NAME`.")
@click.option(
    "--metrics",
    type=params.NAMES,
    default='["loss","accuracy","coordination-efficiency","attention-weights"]',
    show_default=True,
    help="What to show: these names, or any that the run logs.",
)
@click.option(
    "--visualization",
    type=click.Choice(["real-time", "snapshot"]),
    default="real-time",
    show_default=True,
    help="real-time: a live picture until the run ends, on a terminal; snapshot: the latest state once.",
)
@params.switch("--early-stopping-alerts", default=True, help="Say when the run is about to stop early, or goes wrong.")
@click.option(
    "--refresh", type=params.DURATION, default="1s", show_default=True, help="How often the live picture is renewed."
)
@click.pass_obj
def training(
    output: Output,
    model: str,
    metrics: tuple[str, ...],
    visualization: str,
    early_stopping_alerts: bool,
    refresh: float,
) -> None:
    """Show how a run of `neural train` goes, while it runs or afterwards.

    It reads the log that training appends to in the workspace's runs/NAME, so it can come and go at any time. Into a
    pipe, and with --format json, it writes the latest state once. A metric that the run did not log is marked
    unavailable, with the reason.
    """
    from claude_flow.train import monitor

    if not metrics:
        raise InputError("--metrics names no metric")
    if refresh < 0.1:
        raise InputError(f"--refresh must be 0.1 s or more, not {refresh:g} s")
    answer = monitor.watch(model, metrics)

    def pictures() -> Iterator[RenderableType]:
        from claude_flow.cli.dashboard import picture

        state = answer
        while True:
            yield picture(state, early_stopping_alerts)
            if state["state"] != "running":
                return
            time.sleep(refresh)
            state = monitor.watch(model, metrics)

    if visualization == "real-time" and output.is_interactive:
        output.live(pictures())
        return
    if not early_stopping_alerts:
        answer = {**answer, "alerts": []}
    output.result(answer, _tables(answer))


def _tables(answer: dict[str, Any]) -> list[Table]:
    best = answer["best"] or {"epoch": None, "value": None}
    facts = [
        ["network", answer["network"]],
        ["state", answer["state"] + (f": {answer['reason']}" if answer["reason"] else "")],
        ["epoch", f"{answer['epoch']} of {answer['epochs']}"],
        ["learning rate", answer["learning_rate"]],
        ["seconds trained", answer["seconds"]],
        ["seconds left", answer["eta_s"]],
        ["monitor", answer["monitor"]],
        ["best epoch", best["epoch"]],
        ["best value", best["value"]],
        ["epochs without better", f"{answer['stale']} of {answer['patience'] or 'any number'}"],
    ]
    tables: list[Table] = [(f"run {answer['run']}", ["what", "value"], facts)]
    rows = []
    for metric in answer["metrics"]:
        for name, series in metric["series"].items():
            values = [value for _, value in series]
            rows.append([metric["name"], name, values[-1], min(values), max(values), sparkline(values)])
    if rows:
        tables.append(("metrics", ["metric", "logged as", "last", "least", "greatest", "course"], rows))
    if missing := [[m["name"], m["unavailable"]] for m in answer["metrics"] if not m["series"]]:
        tables.append(("unavailable", ["metric", "why"], missing))
    if answer["alerts"]:
        tables.append(("alerts", ["alert", "what"], [[alert["name"], alert["message"]] for alert in answer["alerts"]]))
    return tables
