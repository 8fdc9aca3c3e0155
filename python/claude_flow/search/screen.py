"""Which of several proposed architectures is worth a training: what is cheap is measured, what is dear is foreseen.

Latency does not depend on the weights, so it is measured on the engine before any training. The loss is foreseen from
the architectures trained so far by a Gaussian process, at its lower half standard deviation; trained is what would
widen the front the most (the hypervolume improvement of Emmerich et al. 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.search.candidate import Candidate, Measured

__all__ = ["AFTER", "choose", "foreseen"]

#: candidates that are trained before any is foreseen
AFTER = 8
_REACH, _NOISE, _HOPE = 1.5, 0.1, 0.5  # of the process, in standard deviations of the sizes and of the loss
Array = NDArray[np.float64]
Volume = Callable[[Sequence[Candidate], tuple[float, float]], float]


def choose(
    proposed: Sequence[Mapping[str, Any]], latencies: Sequence[float], tried: Sequence[Candidate], volume: Volume
) -> tuple[int, float]:
    """The index of the proposal whose foreseen loss and measured latency add most to ``tried``'s ``volume``, and that
    loss."""
    known, new = ([_numbers(sizes) for sizes in part] for part in ([c.sizes for c in tried], proposed))
    losses = foreseen(np.array(known), np.array([c.measured.loss for c in tried]), np.array(new))
    points = list(zip(losses, latencies, strict=True))
    reference = (
        max([*losses, *(c.measured.loss for c in tried)]) + 1e-9,
        max([*latencies, *(c.measured.latency for c in tried)]) * 1.01,
    )
    gains = [volume([*tried, Candidate({}, Measured(loss, loss, ms, 0.0, 0.0))], reference) for loss, ms in points]
    best = int(np.argmax(gains))
    return best, float(losses[best])


def foreseen(known: Array, losses: Array, new: Array) -> Array:
    """A hopeful loss of ``new`` rows, from ``known`` rows and their ``losses``.

    It is the mean of a Gaussian process less half a standard deviation.

    >>> x = np.arange(5.0)[:, None]
    >>> foreseen(x, x[:, 0], np.array([[0.0], [4.0]])).argmin()
    np.int64(0)
    """
    middle, spread = known.mean(axis=0), known.std(axis=0) + 1e-9
    known, new = (known - middle) / spread, (new - middle) / spread
    mean, scale = losses.mean(), losses.std() + 1e-12

    def near(a: Array, b: Array) -> Array:
        kernel: Array = np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / (2 * _REACH**2))
        return kernel

    root = np.linalg.cholesky(near(known, known) + _NOISE * np.eye(len(known)))
    cross = np.linalg.solve(root, near(known, new))
    expected = cross.T @ np.linalg.solve(root, (losses - mean) / scale)
    left = np.sqrt(np.maximum(1 - (cross**2).sum(axis=0), 1e-9))
    found: Array = mean + scale * (expected - _HOPE * left)
    return found


def _numbers(sizes: Mapping[str, Any]) -> list[float]:
    """Sizes as a row: of a number its logarithm, of a list its length, its ends and its sum of squares."""
    row: list[float] = []
    for value in (sizes[name] for name in sorted(sizes)):
        if isinstance(value, list | tuple):
            ends = (value[0], value[-1]) if value else (0.0, 0.0)
            row += [float(len(value)), *(math.log1p(abs(float(one))) for one in ends)]
            row.append(math.log1p(sum(float(one) ** 2 for one in value)))
        else:
            row.append(math.log1p(abs(float(value))))
    return row
