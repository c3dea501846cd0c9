import numpy as np
import pytest

from unseen.errors import ShapeError
from unseen.science.regions import unseen_regions


def _map(*blobs, size=(40, 50)):
    score = np.zeros(size, np.float32)
    for top, left, bottom, right, value in blobs:
        score[top:bottom, left:right] = value
    return score


def test_nothing_unseen_gives_no_regions():
    for score in (np.zeros((5, 5), np.float32), np.zeros((0, 5), np.float32)):
        found = unseen_regions(score, 0.1)
        assert found.xyxy.shape == (0, 4)
        assert len(found.score) == len(found.area) == 0


def test_boxes_are_exact_and_the_strongest_comes_first():
    score = _map((2, 3, 6, 10, 0.4), (20, 30, 28, 34, 0.9), (0, 40, 5, 50, 0.6))
    found = unseen_regions(score, 0.2)
    np.testing.assert_array_equal(found.xyxy, [[30, 20, 34, 28], [40, 0, 50, 5], [3, 2, 10, 6]])
    np.testing.assert_allclose(found.score, [0.9, 0.6, 0.4], rtol=1e-6)
    assert found.area.tolist() == [32, 50, 28]
    assert found.xyxy.dtype == found.score.dtype == found.area.dtype == np.float32


def test_pixels_at_the_threshold_do_not_count():
    assert len(unseen_regions(_map((0, 0, 9, 9, 0.5)), 0.5).xyxy) == 0


def test_gaps_within_one_example_are_bridged_and_far_ones_are_not():
    near = _map((5, 5, 10, 10, 0.5), (5, 13, 10, 18, 0.5))
    far = _map((5, 5, 10, 10, 0.5), (5, 16, 10, 21, 0.5))
    assert unseen_regions(near, 0.1, closing=2).xyxy.tolist() == [[5, 5, 18, 10]]
    assert len(unseen_regions(far, 0.1, closing=2).xyxy) == 2
    assert len(unseen_regions(near, 0.1, closing=0).xyxy) == 2


def test_diagonal_neighbours_are_one_region():
    score = _map((0, 0, 3, 3, 0.5), (3, 3, 6, 6, 0.5))
    assert len(unseen_regions(score, 0.1, closing=0).xyxy) == 1


def test_small_regions_are_dropped_and_the_number_is_limited():
    score = _map((0, 0, 2, 2, 0.9), (10, 10, 13, 13, 0.5), (30, 30, 34, 34, 0.6))
    assert len(unseen_regions(score, 0.1, min_area=9).xyxy) == 2
    assert len(unseen_regions(score, 0.1, min_area=1).xyxy) == 3
    assert unseen_regions(score, 0.1, max_regions=1).xyxy.tolist() == [[30, 30, 34, 34]]
    assert len(unseen_regions(score, 0.1, max_regions=0).xyxy) == 0


def test_a_faint_rim_hardly_lowers_the_score():
    score = _map((0, 0, 12, 12, 0.1), (3, 3, 9, 9, 0.8))
    found = unseen_regions(score, 0.05).score[0]
    assert found == pytest.approx((108 * 0.01 + 36 * 0.64) / (108 * 0.1 + 36 * 0.8), rel=1e-5)
    assert found > score[score > 0.05].mean()


def test_boxes_cover_exactly_the_pixels_above_the_threshold(rng):
    for _ in range(20):
        score = rng.uniform(0, 1, (30, 33)).astype(np.float32) ** 6
        found = unseen_regions(score, 0.5, max_regions=10_000, min_area=1)
        covered = np.zeros(score.shape, bool)
        for left, top, right, bottom in found.xyxy.astype(int):
            covered[top:bottom, left:right] = True
        assert covered[score > 0.5].all()
        assert found.area.sum() == (score > 0.5).sum()
        assert (np.diff(found.score) <= 0).all()


def test_only_one_map_at_a_time():
    with pytest.raises(ShapeError, match="expected"):
        unseen_regions(np.zeros((1, 5, 5), np.float32), 0.1)
