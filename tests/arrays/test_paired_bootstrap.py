"""Paired differences in closed form, and how often their intervals cover the truth."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from unseen.arrays.paired_bootstrap import ALWAYS_SAME, paired_difference, sign_test
from unseen.errors import ShapeError


def test_without_a_pair_there_is_no_difference():
    assert paired_difference([]) is None
    assert paired_difference([[], []]) is None


def test_datasets_count_alike_however_many_seeds_they_have():
    found = paired_difference([[1.0, 1.0, 1.0, 1.0], [3.0, 5.0]])
    assert found.mean == pytest.approx((1 + 4) / 2)
    assert (found.above, found.equal, found.below, found.pairs) == (6, 0, 0, 6)


def test_pairs_are_counted_above_equal_and_below():
    found = paired_difference([[0.2, 0.0, -0.1], [0.0, 1e-15, 0.3]])
    assert (found.above, found.equal, found.below) == (2, 3, 1)


def test_two_seeds_of_one_dataset_give_no_interval_and_a_reason():
    found = paired_difference([[0.1, 0.4]])
    assert found.interval is None
    assert found.reason == "only 2 seeds; an interval takes 3"
    assert found.verdict == "too few seeds to tell"
    assert found.mean == pytest.approx(0.25)


def test_one_seed_everywhere_gives_no_interval_however_many_datasets():
    found = paired_difference([[0.5], [0.6], [0.7], [0.8]])
    assert found.interval is None
    assert "one seed" in found.reason
    assert found.verdict == "too few seeds to tell"


def test_equal_differences_claim_no_width():
    found = paired_difference([[0.3, 0.3, 0.3]])
    assert (found.interval, found.reason, found.verdict) == (None, ALWAYS_SAME, "above")
    assert paired_difference([[-0.3] * 3]).verdict == "below"
    assert paired_difference([[0.0] * 3]).verdict == "cannot be told apart"


def test_three_seeds_reach_as_far_as_the_enlarged_extremes():
    # With two degrees of freedom the percentiles are the most extreme resamples: all of one value.
    values = np.array([0.0, 1.0, 5.0])
    low, high = paired_difference([values]).interval
    assert low == pytest.approx(2 - 2 * np.sqrt(3 / 2), abs=1e-6)
    assert high == pytest.approx(2 + 3 * np.sqrt(3 / 2), abs=1e-6)


def test_the_interval_is_that_of_all_resamples():
    # All 4 ** 4 resamples, by enumeration, at the expanded percentiles.
    values = np.array([0.3, -0.2, 0.8, 0.5])
    enlarged = values.mean() + (values - values.mean()) * np.sqrt(4 / 3)
    means = np.mean(list(product(enlarged, repeat=4)), axis=1)
    tail = stats.norm.cdf(stats.t.ppf(0.025, 3))
    found = paired_difference([values], resamples=200_000).interval
    np.testing.assert_allclose(found, np.quantile(means, [tail, 1 - tail]), atol=0.03)


def test_with_many_seeds_the_interval_is_that_of_students_t(rng):
    values = rng.normal(0.2, 1, 400)
    half = stats.t.ppf(0.975, 399) * values.std(ddof=1) / 20
    found = paired_difference([values]).interval
    np.testing.assert_allclose(
        found, [values.mean() - half, values.mean() + half], atol=0.15 * half
    )


@pytest.mark.parametrize(("datasets", "seeds"), [(1, 6), (3, 4), (6, 3)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(datasets, seeds):
    rng = np.random.default_rng(datasets)
    truth = rng.normal(0, 1, datasets)
    covered = 0
    for _ in range(400):
        strata = [rng.normal(mean, 0.5, seeds) for mean in truth]
        low, high = paired_difference(strata, resamples=2000).interval
        covered += low <= truth.mean() <= high
    assert 0.91 <= covered / 400 <= 0.985


def test_the_fewest_seeds_cover_less_often_and_the_docstring_says_so(rng):
    bounds = [paired_difference([rng.normal(0, 1, 3)], resamples=1000).interval for _ in range(500)]
    covered = np.mean([low <= 0 <= high for low, high in bounds])
    assert 0.77 <= covered <= 0.87
    assert "82 of" in paired_difference.__doc__


def test_the_order_of_seeds_and_datasets_does_not_matter(rng):
    strata = [rng.normal(0, 1, n) for n in (3, 5, 4)]
    turned = [s[::-1] for s in strata[::-1]]
    assert paired_difference(strata) == paired_difference(turned)


def test_swapping_the_strategies_turns_the_difference_round(rng):
    strata = [rng.normal(0.4, 1, 5), rng.normal(0, 1, 4)]
    found, turned = paired_difference(strata), paired_difference([-s for s in strata])
    assert turned.mean == pytest.approx(-found.mean)
    assert (turned.above, turned.below, turned.p) == (found.below, found.above, found.p)
    # Other resamples, so only nearly the same.
    np.testing.assert_allclose(turned.interval, [-b for b in found.interval[::-1]], atol=0.06)


def test_a_clear_difference_is_above_and_noise_cannot_be_told_apart():
    assert paired_difference([[0.5, 0.6, 0.7], [0.4, 0.6, 0.5]]).verdict == "above"
    assert paired_difference([[-0.5, -0.6, -0.7], [-0.4, -0.6, -0.5]]).verdict == "below"
    assert paired_difference([[0.5, -0.6, 0.1]]).verdict == "cannot be told apart"


@pytest.mark.parametrize(("above", "below"), [(0, 0), (3, 0), (5, 1), (4, 4), (0, 9)])
def test_the_sign_test_is_the_binomial_one(above, below):
    expected = stats.binomtest(above, above + below, 0.5).pvalue if above + below else 1.0
    assert sign_test(above, below) == pytest.approx(expected)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ShapeError, match="expected one finite number per pair"):
        paired_difference([[0.1, float("nan")]])
    with pytest.raises(ShapeError, match=r"shape \(1, 2\)"):
        paired_difference([[[0.1, 0.2]]])
