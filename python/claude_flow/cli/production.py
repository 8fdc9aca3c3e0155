"""``claude-flow neural monitor production``: how models do, and who hears when they do badly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from claude_flow import files, registry
from claude_flow.cli import options, params
from claude_flow.cli.command import Command
from claude_flow.cli.output import Output, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["production"]


@click.command(
    "production",
    cls=Command,
    examples=[
        """\
claude-flow neural monitor production \\
  --models '["coordination-v3","optimization-v2","prediction-v2"]' \\
  --metrics '["accuracy","latency","throughput","drift"]' \\
  --alert-thresholds '{
    "accuracy": {"warning": 0.85, "critical": 0.8},
    "latency": {"warning": 100, "critical": 200},
    "drift": {"warning": 0.1, "critical": 0.2}
  }' \\
  --notification-channels '["slack","email","pagerduty"]'""",
        "claude-flow neural monitor production --models coordination-v3 --once --format json",
    ],
)
@click.option("--models", type=params.NAMES, required=True, help="The models to watch.")
@click.option(
    "--metrics",
    type=params.NAMES,
    default="accuracy,latency,throughput,drift",
    show_default=True,
    help="What to watch: these, and confidence.",
)
@click.option(
    "--alert-thresholds",
    "limits",
    type=params.Json(dict),
    default="{}",
    show_default="none",
    help="Per metric, where it is a warning and where critical.",
)
@click.option(
    "--notification-channels",
    "channels",
    type=params.NAMES,
    show_default="none",
    help="Who hears of alerts: slack, email, pagerduty, webhook, or names of your own, each with its address in "
    "CLAUDE_FLOW_NOTIFY_NAME.",
)
@click.option("--window", type=params.DURATION, default="24h", show_default=True, help="The requests that count.")
@click.option(
    "--reference-data", "reference", default="training-distribution", show_default=True, help="What drift is from."
)
@click.option("--interval", type=params.DURATION, default="30s", show_default=True, help="How often to look.")
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--port", type=click.IntRange(0, 65535), help="Serve the metrics to Prometheus here.")
@options.html()
@options.time_budget("End after this time.")
@click.pass_obj
def production(
    output: Output,
    models: tuple[str, ...],
    metrics: tuple[str, ...],
    limits: dict[str, Any],
    channels: tuple[str, ...] | None,
    window: float,
    reference: str,
    interval: float,
    once: bool,
    port: int | None,
    html: Path | None,
    time_budget: float | None,
) -> None:
    """Watch models in production, from the requests that this workspace logged, until Ctrl-C.

    An alert is raised when a metric's level changes, and once more when it has recovered. Outcomes that arrive later
    are joined by id; until then they are open. See docs/operate.md for the files that it writes for Prometheus and
    Grafana.
    """
    from claude_flow.watch import levels
    from claude_flow.watch import production as watch

    models_found = watch.watched(models)
    names = watch.metrics(metrics)
    thresholds = levels.thresholds(limits, {name: row[0] for name, row in watch.METRICS.items()})
    channels = channels or ()
    heard = levels.try_channels(channels)
    folder = registry.workspace() / "monitor"
    files.atomic_write(folder / "alert-rules.yml", watch.rules(thresholds))
    files.atomic_write(folder / "dashboard.json", watch.grafana(names, thresholds))
    written = {name: folder / name for name in ("metrics.prom", "alert-rules.yml", "dashboard.json")}
    for row in heard:
        if row["state"] == "waiting":
            output.warn(f"{row['channel']} has no address, so its alerts wait in alerts/log.jsonl: set {row['needs']}")
    server = watch.Server(port) if port is not None else None
    end = None if time_budget is None else time.monotonic() + time_budget
    raised: list[dict[str, Any]] = []

    def looks() -> Iterator[dict[str, Any]]:
        while True:
            found = watch.state(models_found, names, window, reference, time.time())
            new = levels.changes(watch.judged(found, thresholds), "production")
            raised.extend(new)
            for problem in levels.deliver(channels):
                output.warn(problem)
            files.atomic_write(written["metrics.prom"], watch.prometheus(found))
            if server is not None:
                server.show(found)
            if html is not None:
                files.atomic_write(html, watch.page(found, thresholds))
            yield {**found, "alerts": list(raised), "channels": heard, "files": written}
            left = interval if end is None else min(interval, end - time.monotonic())
            if once or left <= 0:
                return
            time.sleep(left)
            if end is not None and time.monotonic() >= end:
                return

    if output.is_interactive and not once:
        output.live(_picture(found, thresholds) for found in looks())
        return
    answer: dict[str, Any] = {}
    try:
        for found in looks():
            for alert in raised[len(answer.get("alerts", ())) :]:
                output.warn(alert["message"])
            answer = found
    except KeyboardInterrupt:
        if not answer:
            raise
    output.result(answer, _tables(answer, thresholds))


def _tables(found: dict[str, Any], thresholds: Any) -> list[Table]:
    from claude_flow.watch import production as watch

    tables: list[Table] = [(f"Production at {found['time']}", watch.COLUMNS, watch.rows(found, thresholds))]
    if found["alerts"]:
        alerts = [[alert["time"], alert["level"], alert["message"]] for alert in found["alerts"]]
        tables.append(("Alerts", ["time", "level", "what"], alerts))
    if found["channels"]:
        heard = [[row["channel"], row["state"], row["needs"]] for row in found["channels"]]
        tables.append(("Channels", ["channel", "state", "needs"], heard))
    tables.append(("For other tools", ["", ""], [[name, path] for name, path in found["files"].items()]))
    return tables


_COLOURS = {"ok": "green", "warning": "yellow", "critical": "bold red"}


def _picture(found: dict[str, Any], thresholds: Any) -> RenderableType:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    from claude_flow.watch import production as watch

    table = RichTable(title=f"Production at {found['time']}", title_justify="left")
    for name in watch.COLUMNS:
        table.add_column(name)
    for row in watch.rows(found, thresholds):
        cells = [f"{value:.4g}" if isinstance(value, float) else str("-" if value is None else value) for value in row]
        table.add_row(*(Text(cell, style=_COLOURS.get(row[3], "")) for cell in cells))
    alerts = [Text(alert["message"], style=_COLOURS.get(alert["level"], "")) for alert in found["alerts"][-5:]]
    return Group(table, *alerts, Text("Ctrl-C ends it", style="dim"))
