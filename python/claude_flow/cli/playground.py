"""``claude-flow neural playground``: a local page to try models on."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Any

import click

from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output
from claude_flow.errors import InputError, require

__all__ = ["playground"]


@click.command(
    "playground",
    cls=Command,
    examples=[
        """\
claude-flow neural playground \\
  --models '["coordination","optimization","prediction"]' \\
  --interactive-tuning true \\
  --real-time-feedback true""",
        "claude-flow neural playground --models coordination-v2,coordination-v3 --port 8900",
        "claude-flow neural playground --models coordination --terminal true",
    ],
)
@click.option(
    "--models",
    type=params.NAMES,
    default="action,coordination,optimization,prediction",
    show_default=True,
    help="Models, or networks for the newest model of each; two of one network stand side by side.",
)
@params.switch("--interactive-tuning", True, "Sliders for what a request says, beside the request as JSON.")
@params.switch("--real-time-feedback", True, "Answer at every change, not when the button is pressed.")
@params.switch("--terminal", False, "In this terminal instead of on a page: arrow keys change the request.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="a free one", help="Where it listens.")
@options.time_budget("End after this time.")
@click.pass_obj
def playground(
    output: Output,
    models: tuple[str, ...],
    interactive_tuning: bool,
    real_time_feedback: bool,
    terminal: bool,
    port: int,
    time_budget: float | None,
) -> None:
    """Try models on a local page: change a request, see every answer change.

    The page works offline. It is served on 127.0.0.1 to whoever has the address, until Ctrl-C. See docs/insight.md.
    """
    from claude_flow.run.playground import Models, Playground

    if terminal:
        from claude_flow.cli.terminal import app

        require("textual", "terminal")
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise InputError("--terminal needs a terminal: leave it out for the page")
        program = app(Models(models), real_time_feedback)
        if time_budget is not None:
            program.call_later(program.set_timer, time_budget, program.exit)
        program.run()
        return
    served = Playground(models, port, tuning=interactive_tuning, live=real_time_feedback)
    try:
        found: dict[str, Any] = {"address": served.address, "port": served.port, **served.setup()}
        del found["examples"]
        rows = [[model["name"], model["network"]] for model in found["models"]]
        output.result(found, [(f"Open {served.address}", ["model", "network"], rows)])
        sys.stdout.flush()  # whoever reads it wants it now
        output.note("Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait(time_budget)
    finally:
        served.close()
