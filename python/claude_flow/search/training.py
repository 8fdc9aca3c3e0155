"""One candidate: trained for a few epochs and measured; with successive halving it may end at a rung before."""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from claude_flow.errors import InputError
from claude_flow.files import temporary_folder
from claude_flow.search.candidate import Measured, Setting
from claude_flow.search.gauge import Gauge
from claude_flow.train import loop
from claude_flow.train.config import lower_is_better
from claude_flow.train.hooks import Hook

__all__ = ["Ended", "Learned", "Rungs", "begin_worker", "goes_on", "measure", "rungs", "trained"]

#: of a candidate at a rung: its loss there and its latency
Point = tuple[float, float]


def rungs(epochs: int) -> list[int]:
    """Where a training of so many epochs may end: after half of them, half of those, …

    >>> rungs(8)
    [1, 2, 4]
    """
    found = []
    while (epochs := epochs // 2) > 0:
        found.append(epochs)
    return found[::-1]


def goes_on(own: Point, others: Sequence[Point]) -> bool:
    """Whether a candidate is in the better half of those that came to its rung, it among them.

    As NSGA-II (Deb et al. 2002) selects: by how many are better in loss and latency both, then by how far apart the
    neighbours are, so that the ends of the front stay.

    >>> goes_on((0.5, 2.0), [(0.4, 3.0), (0.6, 3.0)]), goes_on((0.7, 4.0), [(0.4, 1.0), (0.6, 3.0)])
    (True, False)
    """
    points = np.array([*others, own])
    points[:, 1] = np.log(points[:, 1])
    above = np.array([np.all(points < point, axis=1).sum() for point in points])
    apart = np.full(len(points), np.inf)
    for level in np.unique(above):
        row = np.flatnonzero(above == level)
        row = row[np.argsort(points[row, 0], kind="stable")]
        span = np.maximum(np.ptp(points[row], axis=0), 1e-12)
        apart[row[1:-1]] = (np.abs(points[row[2:]] - points[row[:-2]]) / span).sum(axis=1)
    order = np.lexsort((-apart, above))
    return int(np.flatnonzero(order == len(others))[0]) < (len(points) + 1) // 2


class Rungs(Hook):
    """Ends a training at a rung unless it is in the better half there.

    Successive halving (Jamieson and Talwalkar 2016) of one candidate after another (Li et al. 2020).

    Args:
        setting: whose epochs have the rungs.
        latency: the candidate's.
        others: rung -> what came to it before.
    """

    about = {"name": "successive-halving"}  # noqa: RUF012

    def __init__(self, setting: Setting, latency: float, others: Mapping[int, Sequence[Point]]) -> None:
        self._metric, self._latency, self._others = setting.metric, latency, others
        self._rungs = rungs(setting.epochs)
        self.reached: dict[int, float] = {}

    def epoch_end(self, module: nn.Module, epoch: int, metrics: dict[str, float]) -> None:
        """Compare at a rung."""
        if epoch in self._rungs:
            loss = _as_loss(self._metric, metrics[f"validation-{self._metric}"])
            self.reached[epoch] = loss
            if not goes_on((loss, self._latency), self._others.get(epoch, ())):
                raise Ended


class Ended(Exception):
    """The training ended at a rung."""


@dataclass(frozen=True)
class Learned:
    """What a training came to: a metric and it as a loss, or that it ended at a rung, or why there is none."""

    metric: float | None = None
    loss: float = math.nan
    reached: dict[int, float] = field(default_factory=dict)  # rung -> loss there
    error: str | None = None


def trained(
    setting: Setting, sizes: Mapping[str, Any], seed: int, seconds: float | None = None, hook: Rungs | None = None
) -> Learned:
    """Train a candidate; sizes that do not fit together are its ``error``."""
    reached = hook.reached if hook else {}
    try:
        with temporary_folder() as run:
            card = loop.fit(
                setting.network,
                setting.config(sizes),
                setting.data,
                run,
                seed=seed,
                validation_split=setting.validation_split,
                time_budget=seconds,
                distributed="off",
                hooks=[hook] if hook else [],
            )
    except Ended:
        return Learned(reached=reached)
    except InputError as error:
        return Learned(error=str(error))
    scores = card["held_out"]["metrics"]
    name = setting.metric if scores.get(setting.metric) is not None else "loss"
    return Learned(float(scores[name]), _as_loss(name, float(scores[name])), reached)


def begin_worker() -> None:
    """Of processes that train beside each other: each takes one thread, and ends when the one that began it does."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # it waits for work that nobody will send


def _as_loss(name: str, value: float) -> float:
    return value if lower_is_better(name) else -value


def measure(
    setting: Setting, sizes: Mapping[str, Any], seed: int, gauge: Gauge, *, seconds: float | None = None
) -> Measured:
    """Measure a candidate and train it; :class:`claude_flow.errors.InputError` for sizes that do not fit together."""
    taken = gauge.taken(sizes)
    found = trained(setting, sizes, seed, seconds)
    if found.metric is None:
        raise InputError(str(found.error))
    return Measured(found.metric, found.loss, **taken)
