"""The catalogue of 128 recommendations: 64 tunables of a swarm, each of which can be raised or lowered.

``catalogue.csv`` beside this file is the catalogue; its row order is the order of the optimization network's
outputs: output ``2*i`` raises tunable ``i``, output ``2*i + 1`` lowers it.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIRECTIONS", "MOVE", "RECOMMENDATIONS", "TUNABLES", "Recommendation", "Tunable", "all_moved", "moved"]

DIRECTIONS = ("raise", "lower")
MOVE = 0.15  # one recommendation moves a tunable by this share of its range, measured on the tunable's own scale
_LOG0_KNEE = 64.0  # a log0 scale starts at 0 and is logarithmic from about high/64 on


@dataclass(frozen=True)
class Tunable:
    """One setting of the swarm: ``low <= value <= high`` in ``unit``.

    ``scale`` says how its range is measured: ``linear``, ``log`` (equal ratios are equal distances) or ``log0``
    (logarithmic, but with a zero). ``whole`` values are counts.
    """

    name: str
    group: str
    unit: str
    low: float
    high: float
    default: float
    scale: str
    whole: bool
    effects: tuple[str, str]  # what raising and what lowering does

    def position(self, value: Any) -> NDArray[np.float64]:
        """Place of ``value`` (any shape) in the range: 0 at ``low``, 1 at ``high``.

        >>> float(TUNABLES[0].position(8.0))
        0.5
        """
        value = np.asarray(value, dtype=np.float64)
        if self.scale == "log":
            return np.asarray(np.log(np.maximum(value, 1e-12) / self.low) / math.log(self.high / self.low))
        if self.scale == "log0":
            return np.asarray(np.log1p(_LOG0_KNEE * value / self.high) / math.log1p(_LOG0_KNEE))
        return np.asarray((value - self.low) / (self.high - self.low))

    def value(self, position: Any) -> NDArray[np.float64]:
        """The value at ``position`` (any shape; cut off to 0..1), rounded when the tunable is a count.

        >>> float(TUNABLES[0].value(0.5))
        8.0
        """
        position = np.clip(np.asarray(position, dtype=np.float64), 0.0, 1.0)
        if self.scale == "log":
            value = self.low * np.exp(position * math.log(self.high / self.low))
        elif self.scale == "log0":
            value = self.high / _LOG0_KNEE * np.expm1(position * math.log1p(_LOG0_KNEE))
        else:
            value = self.low + position * (self.high - self.low)
        value = np.where(position == 0.0, self.low, np.where(position == 1.0, self.high, value))
        return np.clip(np.round(value) if self.whole else value, self.low, self.high)


@dataclass(frozen=True)
class Recommendation:
    """One output of the network: move ``tunable`` in ``direction``; ``effect`` says in words what that does."""

    id: str
    tunable: Tunable
    direction: str
    effect: str


def moved(tunable: Tunable, value: Any, direction: str) -> NDArray[np.float64]:
    """``value`` (any shape) after one move; a count moves by at least 1, and nothing leaves the range.

    >>> float(moved(TUNABLES[0], 8.0, "raise")), float(moved(TUNABLES[0], 64.0, "raise"))
    (15.0, 64.0)
    """
    sign = 1.0 if direction == "raise" else -1.0
    value = np.asarray(value, dtype=np.float64)
    result = tunable.value(tunable.position(value) + sign * MOVE)
    if tunable.whole:
        result = np.clip(np.where(result == value, value + sign, result), tunable.low, tunable.high)
    return result


def _read(path: Path) -> tuple[Tunable, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Tunable(
                row["name"],
                row["group"],
                row["unit"],
                float(row["low"]),
                float(row["high"]),
                float(row["default"]),
                row["scale"],
                row["whole"] == "1",
                (row["raise"], row["lower"]),
            )
            for row in csv.DictReader(file)
        )


TUNABLES = _read(Path(__file__).with_name("catalogue.csv"))
RECOMMENDATIONS = tuple(
    Recommendation(f"{direction}-{tunable.name}", tunable, direction, tunable.effects[side])
    for tunable in TUNABLES
    for side, direction in enumerate(DIRECTIONS)
)


def _column(values: Any) -> NDArray[np.float64]:
    return np.array(list(values), np.float64)


_LOW, _HIGH = _column(t.low for t in TUNABLES), _column(t.high for t in TUNABLES)
_WHOLE = np.array([t.whole for t in TUNABLES])
_OF_SCALE = {
    scale: np.array([i for i, t in enumerate(TUNABLES) if t.scale == scale]) for scale in ("linear", "log", "log0")
}
_RATIO = _column(math.log(t.high / t.low) if t.scale == "log" else 1.0 for t in TUNABLES)


def all_moved(values: NDArray[np.float64], direction: str) -> NDArray[np.float64]:
    """:func:`moved` of every tunable at once: ``values [n, 64]``, NaN passes.

    >>> values = np.array([[tunable.default for tunable in TUNABLES]])
    >>> bool((all_moved(values, "raise")[0] == [moved(t, t.default, "raise") for t in TUNABLES]).all())
    True
    """
    sign = 1.0 if direction == "raise" else -1.0
    result = np.empty_like(values)
    for scale, columns in _OF_SCALE.items():
        value, low, high = values[:, columns], _LOW[columns], _HIGH[columns]
        if scale == "log":
            position = np.log(np.maximum(value, 1e-12) / low) / _RATIO[columns]
        elif scale == "log0":
            position = np.log1p(_LOG0_KNEE * value / high) / math.log1p(_LOG0_KNEE)
        else:
            position = (value - low) / (high - low)
        position = np.clip(position + sign * MOVE, 0.0, 1.0)
        if scale == "log":
            new = low * np.exp(position * _RATIO[columns])
        elif scale == "log0":
            new = high / _LOG0_KNEE * np.expm1(position * math.log1p(_LOG0_KNEE))
        else:
            new = low + position * (high - low)
        new = np.where(position == 0.0, low, np.where(position == 1.0, high, new))
        whole = _WHOLE[columns]
        new = np.clip(np.where(whole, np.round(new), new), low, high)
        result[:, columns] = np.where(whole, np.clip(np.where(new == value, value + sign, new), low, high), new)
    return result
