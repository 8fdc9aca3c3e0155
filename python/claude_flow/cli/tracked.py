"""The one hook of experiment tracking: what a command was given and what came out becomes a run.

A run that cannot be kept or delivered is a warning; the command ends as it would have.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from claude_flow.cli.output import Output
from claude_flow.errors import ClaudeFlowError

__all__ = ["recorded"]


@contextlib.contextmanager
def recorded(context: click.Context) -> Iterator[None]:
    """Keep the run of the command in the body, where ``experiments setup`` asked for that."""
    from claude_flow.watch import tracking

    output = context.ensure_object(Output)
    try:
        settings = tracking.settings()
    except ClaudeFlowError as error:
        output.warn(f"this run is not tracked: {error}")
        settings = None
    if settings is None:
        yield
        return
    began, status = time.time(), "FINISHED"
    try:
        yield
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except click.exceptions.Exit as done:
        status = "FAILED" if done.exit_code else status
        raise
    except BaseException:
        status = "FAILED"
        raise
    finally:
        try:
            words = context.command_path.split()[2:]
            _keep(tracking, words, dict(context.params), output.value, status, began, settings)
            tracking.deliver(settings)
        except Exception as error:  # tracking never ends a run
            message = str(error).splitlines()[0] if str(error) else type(error).__name__
            waiting = len(tracking.pending())
            output.warn(f"this run is not tracked yet: {message}; {waiting} wait in the workspace for the next")


def _keep(
    tracking: Any, words: list[str], given: dict[str, Any], value: Any, status: str, began: float, settings: Any
) -> None:
    value = value if isinstance(value, dict) else {}
    series: dict[str, list[tuple[int, float]]] = {}
    artifacts: list[Path] = []
    if settings["metrics_logging"] == "comprehensive":
        run, path = value.get("run"), value.get("path")
        if run and (Path(run) / "metrics.jsonl").is_file():
            from claude_flow.train import runlog

            seen = runlog.read(Path(run))
            names = dict.fromkeys(name for epoch in seen.epochs for name in epoch if name != "epoch")
            series = {f"epoch.{name}": seen.series(name) for name in names}
        if path:
            artifacts = [file for file in (Path(path).parent / "card.json",) if file.is_file()]
    tracking.keep(
        "-".join(words),
        parameters=tracking.flat(given),
        metrics=tracking.numbers(value),
        name=str(value.get("model") or ""),
        status=status,
        series=series,
        artifacts=artifacts,
        tags={"command": " ".join(words)},
        began=began,
    )
