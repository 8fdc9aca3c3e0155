"""Statistics: intervals, paired tests, correction for many tests, power; scores of forecasts; ranks and drift tests.

NumPy alone where the definition is a line or two; scipy and statsmodels for distributions and power (the extra
``[baselines]``). Conformal calibration is in :mod:`claude_flow.networks.prediction.conformal`, which inference shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from claude_flow.errors import InputError, require

__all__ = [
    "Interval",
    "Power",
    "Reliability",
    "auc",
    "bootstrap",
    "brier",
    "corrected_t",
    "coverage",
    "holm",
    "interval",
    "kolmogorov_smirnov",
    "mean",
    "mean_elsewhere",
    "ordered",
    "permutation",
    "pinball",
    "power",
    "ranks",
    "ratio",
    "reliability",
    "spearman",
    "total_variation",
    "wilcoxon",
]

Array = NDArray[np.float64]
_DRAWS = 1999  # so the smallest p-value is 1/2000, below 0.01 also after correction over 20 columns
_EXACT = 14  # paired differences up to this many are tested over all 2^n signs


@dataclass(frozen=True)
class Interval:
    """A mean (or another statistic) and its confidence interval; NaN where one value has no spread."""

    mean: float
    low: float
    high: float


def mean(values: Collection[float | Fraction]) -> Fraction:
    """The mean without rounding: counts that are equal stay equal, however they were grouped before.

    >>> 0.1 + 0.2 + 0.3 == 0.3 + 0.2 + 0.1, mean([0.1, 0.2, 0.3]) == mean([0.3, 0.2, 0.1])
    (False, True)
    """
    return sum((Fraction(value) for value in values), Fraction()) / len(values)


def interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of independent repetitions, such as seeds, with Student's t interval.

    >>> found = interval([1.0, 2.0, 3.0])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)
    """
    found = _finite(values)
    if len(found) < 2:
        return Interval(float(found.mean()) if len(found) else math.nan, math.nan, math.nan)
    t = require("scipy.stats", "baselines").t
    half = float(t.ppf(0.5 + level / 2, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
    mean = float(found.mean())
    return Interval(mean, mean - half, mean + half)


def bootstrap(
    values: ArrayLike,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    *,
    statistic: Callable[[Array], float] | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The statistic of ``values`` with its percentile interval, resampling whole ``groups``.

    Rows of one session, task or user resemble each other; drawing rows one by one would make the interval too narrow.
    ``statistic`` takes the drawn values (default: their mean).

    >>> found = bootstrap([0.0, 0.0, 1.0, 1.0], groups=["a", "a", "b", "b"])
    >>> found.mean, found.low, found.high
    (0.5, 0.0, 1.0)
    """
    found = np.asarray(values, np.float64)
    keys = np.arange(len(found)) if groups is None else np.asarray(groups)
    if len(keys) != len(found):
        raise InputError(f"bootstrap: {len(found)} values, but {len(keys)} groups")
    known = np.isfinite(found)
    found, keys = found[known], keys[known]
    if not len(found):
        return Interval(math.nan, math.nan, math.nan)
    place = np.unique(keys, return_inverse=True)[1].reshape(-1)
    count = int(place.max()) + 1
    whole = float(found.mean()) if statistic is None else statistic(found)
    if count < 2:
        return Interval(whole, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    if statistic is None:  # a mean needs only each group's sum and size
        sums, sizes = np.bincount(place, found), np.bincount(place)
        taken = generator.integers(count, size=(draws, count))
        drawn = sums[taken].sum(1) / sizes[taken].sum(1)
    else:
        order = np.argsort(place, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(place))[:-1])
        drawn = np.array(
            [
                statistic(found[np.concatenate([members[g] for g in generator.integers(count, size=count)])])
                for _ in range(draws)
            ]
        )
    low, high = np.nanquantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(whole, float(low), float(high))


def ratio(
    ours: ArrayLike,
    theirs: ArrayLike,
    groups: Sequence[Any] | NDArray[Any],
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The mean of ``ours`` over the mean of ``theirs``, paired by row, with one-sided bounds: each end of the interval
    holds at ``level`` by itself. Whole ``groups`` are drawn; rows that either lacks (NaN) do not count. All NaN where
    the mean of ``theirs`` is not above 0, of which a share means nothing.

    Where nothing got worse in any of n groups, drawing them again cannot show that something may: the lower end is
    then at most (1 - level)^(1/n), below which a share of groups that all lose everything would have been met.

    >>> found = ratio([1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], ["a", "b", "c", "d"])
    >>> found.mean, found.low, found.high
    (0.75, 0.25, 1.0)
    >>> round(ratio([1.0] * 10, [1.0] * 10, range(10)).low, 3)
    0.741
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    known = np.isfinite(ours) & np.isfinite(theirs)
    if not known.any():
        return Interval(math.nan, math.nan, math.nan)
    place = np.unique(np.asarray(groups)[known], return_inverse=True)[1].reshape(-1)
    sums = np.stack([np.bincount(place, values[known]) for values in (ours, theirs)])
    count = sums.shape[1]
    if not sums[1].sum() > 0:
        return Interval(math.nan, math.nan, math.nan)
    whole = float(sums[0].sum() / sums[1].sum())
    if count < 2:
        return Interval(whole, math.nan, math.nan)
    generator, ratios = np.random.default_rng(seed), []
    most = max(1, 4_000_000 // count)  # draws at a time: many groups must not fill the memory
    for first in range(0, draws, most):
        taken = generator.integers(count, size=(min(most, draws - first), count))
        above, below = sums[0][taken].sum(1), sums[1][taken].sum(1)
        ratios.append(np.divide(above, below, out=np.full(len(below), -np.inf), where=below > 0))
    low, high = (float(end) for end in np.quantile(np.concatenate(ratios), [1 - level, level], method="nearest"))
    if not (sums[0] < sums[1]).any():
        low = min(low, (1 - level) ** (1 / count))
    return Interval(whole, low, high)


# Paired tests: each takes one difference per unit (fold, session, task), ours less theirs ---------------------------


def permutation(differences: ArrayLike, *, draws: int = 9999, seed: int = 0) -> float:
    """Two-sided p of "the mean difference is 0" by flipping signs: all 2^n of them up to 14 units, else drawn ones.

    The smallest p of n units is 2^(1-n): five folds cannot show less than 0.0625.

    >>> permutation([1.0, 2.0, 3.0, 4.0, 5.0])
    0.0625
    """
    found = _finite(differences)
    if not len(found) or not found.any():
        return math.nan if not len(found) else 1.0
    total, tolerance = abs(found.sum()), 1e-12 * np.abs(found).sum()
    if len(found) <= _EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(found))[:, None] >> np.arange(len(found))) & 1)
        return float((np.abs(signs @ found) >= total - tolerance).mean())
    generator, hits, left = np.random.default_rng(seed), 0, draws
    while left:
        size = min(left, max(1, 4_000_000 // len(found)))
        signs = generator.integers(0, 2, (size, len(found)), np.int8) * 2 - 1
        hits += int((np.abs(signs @ found) >= total - tolerance).sum())
        left -= size
    return (1 + hits) / (1 + draws)


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; equal pairs are left out.

    >>> wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0])
    0.0625
    """
    found = _finite(differences)
    found = found[found != 0]
    if not len(found):
        return 1.0 if np.size(differences) else math.nan
    return float(require("scipy.stats", "baselines").wilcoxon(found).pvalue)


def corrected_t(differences: ArrayLike, test_share: float) -> float:
    """Two-sided p of the corrected resampled t-test (Nadeau and Bengio 2003) over the folds of repeated k-fold.

    Training sets overlap, so folds are not independent: the variance is multiplied by 1/n + test/train instead of
    1/n. ``test_share`` is the test part of all rows, 1/k for k folds.

    >>> round(corrected_t([1.0, 2.0, 3.0, 4.0, 5.0], 0.2), 4)
    0.0474
    """
    if not 0 < test_share < 1:
        raise InputError(f"corrected_t: the test share must lie between 0 and 1, not {test_share:g}")
    found = _finite(differences)
    if len(found) < 2:
        return math.nan
    deviation = float(found.std(ddof=1))
    if deviation == 0:
        return 1.0 if found[0] == 0 else 0.0
    t = require("scipy.stats", "baselines").t
    spread = deviation * math.sqrt(1 / len(found) + test_share / (1 - test_share))
    return float(2 * t.sf(abs(found.mean()) / spread, len(found) - 1))


def holm(p_values: ArrayLike) -> Array:
    """p values corrected for being many (Holm 1979), in their order: the chance of any false finding stays below p.

    NaN, a test that could not be made, stays NaN and does not count.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, np.float64)
    result = np.full(given.shape, np.nan)
    rows = np.flatnonzero(~np.isnan(given))
    order = rows[np.argsort(given[rows], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1)
    return result


@dataclass(frozen=True)
class Power:
    """What a paired comparison of ``units`` could have seen.

    ``effect`` is the mean difference, ``deviation`` its standard deviation; ``detectable`` the smallest mean
    difference that such a test finds with the asked power; ``needed`` the units it takes to find ``effect`` (None:
    no effect at all, or over a million).
    """

    units: int
    effect: float
    deviation: float
    detectable: float
    needed: int | None


def power(differences: ArrayLike, *, alpha: float = 0.05, target: float = 0.8) -> Power:
    """Power analysis of the paired, two-sided t-test on ``differences``, one per unit.

    >>> found = power([0.3, -0.1, 0.2, 0.4, -0.2, 0.1, 0.3, 0.0])
    >>> found.units, round(found.detectable, 3), found.needed
    (8, 0.245, 25)
    """
    found = _finite(differences)
    if len(found) < 2:
        return Power(len(found), float(found.mean()) if len(found) else math.nan, math.nan, math.nan, None)
    effect, deviation = float(found.mean()), float(found.std(ddof=1))
    if deviation == 0:
        return Power(len(found), effect, 0.0, 0.0, 2 if effect else None)
    brentq = require("scipy.optimize", "baselines").brentq

    def gap(size: float, units: int) -> float:
        return _power_of(size, units, alpha) - target

    detectable = deviation * brentq(gap, 1e-9, 1e4, args=(len(found),))
    size, low, high = abs(effect) / deviation, 1, 1_000_000
    if not size or gap(size, high) < 0:
        return Power(len(found), effect, deviation, float(detectable), None)
    while high - low > 1:  # power grows with the units: bisection
        middle = (low + high) // 2
        low, high = (middle, high) if gap(size, middle) < 0 else (low, middle)
    return Power(len(found), effect, deviation, float(detectable), high)


def _power_of(size: float, units: int, alpha: float) -> float:
    """Chance that the two-sided paired t-test rejects at a standardized mean difference ``size``.

    The noncentral t is a normal over the root of a chi-square: averaging over 1000 quantiles of the latter is within
    0.0005, and finite far out, where scipy's own series is not.
    """
    if units < 2:
        return alpha
    stats = require("scipy.stats", "baselines")
    deviation = np.sqrt(stats.chi2.ppf((np.arange(1000) + 0.5) / 1000, units - 1) / (units - 1))
    limit, center = stats.t.isf(alpha / 2, units - 1) * deviation, size * math.sqrt(units)
    return float((stats.norm.sf(limit - center) + stats.norm.cdf(-limit - center)).mean())


# Scores of forecasts ------------------------------------------------------------------------------------------------


def pinball(truth: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Array:
    """Pinball loss [n] of each row, its mean over the ``levels``; ``quantiles`` is [n, levels].

    >>> pinball([1.0], [[0.0, 3.0]], [0.1, 0.9]).round(3).tolist()
    [0.15]
    """
    aims = np.asarray(levels, np.float64)
    gap = np.asarray(truth, np.float64)[:, None] - np.asarray(quantiles, np.float64)
    loss: Array = np.maximum(aims * gap, (aims - 1) * gap).mean(1)
    return loss


def coverage(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[float, float]:
    """The share of outcomes within their intervals, ends included, and the intervals' mean width.

    >>> coverage([1.0, 5.0], [0.0, 0.0], [2.0, 4.0])
    (0.5, 3.0)
    """
    y, below, above = (np.asarray(values, np.float64) for values in (truth, low, high))
    return float(((y >= below) & (y <= above)).mean()), float((above - below).mean())


def auc(outcome: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    NaN (rows without an outcome are left out) unless both classes occur.

    >>> auc([0, 0, 1, 1, float("nan")], [0.1, 0.4, 0.35, 0.8, 0.5])
    0.75
    """
    y, scores = np.asarray(outcome, np.float64), np.asarray(score, np.float64)
    known = np.isfinite(y) & np.isfinite(scores)
    positive = y[known] > 0
    pairs = int(positive.sum()) * int((~positive).sum())
    if not pairs:
        return math.nan
    _, place, count = np.unique(scores[known], return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / pairs)


def brier(outcome: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared error of probabilities; rows without an outcome (NaN) are left out.

    >>> round(brier([0, 1], [0.1, 0.7]), 3)
    0.05
    """
    y, p = np.asarray(outcome, np.float64), np.asarray(probability, np.float64)
    known = np.isfinite(y) & np.isfinite(p)
    return float(((p[known] - y[known]) ** 2).mean()) if known.any() else math.nan


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: per bin that has rows, the mean forecast, what was observed, and the rows.

    ``error`` is the expected calibration error, the mean of |forecast - observed| weighted by rows.
    """

    forecast: Array
    observed: Array
    rows: NDArray[np.int64]
    error: float


def reliability(outcome: ArrayLike, probability: ArrayLike, bins: int = 10) -> Reliability:
    """Do outcomes occur as often as forecast? Bins of equal width from 0 to 1; rows without an outcome are left out.

    >>> found = reliability([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75], bins=2)
    >>> found.forecast.tolist(), found.observed.tolist(), found.error
    ([0.25, 0.75], [0.5, 1.0], 0.25)
    """
    y, p = np.asarray(outcome, np.float64), np.asarray(probability, np.float64)
    known = np.isfinite(y) & np.isfinite(p)
    y, p = y[known], p[known]
    if not len(y):
        return Reliability(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), math.nan)
    place = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    forecast, observed = (np.bincount(place, v, minlength=bins)[used] / rows[used] for v in (p, y))
    error = float((np.abs(forecast - observed) * rows[used]).sum() / len(y))
    return Reliability(forecast, observed, rows[used], error)


# One column, or two samples of it ------------------------------------------------------------------------------------


def ranks(values: NDArray[Any]) -> Array:
    """Ranks from 1 on; equal values share the mean of theirs.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared = np.cumsum(counts) - (counts - 1) / 2
    found: Array = shared[place]
    return found


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The correlation of ranks; 0 where either side is constant.

    >>> round(spearman(np.array([1, 2, 3]), np.array([1, 10, 100])), 6)
    1.0
    """
    a, b = ranks(one) - (len(one) + 1) / 2, ranks(other) - (len(other) + 1) / 2
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def mean_elsewhere(codes: NDArray[np.int64], labels: NDArray[Any], here: NDArray[np.bool_]) -> Array:
    """For each row of ``here`` the mean label of its category among the other rows; theirs all where it has none.

    All rows of a category have the same value, so nothing of a row's own label is in it: not in how the value differs
    from its neighbours' either, which the mean of all rows but one gives away.

    >>> mean_elsewhere(np.array([0, 0, 1, 0]), np.array([1, 0, 1, 0]), np.array([True, False, True, False])).tolist()
    [0.0, 0.0]
    """
    size = int(codes.max(initial=0)) + 1
    count = np.bincount(codes[~here], minlength=size)
    total = np.bincount(codes[~here], labels[~here].astype(np.float64), minlength=size)
    means = np.where(count > 0, total / np.maximum(count, 1), labels[~here].mean() if (~here).any() else 0.0)
    found: Array = means[codes[here]]
    return found


def ordered(values: Array) -> Array:
    """The values sorted; themselves where they are, which is told in a thirtieth of the time.

    >>> ordered(np.array([2.0, 1.0])).tolist()
    [1.0, 2.0]
    """
    return values if bool((values[1:] >= values[:-1]).all()) else np.sort(values)


def kolmogorov_smirnov(one: Array, other: Array) -> tuple[float, float]:
    """The largest distance of the two empirical distributions, and its asymptotic p-value.

    p = 2 Σ (-1)^(k-1) exp(-2 k² λ²) with λ = (√n + 0.12 + 0.11/√n) D, n = n₁n₂/(n₁+n₂) (Stephens 1970).

    >>> kolmogorov_smirnov(np.arange(50.0), np.arange(50.0) + 100)[0]
    1.0
    """
    parts = ordered(one), ordered(other)
    steps = [  # in order, a search is three times as fast as at random
        np.abs(np.arange(1, len(own) + 1) / len(own) - np.searchsorted(rest, own, side="right") / len(rest))
        if not (own[1:] == own[:-1]).any()
        else np.abs(
            np.searchsorted(own, own, side="right") / len(own) - np.searchsorted(rest, own, side="right") / len(rest)
        )
        for own, rest in (parts, parts[::-1])
    ]
    distance = float(max(step.max() for step in steps))
    root = np.sqrt(len(one) * len(other) / (len(one) + len(other)))
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

    def distance(first: NDArray[np.int64]) -> Array:
        apart: Array = np.abs(first / size - (totals - first) / int(other.sum())).sum(axis=-1) / 2
        return apart

    found = float(distance(one))
    return found, float((1 + np.sum(distance(drawn) >= found - 1e-12)) / (1 + _DRAWS))


def _finite(values: ArrayLike) -> Array:
    found = np.asarray(values, np.float64).reshape(-1)
    return found[np.isfinite(found)]
