"""Others' detectors are run as they are: what is made faster gives what it gave."""

from __future__ import annotations

import numpy as np
import pytest
from bench import detectors
from scipy import stats


@pytest.mark.parametrize("decimals", [0, 1, 12])  # many ties, some, none
def test_the_table_of_two_samples_of_one_size_is_scipys_test(decimals):
    generator = np.random.default_rng(decimals)
    for shift in np.linspace(0, 4, 20):
        one = np.round(generator.normal(size=30), decimals)
        other = np.round(generator.normal(shift, size=30), decimals)
        wanted = stats.ks_2samp(one, other, method="auto")
        found = detectors.ks_of_equals(one.tolist(), other.tolist(), "auto")
        assert found == pytest.approx((wanted.statistic, wanted.pvalue), rel=1e-12)
