"""Intervals that follow the user's own outcomes, at the moment of the question.

The newest finished runs of the history are forecast as they were asked, each from the runs that had ended before it.
Their misses give conformal shifts of their own, and the answer's shifts lie between those and the shipped ones: a
shipped shift weighs as much as :data:`PULL` outcomes. So few runs change little, and a log that differs is
followed within some dozens of runs, whatever the model learned from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.model import Model
from claude_flow.networks.prediction.conformal import misses, shift
from claude_flow.networks.prediction.features import LEVELS, QUANTILES, TARGETS, Encoder, bounds
from claude_flow.networks.prediction.history import KEYS, NO_TIME, NUMBERS, Runs, as_of

__all__ = ["NEWEST", "PULL", "adapted", "blended", "outcomes"]

Array = NDArray[Any]

NEWEST = 100  # finished runs that are forecast again: a tenth of a second
PULL = 20.0
_BATCH = 50


def blended(shipped: Array, quantiles: Array, truth: Array) -> tuple[Array, Array]:
    """Shifts ``[targets, 7]`` between the shipped ones and those of the user's outcomes; outcomes by target.

    ``quantiles`` [n, targets, 7] are forecasts before any shift of what came true as ``truth`` [n, targets], log1p
    values, NaN = unknown. A target whose shipped shifts are unknown takes its own alone.

    >>> shipped = np.zeros((1, 7))
    >>> low = np.tile(np.linspace(-0.1, 0.1, 7), (60, 1, 1))
    >>> moved, seen = blended(shipped, low, np.linspace(-1, 1, 60)[:, None])
    >>> seen.tolist(), bool(moved[0, 6] > 0.5), bool(moved[0, 0] == -moved[0, 6])
    ([60], True, True)
    """
    result, seen = np.array(shipped, np.float64), np.zeros(len(shipped), np.int64)
    for target in range(len(shipped)):
        known = np.isfinite(truth[:, target]) & np.isfinite(quantiles[:, target]).all(axis=1)
        seen[target] = count = int(known.sum())
        for level in LEVELS:
            low, high = bounds(level)
            grow = shift(
                misses(quantiles[known, target, low], quantiles[known, target, high], truth[known, target]), level
            )
            before = float(result[target, high])
            if np.isnan(grow):
                continue
            if not np.isnan(before):
                grow = (count * grow + PULL * before) / (count + PULL)
            result[target, low], result[target, high] = -grow, grow
            if np.isnan(result[target, QUANTILES.index(0.5)]):
                result[target, QUANTILES.index(0.5)] = 0.0
    return result, seen


def outcomes(model: Model, encoder: Encoder, past: Runs, task: Runs, length: int) -> tuple[Array, Array]:
    """Forecasts ``[n, targets, 7]`` before any shift and what came true ``[n, targets]``: of the newest runs of the
    ``task``'s source that had ended when it is asked about. ``past`` and ``task`` are as the encoder sees them."""
    source = KEYS.index("source")
    known = (past.end != NO_TIME) & (past.end <= task.decision[0]) & (past.decision != NO_TIME)
    ended = np.flatnonzero(known & (past.keys[:, source] == task.keys[0, source]))
    rows = np.sort(ended[np.argsort(past.end[ended], kind="stable")][-NEWEST:])
    truth = past.numbers[rows][:, [NUMBERS.index(name) for name in TARGETS]].astype(np.float64)
    if not len(rows):
        return np.zeros((0, len(TARGETS), len(QUANTILES))), truth
    records, found = encoder.records(past), []
    for first in range(0, len(rows), _BATCH):
        tasks = past.take(rows[first : first + _BATCH])
        history = as_of(past, tasks, length)
        openings, anchors = encoder.openings(tasks, history)
        x, lengths = encoder.sequences(past, records, tasks, openings, anchors, history.index)
        x = np.ascontiguousarray(x[:, : int(lengths.max())])
        found.append(encoder.decode(model.run(x, lengths), anchors)[0])
    return np.concatenate(found), truth


def adapted(model: Model, encoder: Encoder, past: Runs, task: Runs, length: int, shipped: Array) -> tuple[Array, Array]:
    """:func:`blended` for the question of ``task``: shifts ``[targets, 7]``, outcomes by target."""
    return blended(shipped, *outcomes(model, encoder, past, task, length))
