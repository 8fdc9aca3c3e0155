"""Conformal calibration of intervals: by how much one must grow so that it holds the share of outcomes it promises.

One implementation for training, evaluation and inference. A *miss* is ``max(low - y, y - high)``: by how much an
outcome lies outside of its interval, negative inside (conformalized quantile regression, Romano et al. 2019).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATE", "adaptive", "misses", "shift"]

Array = NDArray[np.float64]

RATE = 0.02  # of adaptive conformal inference; Gibbs and Candès use 0.005 for thousands of outcomes


def misses(low: Array, high: Array, truth: Array) -> Array:
    """By how much each outcome lies outside of its interval; negative inside.

    >>> misses(np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([0.25, 3.0])).tolist()
    [-0.25, 2.0]
    """
    found: Array = np.maximum(low - truth, truth - high)
    return found


def shift(calibration: Array, level: float) -> float:
    """By how much to grow an interval on both sides (or to shrink it, below 0) so that it covers ``level``.

    It is the ceil((n + 1) level)-th smallest of the n ``calibration`` misses, on rows that nothing was fitted on; then
    a new exchangeable outcome is covered with a probability from ``level`` to ``level`` + 1 / (n + 1). NaN when n is
    too small for the level: 95 % takes 19 rows.

    >>> shift(np.arange(99.0), 0.8)
    79.0
    >>> shift(np.arange(9.0), 0.95)
    nan
    """
    rank = _rank(len(calibration), level)
    if rank > len(calibration):
        return math.nan
    return float(np.partition(calibration, rank - 1)[rank - 1])


def adaptive(
    calibration: Array,
    outcomes: Array,
    level: float,
    *,
    decided: Array | None = None,
    ended: Array | None = None,
    rate: float = RATE,
) -> Array:
    """Shifts [n] that follow a drift: adaptive conformal inference (Gibbs and Candès 2021) on a rolling window.

    Before each forecast, every outcome known by then moves the miscoverage that is aimed at, ``a += rate (1 - level -
    missed)``, and takes the place of the oldest calibration miss. Over time the share of covered outcomes goes to
    ``level``, whatever the data do, as long as the shift is not at the window's largest miss, which caps it (the paper
    answers with an infinite interval there).

    Args:
        calibration: misses [c] of outcomes before all these, oldest first.
        outcomes: misses [n] of the rows, before any shift; NaN = never known.
        decided: when each forecast is made [n]; None = in the order of the rows.
        ended: when each outcome is known [n]; None = right before the next forecast.

    >>> drifting = np.concatenate([np.arange(100) % 10, 5 + np.arange(100) % 10]) - 9.0
    >>> bool(adaptive(drifting[:50], drifting, 0.9)[-1] > shift(drifting[:50], 0.9))
    True
    """
    size = len(outcomes)
    if math.isnan(shift(calibration, level)):
        return np.full(size, np.nan)
    order = np.arange(size) if decided is None else np.argsort(decided, kind="stable")
    # An outcome enters before a forecast that is made at the very moment when it is known.
    arrivals = order if decided is None or ended is None else np.argsort(ended, kind="stable")
    window, ranked = deque(calibration.tolist()), sorted(calibration.tolist())
    aim, arrived = 1 - level, 0
    result = np.full(size, np.nan)
    for place, row in enumerate(order):
        while arrived < size:
            known = arrivals[arrived]
            due = arrived < place if decided is None or ended is None else ended[known] <= decided[row]
            if not due:
                break
            arrived += 1
            # A row can end before it is decided only in a broken clock; it then teaches nothing.
            if np.isfinite(outcomes[known]) and np.isfinite(result[known]):
                aim += rate * (1 - level - float(outcomes[known] > result[known]))
                aim = min(max(aim, 0.0), 1.0)
                del ranked[bisect_left(ranked, window.popleft())]
                window.append(float(outcomes[known]))
                insort(ranked, float(outcomes[known]))
        result[row] = ranked[min(max(_rank(len(ranked), 1 - aim), 1), len(ranked)) - 1]
    return result


def _rank(count: int, level: float) -> int:
    return math.ceil(round((count + 1) * level, 9))  # 20 x 0.95 is 19, and not the 19.000000000000004 of floats
