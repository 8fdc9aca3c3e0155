"""A request as its network sees it, in words that generic code can explain: what may be blanked, what may be changed.

Each network's module ``explain`` makes :class:`Item` and :class:`Knob`; :mod:`claude_flow.insight` works on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Item", "Knob", "Part", "numbers"]


@dataclass(frozen=True)
class Part:
    """Slots of one token that mean one thing: ``name`` of ``owner`` ("load" of "agent code-001"), in a ``group``."""

    group: str
    name: str
    owner: str
    token: int
    slots: NDArray[np.intp]


@dataclass(frozen=True)
class Item:
    """One request: inputs ``x`` float32 ``[tokens, width]``, each token's name and kind, how to read the output.

    ``scores(y, xp)`` gives ``[B, decisions, options]`` of a batch's outputs, with ``xp`` numpy or torch; a choice is
    the largest. What is explained is how far the choice is ahead of ``rival``, or of the runner-up where that is None.
    ``shape`` is what the network takes of one item.
    """

    request: dict[str, Any]
    x: NDArray[np.float32]
    tokens: tuple[str, ...]
    kinds: tuple[str, ...]
    parts: tuple[Part, ...]
    decisions: tuple[str, ...]
    options: tuple[str, ...]
    scores: Callable[[Any, Any], Any]
    shape: tuple[int, ...]
    rival: int | None = None

    def batch(self, rows: Any) -> Any:
        """Rows ``[B, tokens, width]`` as the network takes them."""
        return rows.reshape(len(rows), *self.shape)


@dataclass(frozen=True)
class Knob:
    """A field of a request that may be another: a number from ``low`` to ``high``, or one of ``words`` in order.

    ``path`` leads to it in the request, ``value`` is what it says now (None: nothing); ``log``: equal ratios are equal
    distances; ``whole``: only whole numbers.
    """

    label: str
    path: tuple[str | int, ...]
    value: Any
    low: float = 0.0
    high: float = 1.0
    words: tuple[str, ...] = ()
    log: bool = False
    whole: bool = False

    def position(self) -> float:
        """Where the value is: 0 at ``low``, 1 at ``high``; NaN for none.

        >>> Knob("load", ("load",), 0.5).position(), Knob("p", ("p",), "high", words=("low", "high")).position()
        (0.5, 1.0)
        """
        if self.value is None:
            return math.nan
        if self.words:
            return self.words.index(self.value) / (len(self.words) - 1) if self.value in self.words else self.value
        span = (math.log1p(v - self.low) if self.log else v - self.low for v in (float(self.value), self.high))
        at, end = span
        return min(max(at / end, 0.0), 1.0)

    def at(self, position: float) -> Any:
        """The value at a position, rounded as it is printed: three digits of the range.

        >>> Knob("load", ("load",), 0.5).at(0.83333), Knob("ms", ("ms",), 25, 0, 1000, log=True).at(0.5)
        (0.833, 30.6)
        """
        position = min(max(position, 0.0), 1.0)
        if self.words:
            return self.words[round(position * (len(self.words) - 1))]
        if self.log:
            value = self.low + math.expm1(position * math.log1p(self.high - self.low))
            value = float(f"{value:.3g}")
        else:
            step = 10.0 ** (math.floor(math.log10(self.high - self.low)) - 3)
            value = round(round((self.low + position * (self.high - self.low)) / step) * step, 12)
        return min(max(round(value) if self.whole else value, self.low), self.high)

    def put(self, request: dict[str, Any], value: Any) -> dict[str, Any]:
        """A copy of the request that says ``value`` here.

        >>> Knob("load", ("agents", 0, "load"), 0.5).put({"agents": [{"load": 0.5}]}, 0.9)
        {'agents': [{'load': 0.9}]}
        """
        changed: dict[str, Any] = _put(request, self.path, value)
        return changed


def _put(place: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a dictionary or list with ``value`` at the path; what is not on the way stays the same object."""
    key, *rest = path
    copied: Any = dict(place) if isinstance(place, dict) else list(place)
    if rest:
        value = _put(place.get(key, {}) if isinstance(place, dict) else place[key], tuple(rest), value)
    copied[key] = value
    return copied


def numbers(slots: Any) -> NDArray[np.intp]:
    """Slots, given as a slice or a list, as an array."""
    return np.arange(slots.start, slots.stop) if isinstance(slots, slice) else np.array(slots, np.intp)
