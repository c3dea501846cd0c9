"""The area under the ROC curve against its definition, pair by pair."""

import numpy as np
import pytest

from unseen.arrays.auroc import StreamingAuroc, auroc


def by_pairs(positive, negative):
    return np.mean([(p > n) + (p == n) / 2 for p in positive for n in negative])


@pytest.mark.parametrize(
    ("positive", "negative", "area"),
    [
        ([], [1], None),
        ([1], [], None),
        ([2, 3], [0, 1], 1),
        ([0], [1, 2], 0),
        ([5, 5], [5] * 3, 0.5),
    ],
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
