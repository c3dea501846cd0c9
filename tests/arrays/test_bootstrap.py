"""Intervals by resampling, against closed forms and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unseen.arrays.bootstrap import (
    f1_intervals,
    f1_scores,
    gain_interval,
    mean_difference_interval,
    resampled_sums,
)
from unseen.errors import ShapeError


def found_or_missed(found: np.ndarray) -> np.ndarray:
    """One class, one box per image: found (1) or missed (0), no false positives."""
    found = np.asarray(found)
    return np.stack([found, np.zeros_like(found), 1 - found], axis=-1)[:, None, :]


def random_counts(rng, images=60, classes=4):
    return rng.poisson([1.0, 0.4, 0.6], (images, classes, 3))


@pytest.mark.parametrize(("images", "hits"), [(40, 10), (200, 150), (500, 20)])
def test_one_box_per_image_has_the_interval_of_the_binomial(images, hits):
    counts = found_or_missed(np.arange(images) < hits)
    low, high = f1_intervals(counts, resamples=20_000).per_class[0]
    # TP of a resample is binomial, and F1 = 2 r / (1 + r) rises with the recall r.
    for bound, quantile in ((low, 0.025), (high, 0.975)):
        at = stats.binom(images, hits / images).ppf(quantile)
        near = [2 * k / (images + k) for k in (at - 1, at, at + 1)]
        assert near[0] <= bound <= near[2]


def test_the_interval_covers_the_truth_about_as_often_as_it_says(rng):
    recall, images, trials = 0.6, 80, 300
    truth = 2 * recall / (1 + recall)
    covered = 0
    for _ in range(trials):
        counts = found_or_missed((rng.random(images) < recall).astype(int))
        low, high = f1_intervals(counts, resamples=400, rng=rng).per_class[0]
        covered += low <= truth <= high
    assert 0.90 <= covered / trials <= 0.99


def test_the_interval_holds_the_measured_value(rng):
    counts = random_counts(rng)
    found = f1_intervals(counts)
    per_class = f1_scores(counts.sum(axis=0))
    for value, (low, high) in zip(per_class, found.per_class, strict=True):
        assert low < value < high
    assert found.macro[0] < per_class.mean() < found.macro[1]


def test_the_order_of_the_images_does_not_matter(rng):
    counts = random_counts(rng)
    shuffled = rng.permutation(len(counts))
    assert f1_intervals(counts) == f1_intervals(counts[shuffled])
    other = random_counts(rng)
    assert gain_interval(counts, other) == gain_interval(counts[shuffled], other[shuffled])


def test_it_is_the_same_each_time_and_follows_the_generator_that_is_passed(rng):
    counts = random_counts(rng)
    assert f1_intervals(counts) == f1_intervals(counts)
    seeded = [f1_intervals(counts, rng=np.random.default_rng(s)) for s in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]


def test_more_images_make_it_narrower(rng):
    counts = random_counts(rng)
    few, many = f1_intervals(counts).macro, f1_intervals(np.tile(counts, (9, 1, 1))).macro
    ratio = (few[1] - few[0]) / (many[1] - many[0])
    assert ratio == pytest.approx(3, rel=0.25)  # as the square root of the number of images


def test_a_class_without_test_boxes_does_not_pull_the_mean_down(rng):
    counts = random_counts(rng, classes=3)
    absent = np.zeros((len(counts), 1, 3), dtype=int)
    absent[:5, 0, 1] = 2  # false positives only
    found = f1_intervals(np.concatenate([counts, absent], axis=1))
    assert found.per_class[3] is None
    alone = f1_intervals(counts).macro
    assert found.macro == pytest.approx(alone, abs=0.02)


def test_a_class_that_a_resample_misses_is_left_out_of_that_resample():
    # One image of 20 holds the second class, always found: its F1 is 1 wherever it occurs.
    counts = np.zeros((20, 2, 3), dtype=int)
    counts[:, 0, 2] = 1  # the first class is never found: F1 0
    counts[0, 1, 0] = 1
    low, high = f1_intervals(counts, resamples=5000).macro
    assert (low, high) == (0.0, 0.5)


def test_a_gain_is_more_certain_on_the_same_images_than_from_two_intervals(rng):
    hard = rng.random(150)
    before = found_or_missed((hard < 0.5).astype(int))
    after = found_or_missed((hard < 0.6).astype(int))
    low, high = gain_interval(before, after)
    assert 0 < low < f1_scores(after.sum(0)) - f1_scores(before.sum(0)) < high
    widths = [np.diff(f1_intervals(c).macro)[0] for c in (before, after)]
    assert high - low < np.hypot(*widths)


def test_the_same_detector_gains_nothing(rng):
    counts = random_counts(rng)
    assert gain_interval(counts, counts) == (0.0, 0.0)


def test_nothing_is_said_about_too_little():
    assert f1_intervals(np.zeros((0, 2, 3))).macro is None
    assert f1_intervals(np.ones((1, 2, 3))).per_class == [None, None]
    assert f1_intervals(np.zeros((9, 2, 3))).macro is None
    assert f1_intervals(np.zeros((9, 0, 3))).macro is None
    assert gain_interval(np.ones((1, 1, 3)), np.ones((1, 1, 3))) is None
    assert mean_difference_interval(np.ones(1), np.ones(9)) is None


def test_a_class_that_is_never_found_has_no_interval_instead_of_one_without_width(rng):
    counts = random_counts(rng, classes=2)
    counts[:, 1, 0] = 0
    assert f1_intervals(counts).per_class[1] is None


@pytest.mark.parametrize("counts", [np.ones((4, 3)), np.ones((4, 2, 2)), -np.ones((4, 1, 3))])
def test_other_shapes_are_refused(counts):
    with pytest.raises(ShapeError, match="true positives"):
        f1_intervals(counts)


def test_two_evaluations_must_show_the_same_images():
    with pytest.raises(ShapeError, match="same images"):
        gain_interval(np.ones((4, 1, 3)), np.ones((5, 1, 3)))


def test_resampled_sums_have_the_mean_and_the_variance_of_drawing_with_replacement(rng):
    values = rng.normal(3, 2, 50)
    sums = resampled_sums(values, 20_000)
    assert sums.mean() == pytest.approx(values.sum(), rel=0.01)
    assert sums.var() == pytest.approx(50 * values.var(), rel=0.05)


def test_a_difference_of_means_has_the_interval_of_the_normal_distribution(rng):
    first, second = rng.normal(1, 1, 400), rng.normal(0, 1, 300)
    low, high = mean_difference_interval(first, second, resamples=5000)
    middle = first.mean() - second.mean()
    half = 1.96 * np.sqrt(first.var() / 400 + second.var() / 300)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=0.02)
