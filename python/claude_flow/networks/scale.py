"""Normalization of numbers: fitted once on training data, stored as plain JSON, applied the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from claude_flow.errors import InputError

__all__ = ["NORMALIZATIONS", "Scaler"]

NORMALIZATIONS = ("z-score", "robust", "quantile", "log", "none")
#: Normalized values are clipped here, so that one absurd value in production cannot saturate a network.
LIMIT = 4.0
_KNOTS = 33


@dataclass(frozen=True)
class Scaler:
    """One number's normalization: ``kind`` and its fitted ``parameters``.

    ``z-score``: (mean, standard deviation). ``robust``: (median, interquartile range / 1.349).
    ``log``: z-score of sign(v) log(1 + |v|). ``quantile``: knots of the empirical distribution, mapped to [-2, 2].
    ``none``: clipped only. A constant number normalizes to 0.

    >>> scaler = Scaler.fit("robust", [1, 2, 3, 4, 1000])
    >>> scaler(3), scaler(1e9)
    (0.0, 4.0)
    """

    kind: str
    parameters: tuple[float, ...] = ()

    @classmethod
    def fit(cls, kind: str, values: ArrayLike) -> Scaler:
        """Fit on the finite ones of ``values``; raises :class:`InputError` for an unknown kind."""
        if kind not in NORMALIZATIONS:
            raise InputError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, not {kind!r}")
        v = np.asarray(values, np.float64)
        v = v[np.isfinite(v)]
        if kind == "none":
            return cls(kind)
        if kind == "log":
            v = np.sign(v) * np.log1p(np.abs(v))
        if len(v) == 0:
            return cls("z-score", (0.0, 0.0))
        if kind == "quantile":
            return cls(kind, tuple(np.quantile(v, np.linspace(0, 1, _KNOTS)).tolist()))
        if kind == "robust":
            low, middle, high = np.quantile(v, [0.25, 0.5, 0.75])
            return cls(kind, (float(middle), float(high - low) / 1.349))
        return cls(kind, (float(v.mean()), float(v.std())))

    def __call__(self, value: float) -> float:
        """Normalize one finite number."""
        return float(self.apply(np.array([value]))[0])

    def apply(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Normalize an array of any shape; NaN stays NaN."""
        v = np.asarray(values, np.float64)
        if self.kind == "quantile":
            knots = np.asarray(self.parameters)
            if knots[0] == knots[-1]:
                v = np.where(np.isnan(v), v, 0.0)
            else:
                # A value that many rows share spans several knots: it maps to the middle of their ranks.
                ranks = 0.5 * (np.searchsorted(knots, v, "left") + np.searchsorted(knots, v, "right") - 1)
                between = np.interp(v, knots, np.arange(len(knots), dtype=np.float64))
                ranks = np.where(np.isin(v, knots), ranks, between)
                v = np.where(np.isnan(v), v, ranks / (len(knots) - 1) * 4 - 2)
        elif self.kind != "none":
            if self.kind == "log":
                v = np.sign(v) * np.log1p(np.abs(v))
            center, scale = self.parameters
            v = (v - center) / scale if scale > 0 else np.where(np.isnan(v), v, 0.0)
        return np.clip(v, -LIMIT, LIMIT).astype(np.float32)

    def to_json(self) -> list[Any]:
        """``[kind, parameters]`` for a stored schema."""
        return [self.kind, list(self.parameters)]

    @classmethod
    def from_json(cls, stored: Sequence[Any]) -> Scaler:
        """The scaler of :meth:`to_json`; raises :class:`InputError` for anything else."""
        try:
            kind, parameters = stored
            scaler = cls(kind, tuple(float(p) for p in parameters))
        except (TypeError, ValueError):
            raise InputError(f"the feature schema holds a damaged normalization: {stored!r:.60}") from None
        wanted = {"quantile": _KNOTS, "none": 0}.get(scaler.kind, 2)
        if scaler.kind not in NORMALIZATIONS or len(scaler.parameters) != wanted:
            raise InputError(f"the feature schema holds a damaged normalization: {stored!r:.60}")
        if not all(math.isfinite(p) for p in scaler.parameters):
            raise InputError(f"the feature schema holds a normalization that is not finite: {stored!r:.60}")
        return scaler
