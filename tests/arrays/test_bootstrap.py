"""Intervals by resampling, against closed forms and by enumeration."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from unseen.arrays import bootstrap, paired_bootstrap
from unseen.arrays.bootstrap import (
    f1_intervals,
    f1_scores,
    gain_interval,
    mean_difference_interval,
)
from unseen.arrays.paired_bootstrap import ALWAYS_SAME, paired_difference


def one_box_each(is_found):
    """Counts of one class with one box per image, found (1) or missed (0)."""
    is_found = np.asarray(is_found, dtype=int)
    return np.stack([is_found, 0 * is_found, 1 - is_found], axis=-1)[:, None, :]


def random_counts(rng, images=60, classes=4):
    return rng.poisson([1.0, 0.4, 0.6], (images, classes, 3))


def test_too_little_gives_no_interval():
    for shape in ((0, 2, 3), (9, 2, 3), (9, 0, 3)):
        assert f1_intervals(np.zeros(shape)).macro is None
    assert f1_intervals(np.ones((1, 2, 3))).per_class == [None, None]
    assert gain_interval(np.ones((1, 1, 3)), np.ones((1, 1, 3))) is None
    assert mean_difference_interval([(np.ones(1), np.ones(9))], [1]) is None


@pytest.mark.parametrize(("images", "hits"), [(40, 10), (500, 20)])
def test_one_box_per_image_has_the_interval_of_the_binomial(images, hits, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20_000)
    low, high = f1_intervals(one_box_each(np.arange(images) < hits)).per_class[0]
    # TP of a resample is binomial, and F1 = 2 r / (1 + r) rises with the recall r.
    for bound, quantile in ((low, 0.025), (high, 0.975)):
        at = stats.binom(images, hits / images).ppf(quantile)
        near = [2 * k / (images + k) for k in (at - 1, at + 1)]
        assert near[0] <= bound <= near[1]


def test_the_interval_contains_the_measured_value_in_any_order_of_the_images(rng):
    counts, other, shuffled = random_counts(rng), random_counts(rng), rng.permutation(60)
    intervals = f1_intervals(counts)
    per_class = f1_scores(counts.sum(axis=0))
    values = [per_class.mean(), *per_class]
    for value, (low, high) in zip(values, [intervals.macro, *intervals.per_class], strict=True):
        assert low < value < high
    assert f1_intervals(counts[shuffled]) == intervals
    assert gain_interval(counts[shuffled], other[shuffled]) == gain_interval(counts, other)


def test_classes_without_test_boxes_or_ever_found_have_no_interval(rng):
    counts = random_counts(rng, classes=3)
    absent = np.zeros((len(counts), 1, 3), dtype=int)
    absent[:5, 0, 1] = 2  # false positives only
    intervals = f1_intervals(np.concatenate([counts, absent], axis=1))
    assert intervals.per_class[3] is None
    assert intervals.macro == pytest.approx(f1_intervals(counts).macro, abs=0.02)
    counts[:, 1, 0] = 0
    assert f1_intervals(counts).per_class[1] is None


def test_a_resample_without_a_class_leaves_it_out_of_the_mean():
    # One image of 20 holds the second class, always found: its F1 is 1 wherever it occurs.
    counts = np.zeros((20, 2, 3), dtype=int)
    counts[:, 0, 2] = 1  # the first class is never found: F1 0
    counts[0, 1, 0] = 1
    assert f1_intervals(counts).macro == (0.0, 0.5)


def test_a_gain_on_the_same_images_is_more_certain_than_two_intervals(rng):
    hard = rng.random(150)
    before, after = one_box_each(hard < 0.5), one_box_each(hard < 0.6)
    low, high = gain_interval(before, after)
    assert 0 < low < f1_scores(after.sum(0)) - f1_scores(before.sum(0)) < high
    widths = [np.diff(f1_intervals(c).macro)[0] for c in (before, after)]
    assert high - low < np.hypot(*widths)
    assert gain_interval(before, before) == (0.0, 0.0)


def test_a_difference_of_means_has_the_interval_of_the_normal_distribution(rng):
    strata = [(rng.normal(1, 1, 400), rng.normal(0, 1, 300)), (rng.normal(size=200),) * 2]
    weights = np.array([0.7, 0.3])
    low, high = mean_difference_interval(strata, weights)
    middle = sum(w * (a.mean() - b.mean()) for w, (a, b) in zip(weights, strata, strict=True))
    variances = [a.var() / len(a) + b.var() / len(b) for a, b in strata]
    half = 1.96 * np.sqrt(weights**2 @ variances)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=0.02)


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
    assert paired_difference([]) is paired_difference([[], []]) is None
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


def test_neither_order_matters_and_swapping_the_strategies_negates_the_difference(rng):
    strata = [rng.normal(0.4, 1, n) for n in (3, 5, 4)]
    result, negated = paired_difference(strata), paired_difference([-s for s in strata])
    assert paired_difference([s[::-1] for s in strata[::-1]]) == result
    assert negated.mean == pytest.approx(-result.mean)
    assert (negated.above, negated.below, negated.p) == (result.below, result.above, result.p)
    # Other resamples, so only nearly the same.
    np.testing.assert_allclose(negated.interval, [-b for b in result.interval[::-1]], atol=0.06)
