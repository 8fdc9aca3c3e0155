"""What a model is judged on: the simulated suite, a preprocessed dataset, or public data with its own protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claude_flow import registry, schema
from claude_flow.data import views
from claude_flow.errors import InputError
from claude_flow.evaluate import benchmark as evaluation
from claude_flow.evaluate import refit, report
from claude_flow.evaluate.result import within
from claude_flow.files import temporary_folder
from claude_flow.model import load
from claude_flow.report.progress import Progress, nothing
from claude_flow.studies import escalation, protocols, suite
from claude_flow.values import did_you_mean

__all__ = ["benchmark", "cross_fold", "policies"]

_QUICK = 0.15  # of the suite


def _is_public(path: Path) -> bool:
    """Whether ``path`` is data to find a protocol for, not a dataset of ours."""
    return path.exists() and not (path / "manifest.json").is_file()


def benchmark(
    model: Path,
    scenarios: str = suite.NAME,
    *,
    baselines: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    seeds: int = 3,
    quick: bool = False,
    ablate: Sequence[str] = (),
    progress: Progress = nothing,
) -> list[dict[str, Any]]:
    """Summaries of ``model`` beside baselines and other models; see :func:`claude_flow.evaluate.report.summarize`.

    ``scenarios``: the suite's name, a dataset's name or folder, or public data that there is a protocol for; on the
    latter the network is trained anew and stands in the summary as claude-flow.

    :raises InputError: a name is unknown, or the data cannot be used.
    """
    if scenarios != suite.NAME and _is_public(Path(scenarios)):
        if ablate:
            raise InputError(f"--ablate: parts are left out on the simulated suite alone, not on {scenarios}")
        results = protocols.run(
            Path(scenarios), baselines, measures, seeds=range(seeds), quick=quick, progress=progress
        )
        return [report.summarize(result) for result in results]
    network = load(model).network
    evaluation.check(network, baselines, measures, ablate)
    if near := did_you_mean(scenarios, [suite.NAME]) if scenarios != suite.NAME else "":
        raise InputError(f"there is no dataset {scenarios!r}{near}")
    with temporary_folder() as scratch:
        if scenarios == suite.NAME:
            progress(0.0, "simulating")
            data, label = suite.build(network, scratch, _QUICK if quick else 1.0), suite.NAME
        else:
            progress(0.0, "reading")
            data, label = views.find(scenarios, network, use="test").folder, None
        result = evaluation.benchmark(
            model,
            data,
            baselines=baselines,
            measures=measures,
            seeds=range(seeds),
            ablate=ablate,
            label=label,
            progress=progress,
        )
    return [report.summarize(result, reference=registry.model_name(model))]


_PRICES = schema.Table(schema.Number(0, 1e9))


def policies(
    path: Path, prices: dict[str, Any], *, quick: bool = False, progress: Progress = nothing
) -> list[dict[str, Any]]:
    """The summary of escalation at the user's ``prices``; see :mod:`claude_flow.studies.escalation`.

    :raises InputError: ``path`` holds no runs of agents, or a price is none or of nobody.
    """
    checked = schema.check(prices, _PRICES, "--prices")
    if not escalation.detect(path):
        raise InputError(f"{path}: --prices is for runs of agents as CSV: {escalation.DATA}")
    return [report.summarize(escalation.run(path, seeds=[0], quick=quick, progress=progress, prices=checked))]


def cross_fold(
    model: Path,
    data: str | None = None,
    *,
    folds: int = 5,
    baselines: Sequence[str] = ("random", "rule-based", "best-single"),
    measures: Sequence[str] | None = None,
    seed: int = 0,
    time_budget: float | None = None,
    progress: Progress = nothing,
) -> list[dict[str, Any]]:
    """Summaries of a cross-validation: on the dataset ``data`` (default: the network's preprocessed one), or on public
    data by its protocol, on its official folds.

    :raises InputError: as :func:`claude_flow.evaluate.refit.cross_fold`, or the data cannot be used.
    """
    if data is not None and _is_public(Path(data)):
        limited = within(time_budget, progress)
        results = protocols.run(Path(data), None, measures, seeds=[seed], quick=False, progress=limited)
        return [report.summarize(result) for result in results]
    dataset = registry.dataset_path(data or f"preprocessed-{load(model).network}-data")
    result = refit.cross_fold(
        model,
        dataset,
        folds=folds,
        baselines=baselines,
        measures=measures,
        seed=seed,
        time_budget=time_budget,
        progress=progress,
    )
    return [report.summarize(result, reference=registry.model_name(model), test_share=1 / folds, parts=True)]
