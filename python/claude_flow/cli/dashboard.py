"""The live picture of a training run, from what :func:`claude_flow.train.monitor.watch` returns."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from claude_flow.cli.curve import chart

__all__ = ["picture"]

_COLOURS = {"running": "green", "finished": "cyan", "shipped": "cyan", "interrupted": "yellow"}
_CHART_WIDTH, _CHART_HEIGHT = 36, 3


def picture(answer: dict[str, Any], alerts: bool) -> Group:
    """The state of a run as one screen: where it is, its curves, and (with ``alerts``) what its owner should hear."""
    parts: list[Any] = [_head(answer), *(_metric(metric) for metric in answer["metrics"])]
    if alerts:
        parts.append(_alerts(answer["alerts"]))
    if answer["state"] == "running":
        parts.append(Text("Ctrl-C leaves this view; the training goes on", style="dim"))
    return Group(*parts)


def _head(answer: dict[str, Any]) -> Panel:
    state = answer["state"]
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style="dim", width=14)
    grid.add_column()
    grid.add_column(style="dim", width=14)
    grid.add_column()
    best = answer["best"]
    value = f"{best['value']:.5g} at " if best and best["value"] is not None else ""
    told = f"{value}epoch {best['epoch']}" if best else "-"
    patience = f"{answer['stale']} of {answer['patience']} epochs" if answer["patience"] else "off"
    loss = f"{answer['loss']:.5g}" if answer["loss"] is not None else "-"
    rate = f"{answer['learning_rate']:.3g}" if answer["learning_rate"] is not None else "-"
    bar = ProgressBar(total=max(1, answer["epochs"]), completed=answer["epoch"] + answer["share"], width=28)
    grid.add_row("state", Text(state, style=f"bold {_COLOURS.get(state, 'red')}"), "learning rate", rate)
    grid.add_row("epoch", Text(f"{answer['epoch']} of {answer['epochs']}"), "loss so far", loss)
    grid.add_row("", bar, "best", Text(told))
    grid.add_row("trained for", clock(answer["seconds"]), "without better", patience)
    grid.add_row("time left", clock(answer["eta_s"]), "monitor", Text(str(answer["monitor"] or "-")))
    rows: list[Any] = [grid]
    if answer["reason"]:
        rows.append(Text(answer["reason"], style=_COLOURS.get(state, "red")))
    return Panel(Group(*rows), title=Text(f"{answer['run']} ({answer['network']})"), title_align="left")


def _metric(metric: dict[str, Any]) -> Panel:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(overflow="fold", ratio=1)
    grid.add_column(width=_CHART_WIDTH, no_wrap=True)
    grid.add_column(justify="right", style="bold", width=9)
    grid.add_column(style="dim", width=19)
    height = _CHART_HEIGHT if len(metric["series"]) < 3 else 1
    for name, series in metric["series"].items():
        values = [value for _, value in series]
        lines = chart(values, _CHART_WIDTH, height)
        span = Text(f"{min(values):.4g} to {max(values):.4g}")
        grid.add_row(Text(name), Text("\n".join(lines), style="cyan"), f"{values[-1]:.4g}", span)
    shown: Any = grid if metric["series"] else Text(f"unavailable: {metric['unavailable']}", style="yellow")
    return Panel(shown, title=Text(metric["name"]), title_align="left", box=box.SIMPLE, padding=(0, 1))


def _alerts(alerts: list[dict[str, str]]) -> Panel:
    lines = [Text.assemble((alert["name"], "bold red"), f"  {alert['message']}") for alert in alerts]
    return Panel(Group(*lines) if lines else Text("none", style="dim"), title="alerts", title_align="left")


def clock(seconds: float | None) -> str:
    """Seconds as a person says them; - where unknown.

    >>> clock(None), clock(59.6), clock(3725)
    ('-', '1m 00s', '1h 02m')
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole // 60 % 60:02d}m"
