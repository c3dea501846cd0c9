import numpy as np
import pytest

from unseen.errors import ShapeError
from unseen.ranking.regions import Regions, region_strength, shown_regions, unseen_regions


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


def test_diagonal_neighbours_are_one_region():
    score = _map((9, 9, 12, 12, 0.5), (12, 12, 15, 15, 0.5))
    assert len(unseen_regions(score, 0.1).xyxy) == 1


def test_small_regions_are_dropped():
    score = _map((0, 0, 2, 2, 0.9), (10, 10, 13, 13, 0.5), (30, 30, 34, 34, 0.6))
    assert len(unseen_regions(score, 0.1, min_area=9).xyxy) == 2
    assert len(unseen_regions(score, 0.1, min_area=1).xyxy) == 3


def test_a_faint_rim_hardly_lowers_the_score():
    score = _map((0, 0, 12, 12, 0.1), (3, 3, 9, 9, 0.8))
    found = unseen_regions(score, 0.05).score[0]
    assert found == pytest.approx((108 * 0.01 + 36 * 0.64) / (108 * 0.1 + 36 * 0.8), rel=1e-5)
    assert found > score[score > 0.05].mean()


def test_boxes_cover_exactly_the_pixels_above_the_threshold(rng):
    for _ in range(20):
        score = rng.uniform(0, 1, (30, 33)).astype(np.float32) ** 6
        found = unseen_regions(score, 0.5, min_area=1)
        covered = np.zeros(score.shape, bool)
        for left, top, right, bottom in found.xyxy.astype(int):
            covered[top:bottom, left:right] = True
        assert covered[score > 0.5].all()
        assert found.area.sum() == (score > 0.5).sum()
        assert (np.diff(found.score) <= 0).all()


def _strength(score, threshold=0.1):
    return region_strength(unseen_regions(score, threshold).score, threshold)


def test_no_region_has_no_strength():
    assert _strength(np.zeros((9, 9), np.float32)) == 0
    assert region_strength([], 1.0) == 0


def test_twice_the_image_with_its_objects_is_as_strong():
    score = _map(
        (2, 3, 6, 10, 0.4), (20, 30, 28, 34, 0.9), (0, 40, 5, 50, 0.6), (31, 4, 36, 9, 0.3)
    )
    doubled = np.kron(score, np.ones((2, 2), np.float32))
    assert _strength(doubled) == pytest.approx(_strength(score), rel=1e-6)
    assert _strength(np.kron(score, np.ones((5, 5), np.float32))) == pytest.approx(_strength(score))


def test_strength_counts_examples_each_by_its_height_above_the_threshold():
    one = _map((2, 2, 8, 8, 0.55))
    assert _strength(one) == pytest.approx((0.55 - 0.1) / 0.9, rel=1e-6)
    assert _strength(_map((2, 2, 8, 8, 1.0), (20, 2, 24, 40, 1.0))) == pytest.approx(2)
    # Beside each other the strengths add up.
    beside = np.concatenate([one, _map((2, 30, 8, 36, 0.3))], axis=1)
    assert _strength(beside) == pytest.approx((0.45 + 0.2) / 0.9, rel=1e-6)


def test_one_strong_example_outweighs_two_that_are_hardly_unseen():
    assert _strength(_map((2, 2, 6, 6, 0.9))) > _strength(
        _map((2, 2, 30, 12, 0.2), (2, 30, 30, 40, 0.2))
    )


def test_maps_have_one_shape():
    with pytest.raises(ShapeError, match="expected"):
        unseen_regions(np.zeros((1, 5, 5), np.float32), 0.1)
    with pytest.raises(ShapeError, match="present"):
        unseen_regions(
            np.zeros((5, 5), np.float32), 0.1, present=np.zeros((5, 6), dtype=np.float32)
        )


def test_weight_is_the_doubt_about_the_background_squared_by_the_root_of_the_novelty():
    score = _map((2, 3, 6, 13, 0.4), (20, 30, 28, 34, 0.3))
    present = _map((2, 3, 6, 13, 0.5), (20, 30, 28, 34, 0.9))
    found = unseen_regions(score, 0.2, present=present)
    expected = [0.5**2 * np.sqrt(40 * 0.4), 0.9**2 * np.sqrt(32 * 0.3)]
    np.testing.assert_allclose(found.weight, expected, rtol=1e-5)
    np.testing.assert_allclose(found.confidence, found.weight / (1 + found.weight), rtol=1e-6)
    assert np.argmax(found.confidence) == np.argmax(found.weight)
    # Where nothing else is known, S is what is there.
    np.testing.assert_allclose(
        unseen_regions(score, 0.2).weight, unseen_regions(score, 0.2, present=score).weight
    )
    # The score decides which regions there are and how strong they are; the weight, which are shown.
    np.testing.assert_array_equal(found.score, unseen_regions(score, 0.2).score)
    assert shown_regions(found, 1).xyxy.tolist() == [[30, 20, 34, 28]]


def _regions(*boxes, weight):
    n = np.ones(len(boxes), np.float32)
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Regions(xyxy, n / 2, n, np.asarray(weight, np.float32))


def test_no_region_none_shown():
    for most in (0, 5):
        shown = shown_regions(unseen_regions(np.zeros((5, 5), np.float32), 0.1), most)
        assert shown.xyxy.shape == (0, 4)
        assert all(len(values) == 0 for values in (*shown, shown.confidence))
    assert len(shown_regions(_regions((0, 0, 3, 3), weight=[1]), 0).xyxy) == 0


def test_only_the_heaviest_are_shown_and_fewer_where_the_others_are_weak():
    boxes = [(9 * k, 0, 9 * k + 5, 5) for k in range(6)]
    found = _regions(*boxes, weight=[0.19, 0.5, 0.21, 1, 0.4, 0.3])
    assert (shown_regions(found, 10).xyxy[:, 0] / 9).tolist() == [3, 1, 4, 5, 2]
    assert (shown_regions(found, 2).xyxy[:, 0] / 9).tolist() == [3, 1]
    assert len(shown_regions(found, 10, least=0).xyxy) == 6
    assert len(shown_regions(found, 10, least=1).xyxy) == 1
    # Only proportions count.
    twice = found._replace(weight=2 * found.weight)
    np.testing.assert_array_equal(shown_regions(twice, 10).xyxy, shown_regions(found, 10).xyxy)


def test_what_lies_inside_a_heavier_region_is_not_shown_again():
    found = _regions((2, 2, 8, 8), (0, 0, 10, 10), (5, 5, 12, 9), weight=[0.5, 1, 0.4])
    assert shown_regions(found, 5).xyxy.tolist() == [[0, 0, 10, 10], [5, 5, 12, 9]]
    # It does not take the place of another one.
    assert shown_regions(found, 2).xyxy.tolist() == [[0, 0, 10, 10], [5, 5, 12, 9]]
    # A weak region around a heavy one says more than that one does.
    lighter = found._replace(weight=np.asarray([1, 0.5, 0.1], np.float32))
    assert len(shown_regions(lighter, 5).xyxy) == 2


def test_the_heaviest_region_of_any_map_is_shown(rng):
    for _ in range(20):
        score = rng.uniform(0, 1, (30, 33)).astype(np.float32) ** 6
        present = rng.uniform(score, 1).astype(np.float32)
        found = unseen_regions(score, 0.3, present=present, min_area=1)
        shown = shown_regions(found, 5)
        assert 1 <= len(shown.weight) <= 5
        assert shown.weight[0] == found.weight.max()
        assert (np.diff(shown.weight) <= 0).all()
        assert shown.weight[-1] >= 0.2 * shown.weight[0] * (1 - 1e-6)
