"""Where two models of one network are compared: their own test part, the simulated suite, or both."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claude_flow import registry
from claude_flow.errors import InputError
from claude_flow.evaluate import regression as rules
from claude_flow.files import temporary_folder
from claude_flow.report.progress import Progress, nothing
from claude_flow.studies import suite

__all__ = ["SIMULATED", "SUITE", "regression"]

SUITE = "regression-test-suite"
#: what takes in the simulated suite
SIMULATED = (SUITE, suite.NAME)
_QUICK = 0.15  # of the simulated suite


def regression(
    baseline: Path,
    candidate: Path,
    dataset: str = SUITE,
    *,
    alpha: float = 0.05,
    margin: float = 0.02,
    measures: Sequence[str] | None = None,
    seconds: float = 5.0,
    quick: bool = False,
    progress: Progress = nothing,
) -> dict[str, Any]:
    """Whether ``candidate`` is worse than ``baseline``; see :mod:`claude_flow.evaluate.regression`.

    ``dataset``: ``regression-test-suite`` is the test part of the network's preprocessed data, where the workspace has
    any, and the simulated suite; else the suite alone, or a dataset's name or folder.

    :raises InputError: the models are of different networks, or the data cannot be used.
    """
    models = rules.pair(baseline, candidate)
    own = f"preprocessed-{models[0].network}-data" if dataset == SUITE else dataset
    with temporary_folder() as scratch:
        places: dict[str, Path] = {}
        if dataset in SIMULATED:
            progress(0.0, "simulating")
            places[suite.NAME] = suite.build(models[0].network, scratch, _QUICK if quick else 1.0)
        with contextlib.suppress(*[InputError] if dataset == SUITE else []):
            if dataset != suite.NAME:
                places[own] = registry.dataset_path(own)
        rows = []
        for place, (label, data) in enumerate(places.items()):
            progress(0.1 + 0.6 * place / len(places), label)
            rows += rules.quality(*models, data, measures, label=label)
    race = rules.race(*models, margin, seconds, progress=lambda done, what: progress(0.7 + 0.3 * done, what))
    costs = [race, rules.memory(*models)]
    return rules.summarize(*models, rows, costs, alpha=alpha, margin=margin)
