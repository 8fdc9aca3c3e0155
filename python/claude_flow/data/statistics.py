"""Statistics of one column, or of two samples of it, with numpy alone: ranks, AUC, drift tests, Holm's correction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["auc", "holm", "kolmogorov_smirnov", "left_out_mean", "ranks", "spearman", "total_variation"]

_Floats = NDArray[np.float64]
_DRAWS = 1999  # so the smallest p-value is 1/2000, below 0.01 also after correction over 20 columns


def ranks(values: NDArray[Any]) -> _Floats:
    """Ranks from 1 on; equal values share the mean of theirs.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared = np.cumsum(counts) - (counts - 1) / 2
    found: _Floats = shared[place]
    return found


def auc(scores: NDArray[Any], labels: NDArray[np.bool_]) -> float:
    """The chance that a true label has the higher score (ties count half); 0.5 where one class is absent.

    >>> auc(np.array([1.0, 2.0, 3.0]), np.array([False, False, True]))
    1.0
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    return float((ranks(scores)[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The correlation of ranks; 0 where either side is constant.

    >>> round(spearman(np.array([1, 2, 3]), np.array([1, 10, 100])), 6)
    1.0
    """
    a, b = ranks(one) - (len(one) + 1) / 2, ranks(other) - (len(other) + 1) / 2
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def left_out_mean(codes: NDArray[np.int64], labels: NDArray[Any]) -> _Floats:
    """For each row the mean label of the *other* rows of its category; the overall mean where there is none.

    So a category of one row, an id, tells nothing of itself.

    >>> left_out_mean(np.array([0, 0, 1]), np.array([1.0, 0.0, 1.0])).round(2).tolist()
    [0.0, 1.0, 0.67]
    """
    _, place = np.unique(codes, return_inverse=True)
    others = np.bincount(place)[place] - 1
    rest = np.bincount(place, labels.astype(np.float64))[place] - labels
    found: _Floats = np.where(others > 0, rest / np.maximum(others, 1), labels.mean())
    return found


def kolmogorov_smirnov(one: _Floats, other: _Floats) -> tuple[float, float]:
    """The largest distance of the two empirical distributions, and its asymptotic p-value.

    p = 2 Σ (-1)^(k-1) exp(-2 k² λ²) with λ = (√n + 0.12 + 0.11/√n) D, n = n₁n₂/(n₁+n₂) (Stephens 1970).

    >>> kolmogorov_smirnov(np.arange(50.0), np.arange(50.0) + 100)[0]
    1.0
    """
    everything = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(part), everything, side="right") / len(part) for part in (one, other)]
    distance = float(np.abs(below[0] - below[1]).max())
    root = np.sqrt(len(one) * len(other) / len(everything))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the series does not converge there, and p differs from 1 by less than 1e-12
        return distance, 1.0
    k = np.arange(1, 101)
    p = 2 * float(np.sum((-1.0) ** (k - 1) * np.exp(-2 * (k * scaled) ** 2)))
    return distance, min(max(p, 0.0), 1.0)


def total_variation(one: NDArray[np.int64], other: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Half the summed difference of two tables of counts' shares, and the p-value of a permutation test.

    ``one[c]`` and ``other[c]`` count category c. Shuffling the rows between the two samples draws the first
    sample's counts from the multivariate hypergeometric distribution of the sums.

    >>> total_variation(np.array([30, 0]), np.array([0, 30]), seed=0)
    (1.0, 0.0005)
    """
    totals, size = one + other, int(one.sum())
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(totals, size, _DRAWS, method="marginals")

    def distance(first: NDArray[np.int64]) -> _Floats:
        apart: _Floats = np.abs(first / size - (totals - first) / int(other.sum())).sum(axis=-1) / 2
        return apart

    found = float(distance(one))
    return found, float((1 + np.sum(distance(drawn) >= found - 1e-12)) / (1 + _DRAWS))


def holm(p_values: list[float]) -> list[float]:
    """The p-values corrected for their number: each may be compared with the level of the whole family (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, worst = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = worst
    return corrected
