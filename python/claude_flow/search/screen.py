"""Which of several proposed architectures is worth a training: what is cheap is measured, what is dear is foreseen.

Latency does not depend on the weights, so it is measured on the engine before any training. The loss is foreseen from
the architectures trained so far by a Gaussian process, at its lower half standard deviation; trained is what would
widen the front the most (the hypervolume improvement of Emmerich et al. 2011).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow import export, networks
from claude_flow.files import temporary_folder
from claude_flow.model import load
from claude_flow.search.candidate import Candidate, Measured, Setting, example, latency

__all__ = ["AFTER", "Screen", "foreseen"]

#: candidates that are trained before any is foreseen
AFTER = 8
_CALLS = 20
_REACH, _NOISE, _HOPE = 1.5, 0.1, 0.5  # of the process, in standard deviations of the sizes and of the loss
Array = NDArray[np.float64]
Volume = Callable[[Sequence[Candidate], tuple[float, float]], float]


class Screen:
    """Chooses among proposed sizes of a setting's network; it loads the data once and keeps what it measured."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._data: Any = None
        self._latency: dict[str, float] = {}

    def latency(self, sizes: Mapping[str, Any]) -> float:
        """Median milliseconds of a call, native, of a network with these sizes that learned nothing.

        Raises:
            InputError: sizes that do not fit together.
        """
        key = json.dumps(sizes, sort_keys=True)
        if key not in self._latency:
            config = self._setting.config(sizes)
            if self._data is None:
                learn = networks.get(self._setting.network).learn
                self._data = learn.Data.load(self._setting.data, self._setting.validation_split, 0, asdict(config))
            with temporary_folder() as folder:
                export.save(self._data.module(config.network).eval(), folder / "model.safetensors")
                model = load(folder / "model.safetensors", threads=1)
                self._latency[key] = latency(model, example(model, folder / "model.safetensors"), _CALLS)
        return self._latency[key]

    def choose(self, proposed: Sequence[Mapping[str, Any]], tried: Sequence[Candidate], volume: Volume) -> int:
        """The index of the proposal whose foreseen loss and measured latency add most to ``tried``'s ``volume``."""
        known, new = ([_numbers(sizes) for sizes in part] for part in ([c.sizes for c in tried], proposed))
        losses = foreseen(np.array(known), np.array([c.measured.loss for c in tried]), np.array(new))
        points = [(loss, self.latency(sizes)) for loss, sizes in zip(losses, proposed, strict=True)]
        reference = (
            max([loss for loss, _ in points] + [c.measured.loss for c in tried]) + 1e-9,
            max([ms for _, ms in points] + [c.measured.latency for c in tried]) * 1.01,
        )
        gains = [volume([*tried, Candidate({}, Measured(loss, loss, ms, 0.0, 0.0))], reference) for loss, ms in points]
        return int(np.argmax(gains))


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
