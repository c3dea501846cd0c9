"""Paired differences in closed form, and how often their intervals cover the truth."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from unseen.arrays import paired_bootstrap
from unseen.arrays.paired_bootstrap import ALWAYS_SAME, paired_difference


def test_without_a_pair_there_is_no_difference():
    assert paired_difference([]) is None
    assert paired_difference([[], []]) is None


def test_datasets_count_equally_however_many_seeds_they_have():
    result = paired_difference([[1.0, 1.0, 1.0, 1.0], [3.0, 5.0]])
    assert result.mean == pytest.approx((1 + 4) / 2)
    assert (result.above, result.equal, result.below, result.pairs) == (6, 0, 0, 6)


def test_pairs_are_counted_and_the_sign_test_is_the_binomial_one():
    result = paired_difference([[0.2, 0.0, -0.1], [0.0, 1e-15, 0.3]])
    assert (result.above, result.equal, result.below) == (2, 3, 1)
    assert result.p == pytest.approx(1.0)
    assert paired_difference([[0.1] * 5, [0.2, -0.2, 0.2]]).p == pytest.approx(2 * 9 / 2**8)
    assert paired_difference([[0.0]]).p == 1


@pytest.mark.parametrize(
    ("strata", "reason"),
    [([[0.1, 0.4]], "only 2 seeds; an interval takes 3"), ([[0.5], [0.6], [0.7]], "only one seed")],
)
def test_too_few_seeds_give_no_interval_and_a_reason(strata, reason):
    result = paired_difference(strata)
    assert (result.interval, result.verdict) == (None, "too few seeds to tell")
    assert result.reason.startswith(reason)


@pytest.mark.parametrize(
    ("strata", "verdict"),
    [
        ([[0.3] * 3], "above"),
        ([[-0.3] * 3], "below"),
        ([[0.0] * 3], "cannot be told apart"),
        ([[0.5, 0.6, 0.7], [0.4, 0.6, 0.5]], "above"),
        ([[-0.5, -0.6, -0.7], [-0.4, -0.6, -0.5]], "below"),
        ([[0.5, -0.6, 0.1]], "cannot be told apart"),
    ],
)
def test_the_verdict_in_words(strata, verdict):
    result = paired_difference(strata)
    assert result.verdict == verdict
    assert (result.interval is None) == (result.reason == ALWAYS_SAME) == (len(set(strata[0])) == 1)


def test_the_interval_is_that_of_all_resamples(monkeypatch):
    # All 4 ** 4 resamples, by enumeration, at the expanded percentiles.
    monkeypatch.setattr(paired_bootstrap, "RESAMPLES", 200_000)
    values = np.array([0.3, -0.2, 0.8, 0.5])
    enlarged = values.mean() + (values - values.mean()) * np.sqrt(4 / 3)
    means = np.mean(list(product(enlarged, repeat=4)), axis=1)
    tail = stats.norm.cdf(stats.t.ppf(0.025, 3))
    expected = np.quantile(means, [tail, 1 - tail])
    np.testing.assert_allclose(paired_difference([values]).interval, expected, atol=0.03)


def test_with_many_seeds_the_interval_is_that_of_students_t(rng):
    values = rng.normal(0.2, 1, 400)
    half = stats.t.ppf(0.975, 399) * values.std(ddof=1) / 20
    expected = [values.mean() - half, values.mean() + half]
    np.testing.assert_allclose(paired_difference([values]).interval, expected, atol=0.15 * half)


def test_neither_order_matters_and_swapping_the_strategies_negates_the_difference(rng):
    strata = [rng.normal(0.4, 1, n) for n in (3, 5, 4)]
    result, negated = paired_difference(strata), paired_difference([-s for s in strata])
    assert paired_difference([s[::-1] for s in strata[::-1]]) == result
    assert negated.mean == pytest.approx(-result.mean)
    assert (negated.above, negated.below, negated.p) == (result.below, result.above, result.p)
    # Other resamples, so only nearly the same.
    np.testing.assert_allclose(negated.interval, [-b for b in result.interval[::-1]], atol=0.06)
