"""The area under the ROC curve against its definition, pair by pair."""

import numpy as np
import pytest

from unseen.arrays.auroc import StreamingAuroc, auroc
from unseen.errors import ShapeError


def by_pairs(positive, negative):
    wins = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    return sum(wins) / len(wins)


def test_it_is_the_share_of_pairs_in_the_right_order(rng):
    positive, negative = rng.integers(0, 9, 40) / 8, rng.integers(0, 6, 70) / 8
    assert auroc(positive, negative) == pytest.approx(by_pairs(positive, negative))


def test_closed_forms():
    assert auroc([2, 3], [0, 1]) == 1
    assert auroc([0], [1, 2]) == 0
    assert auroc([5, 5], [5, 5, 5]) == 0.5
    assert auroc([], [1]) is None
    assert auroc([1], []) is None


def test_map_by_map_gives_what_all_pixels_at_once_give(rng):
    streaming = StreamingAuroc()
    scores = rng.uniform(0, 1, (5, 20, 30)).astype(np.float16) ** 3
    groups = rng.uniform(size=scores.shape) < scores
    for score, group in zip(scores, groups, strict=True):
        streaming.add(score, group)
    assert streaming.area() == pytest.approx(auroc(scores[groups], scores[~groups]), abs=1e-12)


def test_a_single_pixel_may_be_counted_at_a_time():
    streaming = StreamingAuroc()
    assert streaming.area() is None
    for value, group in ((0.0, False), (-0.0, True), (1.0, True)):
        streaming.add(np.float16([value]), np.array([group]))
    assert streaming.area() == by_pairs([0, 1], [0])


def test_scores_and_groups_must_fit():
    with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
        StreamingAuroc().add(np.zeros(2, np.float16), np.zeros(3, bool))
