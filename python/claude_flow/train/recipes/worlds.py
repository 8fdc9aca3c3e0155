"""A simulated world fitted to a dataset of ``data collect``, kept beside the workspace's models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claude_flow import environments, registry
from claude_flow.data import frame
from claude_flow.data.events import Run, utility
from claude_flow.environments import fitted

__all__ = ["ROWS", "fit", "rows"]

#: columns of the table of goodness of fit
ROWS = ("distribution", "values", "family", "distance", "p", "median in the log", "median in the world")


def fit(dataset: str, seed: int = 0) -> tuple[Path, fitted.FittedWorld, list[fitted.Goodness]]:
    """Fit a world to a dataset; its file goes to ``worlds/NAME.json`` in the workspace.

    Raises:
        InputError: there is no such dataset, or it is too small.
    """
    folder = registry.dataset_path(dataset)
    runs = frame.load(folder, Run)
    columns: dict[str, Any] = {
        name: np.where(runs[name].known, runs[name].values, np.nan)
        for name in ("submitted", "start", "duration_s", "active_s", "cost")
    }
    for name in ("agent_type", "task_type", "status"):
        column = runs[name]
        columns[name] = [
            column.words[int(value)] if known else None
            for value, known in zip(column.values, column.known, strict=True)
        ]
    said = {name: np.where(runs[name].known, runs[name].values, np.nan) for name in ("utility", "success")}
    columns["utility"] = [
        utility(
            {**{name: None if np.isnan(v[i]) else v[i] for name, v in said.items()}, "status": columns["status"][i]}
        )
        for i in range(runs.rows)
    ]
    world, judged = environments.fit(columns, seed)
    path = registry.workspace() / "worlds" / f"{folder.name}.json"
    fitted.write(path, world, judged)
    return path, world, judged


def rows(judged: Sequence[fitted.Goodness]) -> list[list[Any]]:
    """The table of goodness of fit."""
    return [
        [one.what, one.values, one.family, one.distance, one.p, one.observed_median, one.fitted_median]
        for one in judged
    ]
