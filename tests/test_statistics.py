"""Properties of the statistics, and agreement with the packages that others use."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_flow import statistics
from claude_flow.errors import InputError
from claude_flow.networks.prediction import conformal

scipy_stats = pytest.importorskip(
    "scipy.stats", reason="statistics need the extra: pip install 'claude-flow[baselines]'"
)
metrics = pytest.importorskip("sklearn.metrics", reason="the reference needs scikit-learn")

probabilities = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12)


@given(probabilities)
def test_holm_is_monotone_and_never_below_the_p_value(values):
    p, corrected = np.array(values), statistics.holm(values)
    known = ~np.isnan(p)
    assert (np.isnan(corrected) == ~known).all()
    assert (corrected[known] >= p[known]).all()
    assert (corrected[known] <= 1).all()
    assert (np.diff(corrected[known][np.argsort(p[known], kind="stable")]) >= 0).all()


def test_holm_keeps_the_chance_of_any_false_finding():
    generator = np.random.default_rng(0)
    found = np.mean([(statistics.holm(generator.random(8)) < 0.05).any() for _ in range(4000)])
    assert abs(found - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize("units", [10, 40])  # all signs; drawn ones
def test_permutation_p_is_uniform_where_nothing_differs(units):
    generator = np.random.default_rng(units)
    p = [statistics.permutation(generator.standard_t(3, units), draws=499, seed=i) for i in range(600)]
    assert scipy_stats.kstest(p, "uniform").pvalue > 0.01


def test_permutation_agrees_with_scipy():
    found = np.random.default_rng(1).normal(0.4, 1, 11)
    theirs = scipy_stats.permutation_test((found,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert statistics.permutation(found) == pytest.approx(theirs.pvalue, abs=1e-9)


@given(st.lists(st.floats(-1e6, 1e6), max_size=7))
@settings(deadline=None, max_examples=30)
def test_paired_tests_do_not_care_who_comes_first(values):
    found = np.array(values)
    for test in (statistics.permutation, statistics.wilcoxon, lambda d: statistics.corrected_t(d, 0.2)):
        one, other = test(found), test(-found)
        assert one == pytest.approx(other, nan_ok=True)
        assert np.isnan(one) or 0 <= one <= 1


def test_corrected_t_is_wider_than_the_plain_one():
    found = np.random.default_rng(2).normal(0.5, 1, 10)
    assert statistics.corrected_t(found, 0.1) > scipy_stats.ttest_1samp(found, 0).pvalue
    with pytest.raises(InputError, match="test share"):
        statistics.corrected_t(found, 1.0)


def test_the_interval_over_seeds_covers():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(2000):
        found = statistics.interval(generator.normal(0.7, 1, 5))
        hits += found.low <= 0.7 <= found.high
    assert abs(hits / 2000 - 0.95) < 0.02


def test_the_bootstrap_resamples_groups():
    generator = np.random.default_rng(4)
    offsets = np.repeat(generator.normal(0, 1, 30), 20)
    values = offsets + generator.normal(0, 0.1, 600)
    by_row, by_group = statistics.bootstrap(values), statistics.bootstrap(values, np.repeat(np.arange(30), 20))
    assert by_group.high - by_group.low > 3 * (by_row.high - by_row.low)
    median = statistics.bootstrap(values, np.repeat(np.arange(30), 20), statistic=lambda v: float(np.median(v)))
    assert median.low <= np.median(values) <= median.high
    with pytest.raises(InputError, match="2 values, but 1 groups"):
        statistics.bootstrap([1.0, 2.0], ["a"])


def test_power_finds_what_it_says():
    generator = np.random.default_rng(5)
    plan = statistics.power(generator.normal(0, 1, 25) * 0.5)
    drawn = generator.normal(plan.detectable, plan.deviation, (4000, 25))
    rejected = (scipy_stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean()
    assert abs(rejected - 0.8) < 0.03
    assert statistics.power([0.0, 0.0, 0.0]).needed is None
    assert statistics.power([1.0]).units == 1
    far = statistics.power(np.tile([1.0, -0.999], 50))
    assert far.needed is None or far.needed > 100_000


def test_scores_agree_with_scikit_learn():
    generator = np.random.default_rng(6)
    outcome, score = generator.integers(0, 2, 300), np.round(generator.random(300), 1)
    assert statistics.auc(outcome, score) == pytest.approx(metrics.roc_auc_score(outcome, score))
    assert statistics.brier(outcome, score) == pytest.approx(metrics.brier_score_loss(outcome, score))
    truth, levels = generator.normal(0, 1, 300), (0.1, 0.5, 0.9)
    quantiles = np.sort(generator.normal(0, 1, (300, 3)), axis=1)
    theirs = np.mean([metrics.mean_pinball_loss(truth, quantiles[:, i], alpha=a) for i, a in enumerate(levels)])
    assert statistics.pinball(truth, quantiles, levels).mean() == pytest.approx(theirs)


def test_one_class_alone_has_no_auc_and_no_rows_no_diagram():
    assert np.isnan(statistics.auc([1, 1], [0.2, 0.4]))
    assert np.isnan(statistics.brier([], []))
    empty = statistics.reliability([np.nan], [0.5])
    assert len(empty.rows) == 0
    assert np.isnan(empty.error)


def test_calibrated_probabilities_have_a_small_calibration_error():
    generator = np.random.default_rng(7)
    p = generator.random(20_000)
    outcome = generator.random(20_000) < p
    assert statistics.reliability(outcome, p).error < 0.015
    assert statistics.reliability(outcome, p**2).error > 0.1
    assert statistics.reliability(outcome, p).rows.sum() == 20_000


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_conformal_covers_exchangeable_rows(level):
    generator = np.random.default_rng(8)
    covered = []
    for _ in range(400):
        scores = generator.standard_t(2, 140) ** 3  # heavy tails: nothing is assumed of the distribution
        covered.append((scores[99:] <= conformal.shift(scores[:99], level)).mean())
    assert abs(np.mean(covered) - level) < 0.01


def test_conformal_agrees_with_mapie():
    regression = pytest.importorskip("mapie.regression", reason="the reference of the intervals: pip install mapie")
    from sklearn.base import BaseEstimator, RegressorMixin

    class Straight(RegressorMixin, BaseEstimator):
        """A quantile of N(x, 1), known without training."""

        def __init__(self, offset: float = 0.0) -> None:
            self.offset = offset

        def fit(self, x, y):
            self.fitted_ = True
            return self

        def predict(self, x):
            return x[:, 0] + self.offset

    generator = np.random.default_rng(9)
    x = generator.normal(0, 1, (260, 1))
    y = x[:, 0] + generator.normal(0, 2, 260)
    models = [Straight(offset).fit(x, y) for offset in (-1.2816, 1.2816, 0.0)]
    reference = regression.ConformalizedQuantileRegressor(models, confidence_level=0.8, prefit=True)
    reference.conformalize(x[:160], y[:160])
    _, bounds = reference.predict_interval(x[160:], symmetric_correction=True)
    by = conformal.shift(conformal.misses(x[:160, 0] - 1.2816, x[:160, 0] + 1.2816, y[:160]), 0.8)
    np.testing.assert_allclose(bounds[:, 0, 0], x[160:, 0] - 1.2816 - by, atol=1e-9)
    np.testing.assert_allclose(bounds[:, 1, 0], x[160:, 0] + 1.2816 + by, atol=1e-9)


def test_adaptive_intervals_follow_a_drift_where_fixed_ones_do_not():
    generator = np.random.default_rng(10)
    scale = np.concatenate([np.ones(500), np.linspace(1, 4, 2000)])
    scores = np.abs(generator.normal(0, scale)) - 1
    fixed = conformal.shift(scores[:500], 0.8)
    moving = conformal.adaptive(scores[:500], scores[500:], 0.8)
    assert (scores[500:] <= fixed).mean() < 0.6
    assert abs((scores[500:] <= moving).mean() - 0.8) < 0.015


def test_adaptive_intervals_use_only_what_is_known_by_then():
    generator = np.random.default_rng(11)
    scores, decided = generator.normal(0, 1, 300), np.sort(generator.random(300) * 100)
    ended = decided + generator.exponential(5, 300)
    found = conformal.adaptive(scores[:100], scores, 0.8, decided=decided, ended=ended)
    for row in (10, 150, 299):
        changed = np.where(ended > decided[row], 1e6, scores)  # outcomes that nobody knew yet
        again = conformal.adaptive(scores[:100], changed, 0.8, decided=decided, ended=ended)
        np.testing.assert_array_equal(again[: row + 1], found[: row + 1])
    assert np.isnan(conformal.adaptive(scores[:5], scores, 0.95)).all()
