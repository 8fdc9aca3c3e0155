"""``claude-flow neural validate``: would the same configuration do as well on other parts of the data?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from claude_flow import registry
from claude_flow.cli import options, params
from claude_flow.cli.benchmark import check_page, show
from claude_flow.cli.command import Group
from claude_flow.cli.output import Output

__all__ = ["group"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

group = Group("validate", help="Train a model anew on folds or windows of its data, and judge each.")


def _shared(data: str, rules: list[str]) -> Callable[[_Function], _Function]:
    """The options of both commands; told nothing else, they use the dataset ``data`` and the baselines ``rules``."""
    shared = [
        options.model("Whose architecture and configuration to train."),
        options.data("What to train on.", without=data, metavar="DATASET|PATH"),
        options.metrics(),
        options.baselines("Judged beside it.", default=rules),
        options.seed("Of folds and training."),
        options.time_budget("Divide this time among the parts; each ends at its best epoch."),
        options.html(),
    ]

    def decorate(function: _Function) -> _Function:
        for option in reversed(shared):
            function = option(function)
        return function

    return decorate


@group.command(
    "cross-fold",
    examples=[
        """\
claude-flow neural validate cross-fold \\
  --model "coordination-v3" \\
  --k-folds 5 \\
  --metrics '["accuracy","f1-score","coordination-efficiency"]' \\
  --statistical-significance true""",
        "claude-flow neural validate cross-fold --model coordination-v3 --data logs/aslib/SAT11-RAND --time-budget 10m",
    ],
)
@_shared("the network's preprocessed dataset", ["random", "rule-based", "best-single"])
@click.option("--k-folds", "folds", type=click.IntRange(2, 100), default=5, show_default=True, help="How many folds.")
@params.switch("--statistical-significance", default=True, help="Test the differences, paired by fold.")
@click.pass_obj
def cross_fold(
    output: Output,
    model: str,
    data: str | None,
    metrics: list[str] | None,
    baselines: list[str],
    seed: int,
    time_budget: float | None,
    html: Path | None,
    folds: int,
    statistical_significance: bool,
) -> None:
    """Cross-validate a model: train it anew on all folds but one, judge it on that one, for each.

    The dataset is preprocessed-NETWORK-data of the workspace unless --data names another. Tasks, sessions and swarms
    are never divided between training and test. The differences to the baselines are tested by the corrected t-test
    of Nadeau and Bengio, with Holm's correction. A folder of an ASlib scenario is judged on its official folds.
    """
    check_page(html)
    with output.share(f"cross-validating {model}") as shown:
        from claude_flow.studies import judging

        found = judging.cross_fold(
            registry.model_path(model),
            data,
            folds=folds,
            baselines=baselines,
            measures=metrics,
            seed=seed,
            time_budget=time_budget,
            progress=shown,
        )
    if not statistical_significance:
        for summary in found:
            summary["tests"] = []
    show(output, f"Cross-validation of {model}", found, html)


@group.command(
    "time-series",
    examples=[
        """\
claude-flow neural validate time-series \\
  --model "prediction-v2" \\
  --validation-strategy "walk-forward" \\
  --horizon "7d" \\
  --overlap "1d\"""",
        "claude-flow neural validate time-series --model prediction-v2 --windows 8 --html report.html",
    ],
)
@_shared("preprocessed-prediction-data", ["best-single", "per-user-median", "last-2-mean", "rule-based"])
@click.option(
    "--validation-strategy",
    type=click.Choice(["walk-forward"]),
    default="walk-forward",
    show_default=True,
    help="Train on what had ended before a window, forecast the window, go on.",
)
@click.option("--horizon", type=params.DURATION, default="7d", show_default=True, help="The length of a window.")
@click.option("--overlap", type=params.DURATION, default="1d", show_default=True, help="Of a window with the next.")
@click.option(
    "--windows", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many, the latest ones."
)
@click.pass_obj
def time_series(
    output: Output,
    model: str,
    data: str | None,
    metrics: list[str] | None,
    baselines: list[str],
    seed: int,
    time_budget: float | None,
    html: Path | None,
    validation_strategy: str,
    horizon: float,
    overlap: float,
    windows: int,
) -> None:
    """Walk forward in time: train a forecaster on the past of each window, and judge it on the window.

    Intervals are judged as calibrated before the window (split conformal), and as they follow what ends within it
    (adaptive conformal inference).
    """
    check_page(html)
    from claude_flow.evaluate import report

    path = registry.model_path(model)
    dataset = registry.dataset_path(data or "preprocessed-prediction-data")
    with output.share(f"walking forward with {model}") as shown:
        from claude_flow.evaluate import refit

        result = refit.walk_forward(
            path,
            dataset,
            horizon=horizon,
            overlap=overlap,
            windows=windows,
            baselines=baselines,
            measures=metrics,
            seed=seed,
            time_budget=time_budget,
            progress=shown,
        )
    summary = report.summarize(result, reference=registry.model_name(path), parts=True)
    show(output, f"Walk-forward validation of {model}", [summary], html)
