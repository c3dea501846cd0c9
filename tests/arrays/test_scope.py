"""Rectangles of the scope against the same questions asked pixel by pixel."""

import numpy as np
import pytest
import torch

from unseen.arrays.boxes import iou
from unseen.arrays.scope import (
    MOST_UNKNOWN,
    centre_in_scope,
    is_known,
    known_cells,
    outside,
    reaches_scope,
    scope_around,
    scope_mask,
    usual_margin,
)


def _boxes(rng, count, *, size=40, largest=25, beyond=0):
    corner = rng.integers(-beyond, size, (count, 2))
    return np.concatenate([corner, corner + rng.integers(1, largest, (count, 2))], axis=1)


def _pixels(xyxy, height, width):
    mask = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in np.clip(xyxy, 0, [width, height, width, height]).astype(int):
        mask[y1:y2, x1:x2] = True
    return mask


def test_nothing_all_and_the_edges_of_the_scope():
    assert not scope_mask([], height=5, width=6).any()
    assert not centre_in_scope([[0, 0, 4, 4]], []).any()
    assert not reaches_scope([[0, 0, 4, 4]], []).any()
    assert centre_in_scope([], [[0, 0, 4, 4]]).shape == (0,)
    np.testing.assert_array_equal(outside([], height=5, width=6), [[0, 0, 6, 5]])
    assert outside([[0, 0, 6, 5]], height=5, width=6).shape == (0, 4)
    edges = [[1, 1, 3, 3], [7, 1, 9, 3]]  # centres on the left edge and on the right one
    assert centre_in_scope(edges, [[2, 0, 8, 4]]).tolist() == [True, False]
    assert scope_around([], margin=3, width=9, height=9).shape == (0, 4)


def test_a_box_reaches_into_the_scope_when_they_share_a_pixel(rng):
    boxes, scope = _boxes(rng, 200), _boxes(rng, 2, largest=10)
    mask = _pixels(scope, 80, 80)
    expected = [mask[y1:y2, x1:x2].any() for x1, y1, x2, y2 in boxes]
    assert reaches_scope(boxes, scope).tolist() == expected
    assert not reaches_scope([[0, 0, 4, 4]], [[4, 0, 8, 4]]).any()  # they only touch


def test_inside_and_outside_are_complements_pixel_by_pixel(rng):
    for _ in range(50):
        scope = _boxes(rng, int(rng.integers(0, 6)), beyond=10)
        rest = outside(scope, height=37, width=41)
        inside = _pixels(scope, 37, 41)
        np.testing.assert_array_equal(scope_mask(scope, height=37, width=41), inside)
        np.testing.assert_array_equal(_pixels(rest, 37, 41), ~inside)
        area = (rest[:, 2:] - rest[:, :2]).prod(axis=1).sum()
        assert area == (~inside).sum()  # so that none of them overlap


def test_regions_are_enlarged_clipped_and_joined_where_they_then_overlap():
    regions = [[2, 2, 6, 6], [12, 3, 16, 7], [40, 40, 44, 44]]
    scope = scope_around(regions, margin=4, width=46, height=60)
    np.testing.assert_array_equal(scope, [[0, 0, 20, 11], [36, 36, 46, 48]])
    touching = [[0, 0, 4, 4], [4, 0, 8, 4]]
    np.testing.assert_array_equal(scope_around(touching, margin=0, width=9, height=9), touching)


def test_joined_regions_never_overlap_and_hold_every_region_with_its_margin(rng):
    for _ in range(50):
        regions = _boxes(rng, 8, size=100, largest=20)
        scope = scope_around(regions, margin=5, width=110, height=110)
        assert (iou(scope, scope)[~np.eye(len(scope), dtype=bool)] == 0).all()
        wanted = _pixels(regions + np.asarray([-5, -5, 5, 5]), 110, 110)
        assert _pixels(scope, 110, 110)[wanted].all()


def test_a_box_is_known_when_at_most_half_of_its_pixels_are_outside(rng):
    for _ in range(20):
        unknown = outside(_boxes(rng, 3), height=40, width=40)
        boxes = _boxes(rng, 60, beyond=15)
        hidden = np.pad(_pixels(unknown, 40, 40), 60)  # around the image nothing is unknown
        share = [hidden[y1 + 60 : y2 + 60, x1 + 60 : x2 + 60].mean() for x1, y1, x2, y2 in boxes]
        known = is_known(torch.from_numpy(boxes).float(), torch.from_numpy(unknown))
        assert known.tolist() == [s <= MOST_UNKNOWN for s in share]
        assert 0 < known.sum() < 60


@pytest.mark.parametrize("stride", [1, 4])
def test_a_cell_is_known_when_its_centre_is_in_scope(rng, stride):
    scope = _boxes(rng, 3)
    unknown = torch.from_numpy(outside(scope, height=40, width=40))
    known = known_cells(unknown, shape=(40 // stride, 40 // stride), stride=stride)
    fine = scope_mask(scope, height=80, width=80, scale=2)  # centres fall onto corners of pixels
    expected = fine[stride::, stride::][:: 2 * stride, :: 2 * stride]
    np.testing.assert_array_equal(known.numpy(), expected)


def test_the_margin_is_half_the_longer_side_of_nine_boxes_in_ten_and_at_least_ten():
    sides = np.arange(10, 111, 10)  # the nine-tenths quantile of eleven values is the tenth
    boxes = np.stack([0 * sides, 0 * sides, sides, 0 * sides + 3], axis=1)
    assert usual_margin([boxes[:4], [], boxes[4:]]) == pytest.approx(50)
    assert usual_margin([boxes[:1]]) == usual_margin([[]]) == usual_margin([]) == 10
