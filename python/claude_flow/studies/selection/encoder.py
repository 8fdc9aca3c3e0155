"""Instance features of any scale, with gaps, as the inputs of a selector: fitted on training rows, stored as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claude_flow.errors import InputError
from claude_flow.networks.scale import Scaler

__all__ = ["STEP", "FeatureEncoder"]

#: Encoded values are multiples of this.
STEP = 1 / 8


@dataclass(frozen=True)
class FeatureEncoder:
    """Columns of a selector's input: each feature's rank among the training rows, then what is missing.

    ``ranks`` holds ``(feature, quantile scaler)``: ranks, since instance features span many decades and only their
    order carries over, rounded down to multiples of ``STEP`` (3 % of the rows); a missing value is the middle rank 0.
    ``missing`` holds the features whose absence is an input of its own, -1 or 1: one of those that are always absent
    together. A feature that is constant or absent in every training row gives no column; without any column left the
    input is one zero.

    >>> encoder = FeatureEncoder.fit(np.array([[1.0, 7.0, np.nan], [1e9, 7.0, 2.0], [30.0, 7.0, 5.0]]))
    >>> encoder.apply(np.array([[30.0, 99.0, np.nan], [1e12, 7.0, 2.0]])).tolist()
    [[0.0, 0.0, 1.0], [2.0, -2.0, -1.0]]
    """

    features: int
    ranks: tuple[tuple[int, Scaler], ...]
    missing: tuple[int, ...]

    @classmethod
    def fit(cls, features: NDArray[np.floating[Any]]) -> FeatureEncoder:
        """Fit on the training rows ``[n, features]``; NaN and infinities count as missing."""
        x = _finite(features)
        ranks, missing, patterns = [], [], set()
        for column in range(x.shape[1]):
            known = x[:, column][~np.isnan(x[:, column])]
            if len(known) and known.min() < known.max():
                ranks.append((column, Scaler.fit("quantile", known)))
            absent = np.isnan(x[:, column])
            if 0 < absent.sum() < len(absent) and (pattern := absent.tobytes()) not in patterns:
                patterns.add(pattern)
                missing.append(column)
        return cls(x.shape[1], tuple(ranks), tuple(missing))

    @property
    def width(self) -> int:
        """Columns of :meth:`apply`."""
        return max(1, len(self.ranks) + len(self.missing))

    def apply(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Encode rows ``[n, features]`` to float32 ``[n, width]``, multiples of ``STEP`` in [-2, 2].

        :raises InputError: the rows have another number of features.
        """
        x = _finite(features)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise InputError(f"a selector of {self.features} features got rows of shape {x.shape}")
        ranks = (np.nan_to_num(scaler.apply(x[:, column])) for column, scaler in self.ranks)
        columns = [np.floor(rank / np.float32(STEP)) * np.float32(STEP) for rank in ranks]
        columns += [np.where(np.isnan(x[:, column]), np.float32(1), np.float32(-1)) for column in self.missing]
        if not columns:
            return np.zeros((len(x), 1), np.float32)
        return np.ascontiguousarray(np.stack(columns, axis=1), np.float32)

    def to_json(self) -> dict[str, Any]:
        """What a model file stores of it."""
        ranks = [[column, scaler.to_json()] for column, scaler in self.ranks]
        return {"features": self.features, "ranks": ranks, "missing": list(self.missing)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> FeatureEncoder:
        """The encoder of :meth:`to_json`.

        :raises InputError: ``stored`` is something else.
        """
        try:
            ranks = tuple((int(column), Scaler.from_json(scaler)) for column, scaler in stored["ranks"])
            return cls(int(stored["features"]), ranks, tuple(int(column) for column in stored["missing"]))
        except (KeyError, TypeError, ValueError):
            raise InputError("the model file holds no selector's feature encoder, or a damaged one") from None


def _finite(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    x = np.asarray(features, np.float64)
    return np.where(np.isfinite(x), x, np.nan)
