"""Figures of streamed values: the area under the ROC curve pair by pair, and quantiles."""

import numpy as np
import pytest

from unseen.arrays.auroc import StreamingAuroc, auroc
from unseen.arrays.quantiles import StreamingQuantiles


def by_pairs(positive, negative):
    return np.mean([(p > n) + (p == n) / 2 for p in positive for n in negative])


@pytest.mark.parametrize(
    ("positive", "negative", "area"),
    [([], [1], None), ([1], [], None), ([2, 3], [0, 1], 1), ([0], [1, 2], 0), ([5], [5] * 3, 0.5)],
)
def test_closed_forms(positive, negative, area):
    assert auroc(positive, negative) == area


def test_it_is_the_share_of_pairs_in_the_right_order(rng):
    positive, negative = rng.integers(0, 9, 40) / 8, rng.integers(0, 6, 70) / 8
    assert auroc(positive, negative) == pytest.approx(by_pairs(positive, negative))


def test_streamed_maps_give_what_all_pixels_at_once_give(rng):
    streaming = StreamingAuroc()
    scores = rng.uniform(0, 1, (5, 20, 30)).astype(np.float16) ** 3
    groups = rng.uniform(size=scores.shape) < scores
    for score, group in zip(scores, groups, strict=True):
        streaming.add(score, group)
    assert streaming.area() == pytest.approx(auroc(scores[groups], scores[~groups]), abs=1e-12)


def test_single_pixels_and_negative_zero_can_be_streamed():
    streaming = StreamingAuroc()
    assert streaming.area() is None
    for value, group in ((0.0, False), (-0.0, True), (1.0, True)):
        streaming.add(np.float16([value]), np.array([group]))
    assert streaming.area() == by_pairs([0, 1], [0])


POINTS = [0, 0.01, 0.3, 0.5, 0.97, 0.99, 0.999, 1]


def test_of_nothing_every_quantile_is_zero():
    quantiles = StreamingQuantiles()
    quantiles.add(np.zeros((0, 4)))
    assert quantiles.quantile(0.97) == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("power", [1, 4, 12])
@pytest.mark.parametrize("count", [1, 10, 5000])
def test_agrees_with_numpy_to_the_stated_error_in_any_order(rng, power, count, dtype):
    scores = (rng.uniform(0, 1, count) ** power).astype(dtype)
    forward, backward = StreamingQuantiles(), StreamingQuantiles()
    for part in np.array_split(scores, 7):
        forward.add(part)
    backward.add(scores[::-1])
    for q in POINTS:
        expected = float(np.quantile(scores.astype(np.float32), q, method="lower"))
        assert forward.quantile(q) == backward.quantile(q) == pytest.approx(expected, rel=2**-10)


def test_the_ends_are_exact_and_beyond_is_clipped_and_nan_ignored():
    quantiles = StreamingQuantiles()
    quantiles.add([[0.0, -0.0, 1.0, 0.0]])
    assert [quantiles.quantile(q) for q in (0.5, 1)] == [0, 1]
    quantiles.add([np.nan, -3, 7, 7, 7])
    assert [quantiles.quantile(q) for q in (0, 0.4, 0.5, 1)] == [0, 0, 0, 1]
