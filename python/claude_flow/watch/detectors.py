"""Eight ways to compare a stream with its reference, each with a p-value that holds at any sample size.

Every statistic is made of counts in bins, or of means of blocks, and tested by permuting the rows between both samples
(or over time), so that a p-value needs no assumption about the values, and costs the same for 100 rows as for 100,000.
Kolmogorov-Smirnov alone has its own limiting distribution.

An effect is compared with what a normal feature would show if its mean moved by ``shift`` standard deviations: one
number that means the same for every method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from claude_flow import statistics
from claude_flow.errors import require

__all__ = ["METHODS", "Found", "Method", "categories", "counted", "joint", "normal_scores", "onset", "thinned"]

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
_BINS, _FINE = 10, 64
_FOLDS = 5  # of a classifier, one of which judges
_BLOCKS = 200  # of reference and stream together, in time
_MOST = 300  # rows a side that the joint test looks at
_MOST_LEARNED = 2000  # the same for a classifier, half of which learn
_MOST_READ = 4000  # the same before either
_STOPS, _REACHED = (49, 199), 20  # a permutation test ends after so many draws where so many reach what was found
_NORMAL = NormalDist()
_GRID = np.linspace(-4, 4, 801)
_BELOW = np.array([_NORMAL.cdf(z) for z in _GRID])


@dataclass(frozen=True)
class Found:
    """What a method says of a feature: a ``distance`` in the method's own measure, its chance without drift."""

    effect: float
    p: float


@dataclass(frozen=True)
class Method:
    """``compare(reference, stream, draws, generator)`` of two samples of numbers, in order of time if ``by_row``, else
    in any; ``threshold(shift)`` is the effect of a normal feature whose mean moved by so many standard deviations."""

    measure: str
    compare: Callable[[Array, Array, int, np.random.Generator], Found]
    threshold: Callable[[float], float]
    by_row: bool = False


# Counts in bins -------------------------------------------------------------------------------------------


def _binned(one: Array, other: Array, bins: int) -> tuple[Counts, Counts, Array]:
    """Counts of both samples in bins of about as many pooled values each, and the bins' medians."""
    parts = statistics.ordered(one), statistics.ordered(other)
    pooled = np.sort(np.concatenate(parts), kind="stable")  # merges them
    edges = _edges(pooled, bins)
    first, second, everything = (counted(part, edges) for part in (*parts, pooled))
    middles = pooled[np.minimum(np.cumsum(everything) - (everything + 1) // 2, len(pooled) - 1)]
    kept = everything > 0
    return first[kept], second[kept], middles[kept]


def _edges(pooled: Array, bins: int) -> Array:
    """Where sorted values are cut into that many bins of about as many each."""
    return np.unique(pooled[np.linspace(0, len(pooled), bins, endpoint=False)[1:].astype(int)])


def counted(ordered: Array, edges: Array) -> Counts:
    """How many of the sorted values lie below the first edge, between each two, and from the last one on."""
    return np.diff(np.searchsorted(ordered, edges, side="left"), prepend=0, append=len(ordered))


def _chance(reached: Callable[[int], int], draws: int) -> float:
    """The p-value of a permutation test: ``reached(count)`` deals so many times and counts how often chance reaches
    what was found.

    It ends after 49 or 199 where 20 of them reach it (Besag and Clifford, 1991): p is then above 0.1, and stays valid
    below. Most features have not drifted, so most tests cost a tenth.
    """
    dealt = count = 0
    for stop in (*(stop for stop in _STOPS if stop < draws), draws):
        count += reached(stop - dealt)
        dealt = stop
        if count >= _REACHED:
            break
    return (1 + count) / (1 + dealt)


def _permuted(
    one: Counts, other: Counts, statistic: Callable[[Array, Array], Array], draws: int, generator: np.random.Generator
) -> Found:
    """The statistic of two tables of counts, and how often rows dealt at random to both samples reach it.

    ``statistic`` takes shares [..., bins] of both samples.
    """
    totals, n, m = one + other, int(one.sum()), int(other.sum())
    found = float(statistic(one / n, other / m))

    def reached(count: int) -> int:
        drawn = generator.multivariate_hypergeometric(totals, n, count, method="marginals")
        return int(np.sum(statistic(drawn / n, (totals - drawn) / m) >= found - 1e-12))

    return Found(found, _chance(reached, draws))


def _total_variation(p: Array, q: Array) -> Array:
    return np.asarray(np.abs(p - q).sum(-1) / 2)


def _cramer(p: Array, q: Array) -> Array:
    # of two samples of equal weight: sqrt of half the mean squared contingency
    whole = np.maximum(p + q, 1e-300)
    return np.asarray(np.sqrt(np.maximum(((p - q) ** 2 / whole).sum(-1) / 2, 0)))


def _psi(p: Array, q: Array) -> Array:
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return np.asarray(((p - q) * np.log(p / q)).sum(-1))


def categories(one: Counts, other: Counts, draws: int, generator: np.random.Generator) -> Found:
    """Two tables of counts of categories: total variation, which a share of rows that changed adds up to."""
    return _permuted(one, other, _total_variation, draws, generator)


def _kolmogorov_smirnov(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    return Found(*statistics.kolmogorov_smirnov(one, other))


def _wasserstein(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    first, second, middles = _binned(one, other, _FINE)
    quartiles = np.quantile(np.concatenate([one, other]), [0.25, 0.75])
    scale = (quartiles[1] - quartiles[0]) / 1.349 or float(np.std(np.concatenate([one, other]))) or 1.0
    gaps = np.diff(middles) / scale

    def distance(p: Array, q: Array) -> Array:
        return np.asarray((np.abs(np.cumsum(p - q, -1)[..., :-1]) * gaps).sum(-1))

    return _permuted(first, second, distance, draws, generator)


def _population_stability(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    first, second, _ = _binned(one, other, _BINS)
    return _permuted(first, second, _psi, draws, generator)


def _chi_squared(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    first, second, _ = _binned(one, other, _BINS)
    return _permuted(first, second, _cramer, draws, generator)


def _mean_discrepancy(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    first, second, _ = _binned(one, other, _FINE)
    totals = first + second
    middles = normal_scores_of((np.cumsum(totals) - totals / 2) / totals.sum())
    kernel = np.exp(-((middles[:, None] - middles) ** 2) / 2)

    def squared(p: Array, q: Array) -> Array:
        apart = p - q
        return np.asarray(((apart @ kernel) * apart).sum(-1))

    return _permuted(first, second, squared, draws, generator)


def _classifier(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    """A classifier per bin: how much of a bin is the stream's is learned on all folds but one and judged on that, in
    turn. Chance deals the rows of every fold anew, and learns again."""
    edges = _edges(np.sort(np.concatenate([one, other])), _BINS)
    bins = [np.searchsorted(edges, part, side="right") for part in (one, other)]
    first, second = (
        np.stack([np.bincount(part[fold::_FOLDS], minlength=len(edges) + 1) for fold in range(_FOLDS)]) for part in bins
    )
    totals = first + second

    def gini(one: Counts, other: Counts) -> Array:  # 2 AUC - 1 of counts [..., folds, bins], the mean over the folds
        learned = (other.sum(-2, keepdims=True) - other + 1) / (one.sum(-2, keepdims=True) - one + 1)
        order = np.argsort(learned, -1, kind="stable")
        p, q = (np.take_along_axis(part / part.sum(-1, keepdims=True), order, -1) for part in (one, other))
        return np.asarray((2 * (q * (np.cumsum(p, -1) - p / 2)).sum(-1) - 1).mean(-1))

    found = float(gini(first, second))

    def reached(count: int) -> int:
        drawn = np.stack([
            generator.multivariate_hypergeometric(row, int(part.sum()), count, method="marginals")
            for row, part in zip(totals, first, strict=True)
        ], 1)  # fmt: skip
        return int(np.sum(gini(drawn, totals - drawn) >= found - 1e-12))

    return Found(found, _chance(reached, draws))


# Means of blocks in time ----------------------------------------------------------------------------------


def normal_scores_of(shares: Array) -> Array:
    """Where a standard normal has such shares below it."""
    return np.asarray(np.interp(shares, _BELOW, _GRID))


def normal_scores(one: Array, other: Array) -> tuple[Array, Array]:
    """Both samples by their ranks in the pooled one, as a standard normal's values; unknown ones (NaN) become 0."""
    pooled = np.concatenate([one, other])
    known = ~np.isnan(pooled)
    scores = np.zeros(len(pooled))
    count = int(known.sum())
    if count:
        _, place, counts = np.unique(pooled[known], return_inverse=True, return_counts=True)
        scores[known] = normal_scores_of((np.cumsum(counts) - counts / 2) / count)[place]  # equal values share theirs
    return scores[: len(one)], scores[len(one) :]


def _blocks(one: Array, other: Array) -> tuple[Array, int]:
    """Means of blocks of as many rows each, of the reference and then of the stream, and how many are the former's."""
    size = max(1, math.ceil((len(one) + len(other)) / _BLOCKS))
    means = [part[: len(part) // size * size].reshape(-1, size).mean(1) for part in (one, other)]
    return np.concatenate(means), len(means[0])


def _cuts(means: Array, first: int) -> tuple[Array, Array]:
    """For every cut of the sequence at or after ``first``: how far the means of both sides lie apart, and the same by
    its standard error. ``means`` is [..., blocks]; a side has 5 blocks or more, or what there is of the stream."""
    blocks = means.shape[-1]
    least = min(5, blocks - first)
    cuts = np.arange(first, blocks - least + 1)
    total = np.cumsum(means, -1)
    left = total[..., cuts - 1] / cuts
    right = (total[..., -1:] - total[..., cuts - 1]) / (blocks - cuts)
    apart = np.asarray(right - left)
    return apart, np.abs(apart) * np.sqrt(cuts * (blocks - cuts) / blocks)


def _over_time(
    one: Array,
    other: Array,
    statistic: Callable[[Array, int], tuple[Array, Array]],
    draws: int,
    generator: np.random.Generator,
) -> Found:
    means, first = _blocks(*normal_scores(one, other))
    if first < 2 or len(means) - first < 2:
        return Found(0.0, 1.0)
    found, effect = statistic(means, first)

    def reached(count: int) -> int:
        by_chance, _ = statistic(generator.permuted(np.broadcast_to(means, (count, len(means))), axis=-1), first)
        return int(np.sum(by_chance >= float(found) - 1e-12))

    return Found(float(effect), _chance(reached, draws))


def _page_hinkley(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    def statistic(means: Array, first: int) -> tuple[Array, Array]:
        away = means[..., first:] - means[..., :first].mean(-1, keepdims=True)
        sums = np.concatenate([np.zeros_like(away[..., :1]), np.cumsum(away, -1)], -1)
        rise = (sums - np.minimum.accumulate(sums, -1)).max(-1)
        fall = (np.maximum.accumulate(sums, -1) - sums).max(-1)
        apart, scaled = _cuts(means, first)
        at = scaled.argmax(-1)
        return np.maximum(rise, fall), np.abs(np.take_along_axis(apart, at[..., None], -1)[..., 0])

    return _over_time(one, other, statistic, draws, generator)


def _adwin(one: Array, other: Array, draws: int, generator: np.random.Generator) -> Found:
    def statistic(means: Array, first: int) -> tuple[Array, Array]:
        apart, scaled = _cuts(means, first)
        at = scaled.argmax(-1)
        return scaled.max(-1), np.abs(np.take_along_axis(apart, at[..., None], -1)[..., 0])

    return _over_time(one, other, statistic, draws, generator)


def onset(one: Array, other: Array) -> int:
    """The row of the stream from which on it differs most from all before: of the values' ranks, or of how far out they
    lie (a change of spread alone)."""
    scores = normal_scores(one, other)
    best, row = -1.0, 0
    for part in (scores, tuple(np.abs(score) for score in scores)):
        means, first = _blocks(*part)
        if first < 1 or len(means) - first < 1:
            continue
        _, scaled = _cuts(means, first)
        if scaled.max() > best:
            size = max(1, math.ceil((len(one) + len(other)) / _BLOCKS))
            best, row = float(scaled.max()), int(scaled.argmax()) * size
    return min(row, len(other) - 1)


def _shift_of_distance(shift: float) -> float:
    return 2 * _NORMAL.cdf(shift / 2) - 1


METHODS: dict[str, Method] = {
    "kolmogorov-smirnov": Method("largest distance of the distributions", _kolmogorov_smirnov, _shift_of_distance),
    "wasserstein": Method("earth mover's distance in standard deviations", _wasserstein, lambda shift: shift),
    # J divergence of two normals is shift²; ten bins keep 0.95 of it
    "psi": Method("population stability index", _population_stability, lambda shift: 0.95 * shift**2),
    "chi-squared": Method("Cramér's V over ten bins", _chi_squared, lambda shift: 0.97 * shift / 2),
    # of N(0, 1) and N(shift, 1) under a normal kernel of width 1
    "mmd": Method(
        "squared maximum mean discrepancy",
        _mean_discrepancy,
        lambda shift: 2 / math.sqrt(3) * (1 - math.exp(-(shift**2) / 6)),
    ),
    "classifier": Method(
        "2 AUC - 1 of a classifier", _classifier, lambda shift: 2 * _NORMAL.cdf(shift / math.sqrt(2)) - 1, by_row=True
    ),
    "page-hinkley": Method(
        "change of the mean rank, in standard deviations", _page_hinkley, lambda shift: shift, by_row=True
    ),
    "adwin": Method("change of the mean rank, in standard deviations", _adwin, lambda shift: shift, by_row=True),
}


# Jointly --------------------------------------------------------------------------------------------------


def thinned(rows: Array, most: int = _MOST_READ) -> Array:
    """At most so many rows, evenly spread."""
    kept: Array = rows[np.linspace(0, len(rows), min(len(rows), most), endpoint=False).astype(int)]
    return kept


def joint(
    one: Array, other: Array, method: str, shift: float, draws: int, generator: np.random.Generator
) -> tuple[str, Found, float]:
    """All features [rows, features] at once: what was measured, the finding, the effect that counts.

    By a classifier where that is the ``method``, else by the maximum mean discrepancy, which sees what no feature shows
    alone, such as a correlation that is gone.
    """
    if method == "classifier":
        return "2 AUC - 1 of a forest", _forest(one, other, generator), METHODS[method].threshold(shift)
    parts = [thinned(part, _MOST) for part in (one, other)]
    pooled = np.concatenate(parts)
    width = max(1, pooled.shape[1])
    squares = (pooled**2).sum(1)
    kernel = np.exp(-np.maximum(squares[:, None] + squares - 2 * pooled @ pooled.T, 0) / (2 * width))
    n, m = len(parts[0]), len(parts[1])
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])

    def squared(signed: Array) -> Array:
        return np.asarray(((signed @ kernel) * signed).sum(-1))

    found, by_chance = float(squared(weights)), []

    def reached(count: int) -> int:
        by_chance.append(squared(generator.permuted(np.broadcast_to(weights, (count, n + m)), axis=-1)))
        return int(np.sum(by_chance[-1] >= found - 1e-12))

    p = _chance(reached, draws)
    limit = 2 * (width / (width + 2)) ** (width / 2) * (1 - math.exp(-(shift**2) / (2 * (width + 2))))
    return METHODS["mmd"].measure, Found(max(0.0, found - float(np.concatenate(by_chance).mean())), p), limit


def _forest(one: Array, other: Array, generator: np.random.Generator) -> Found:
    """A forest learns on every other row which sample it is of; the rest tell how well. p is Mann and Whitney's."""
    Trees = require("sklearn.ensemble", "baselines").ExtraTreesClassifier
    parts = [thinned(part, _MOST_LEARNED) for part in (one, other)]
    trees = Trees(100, min_samples_leaf=5, random_state=int(generator.integers(2**31)), class_weight="balanced")
    learned = [part[::2] for part in parts]
    trees.fit(np.concatenate(learned), np.repeat([0, 1], [len(part) for part in learned]))
    judged = [part[1::2] for part in parts]
    n, m = len(judged[0]), len(judged[1])
    scores = trees.predict_proba(np.concatenate(judged))[:, 1]
    area = statistics.auc(np.repeat([0, 1], [n, m]), scores)
    _, ties = np.unique(scores, return_counts=True)
    whole = n + m
    spread = math.sqrt((whole + 1 - float((ties**3 - ties).sum()) / (whole * (whole - 1))) / (12 * n * m))
    return Found(2 * area - 1, 1 - _NORMAL.cdf((area - 0.5) / spread) if spread else 1.0)
