import numpy as np
import pytest

from unseen.ranking.regions import Regions, region_strength, shown_regions, unseen_regions


def make_map(*blobs, size=(40, 50)):
    """Rectangles (top, left, bottom, right, value)."""
    score = np.zeros(size, np.float32)
    for top, left, bottom, right, value in blobs:
        score[top:bottom, left:right] = value
    return score


def make_regions(*boxes, weight):
    ones = np.ones(len(boxes), np.float32)
    xyxy = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Regions(xyxy, ones / 2, ones, np.asarray(weight, np.float32))


@pytest.mark.parametrize("size", [(5, 5), (0, 5)])
def test_nothing_unseen_gives_no_regions(size):
    regions = unseen_regions(np.zeros(size, np.float32), 0.1)
    for most in (0, 5):
        for none in (regions, shown_regions(regions, most)):
            assert none.xyxy.shape == (0, 4)
            assert all(len(values) == 0 for values in (*none, none.confidence))


def test_boxes_are_exact_and_the_strongest_comes_first():
    score = make_map((2, 3, 6, 10, 0.4), (20, 30, 28, 34, 0.9), (0, 40, 5, 50, 0.6))
    regions = unseen_regions(score, 0.2)
    np.testing.assert_array_equal(regions.xyxy, [[30, 20, 34, 28], [40, 0, 50, 5], [3, 2, 10, 6]])
    np.testing.assert_allclose(regions.score, [0.9, 0.6, 0.4], rtol=1e-6)
    assert regions.area.tolist() == [32, 50, 28]
    assert {values.dtype for values in regions} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("blobs", "count"),
    [
        ([(0, 0, 9, 9, 0.1)], 0),  # at the threshold
        ([(5, 5, 10, 10, 0.5), (5, 13, 10, 18, 0.5)], 1),  # a gap of 3 px
        ([(5, 5, 10, 10, 0.5), (5, 16, 10, 21, 0.5)], 2),  # a gap of 6 px
        ([(9, 9, 12, 12, 0.5), (12, 12, 15, 15, 0.5)], 1),  # diagonal neighbours
        ([(0, 0, 2, 2, 0.9), (10, 10, 13, 13, 0.5), (30, 30, 34, 34, 0.6)], 2),  # one is tiny
    ],
)
def test_gaps_are_bridged_and_small_regions_dropped(blobs, count):
    assert len(unseen_regions(make_map(*blobs), 0.1).xyxy) == count


def test_a_faint_rim_hardly_lowers_the_score():
    score = make_map((0, 0, 12, 12, 0.1), (3, 3, 9, 9, 0.8))
    strength = unseen_regions(score, 0.05).score[0]
    assert strength == pytest.approx((108 * 0.01 + 36 * 0.64) / (108 * 0.1 + 36 * 0.8), rel=1e-5)
    assert strength > score[score > 0.05].mean()


def test_boxes_cover_the_pixels_above_the_threshold_and_the_heaviest_is_shown(rng):
    for _ in range(20):
        score = rng.uniform(0, 1, (30, 33)).astype(np.float32) ** 6
        present = rng.uniform(score, 1).astype(np.float32)
        regions = unseen_regions(score, 0.5, present=present, min_area=1)
        covered = np.zeros(score.shape, bool)
        for left, top, right, bottom in regions.xyxy.astype(int):
            covered[top:bottom, left:right] = True
        assert covered[score > 0.5].all()
        assert regions.area.sum() == (score > 0.5).sum()
        assert (np.diff(regions.score) <= 0).all()
        weight = shown_regions(regions, 5).weight
        assert 1 <= len(weight) <= 5
        assert weight[0] == regions.weight.max()
        assert (np.diff(weight) <= 0).all()
        assert weight[-1] >= 0.2 * weight[0] * (1 - 1e-6)


def test_the_weight_is_the_squared_doubt_about_the_background_by_the_root_of_the_novelty():
    score = make_map((2, 3, 6, 13, 0.4), (20, 30, 28, 34, 0.3))
    present = make_map((2, 3, 6, 13, 0.5), (20, 30, 28, 34, 0.9))
    regions = unseen_regions(score, 0.2, present=present)
    expected = [0.5**2 * np.sqrt(40 * 0.4), 0.9**2 * np.sqrt(32 * 0.3)]
    np.testing.assert_allclose(regions.weight, expected, rtol=1e-5)
    np.testing.assert_allclose(regions.confidence, regions.weight / (1 + regions.weight), rtol=1e-6)
    plain = unseen_regions(score, 0.2)  # S alone, as if nothing were known
    np.testing.assert_allclose(plain.weight, unseen_regions(score, 0.2, present=score).weight)
    # The score decides which regions there are; the weight, which are shown.
    np.testing.assert_array_equal(regions.score, plain.score)
    assert shown_regions(regions, 1).xyxy.tolist() == [[30, 20, 34, 28]]


def strength_of(score, threshold=0.1):
    return region_strength(unseen_regions(score, threshold).score, threshold)


def test_strength_counts_examples_each_by_its_height_above_the_threshold():
    assert strength_of(np.zeros((9, 9), np.float32)) == region_strength([], 1.0) == 0
    one = make_map((2, 2, 8, 8, 0.55))
    assert strength_of(one) == pytest.approx((0.55 - 0.1) / 0.9, rel=1e-6)
    assert strength_of(make_map((2, 2, 8, 8, 1.0), (20, 2, 24, 40, 1.0))) == pytest.approx(2)
    beside = np.concatenate([one, make_map((2, 30, 8, 36, 0.3))], axis=1)
    assert strength_of(beside) == pytest.approx((0.45 + 0.2) / 0.9, rel=1e-6)
    for times in (2, 5):  # enlarged, it is as strong
        larger = np.kron(beside, np.ones((times, times), np.float32))
        assert strength_of(larger) == pytest.approx(strength_of(beside), rel=1e-6)


def test_a_region_inside_a_heavier_one_is_not_shown():
    regions = make_regions((2, 2, 8, 8), (0, 0, 10, 10), (5, 5, 12, 9), weight=[0.5, 1, 0.4])
    for most in (2, 5):  # it does not take the place of another one
        assert shown_regions(regions, most).xyxy.tolist() == [[0, 0, 10, 10], [5, 5, 12, 9]]
    # A weak region around a heavy one says more than that one does.
    lighter = regions._replace(weight=np.asarray([1, 0.5, 0.1], np.float32))
    assert len(shown_regions(lighter, 5).xyxy) == 2
