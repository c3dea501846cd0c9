"""Boxes: conversions and overlaps, the masks that they cover, and the scale that they need."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from unseen.arrays import boxes as arrays_boxes
from unseen.arrays.boxes import clean_boxes, iou, overlapping, rel_xywh_to_xyxy, xyxy_to_rel_xywh
from unseen.arrays.masks import covered_pixels, foreground_mask, largest_first, painted
from unseen.arrays.scale import working_scale


def test_no_boxes_stay_no_boxes():
    assert rel_xywh_to_xyxy([], 10, 10).shape == xyxy_to_rel_xywh([], 10, 10).shape == (0, 4)
    assert iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    boxes, labels, problems = clean_boxes([], [], 10, 10)
    assert boxes.shape == (0, 4)
    assert len(labels) == 0
    assert problems == {"clipped": 0, "outside": 0, "empty": 0, "not finite": 0}
    mask = foreground_mask([], height=3, width=5)
    assert (mask.dtype, mask.shape, mask.any()) == (bool, (3, 5), False)


def test_relative_boxes_become_pixels_and_back(rng):
    xyxy = rel_xywh_to_xyxy([[0.25, 0.5, 0.5, 0.25]], 400, 200)
    assert xyxy.dtype == np.float32
    np.testing.assert_array_equal(xyxy, [[100, 100, 300, 150]])
    rel = rng.uniform(0, 0.5, (50, 4)).astype(np.float32)
    back = xyxy_to_rel_xywh(rel_xywh_to_xyxy(rel, 641, 97), 641, 97)
    np.testing.assert_allclose(back, rel, atol=1e-6)


def test_iou_has_its_closed_form_and_agrees_with_torchvision(rng):
    others = [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [0, 0, 1, 1], [1, 1, 1, 1]]
    np.testing.assert_allclose(iou([[0, 0, 2, 2]], others), [[1, 1 / 3, 0, 1 / 4, 0]])
    corner = rng.uniform(0, 50, (50, 2))
    boxes = np.hstack([corner, corner + rng.uniform(1, 30, (50, 2))]).astype(np.float32)
    a, b = boxes[:20], boxes[20:]
    expected = box_iou(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(iou(a, b), expected, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
def test_pairs_that_overlap_are_those_of_the_matrix(rng, monkeypatch, at_once):
    monkeypatch.setattr(arrays_boxes, "PAIRS_AT_ONCE", at_once)
    a, b = rng.uniform(0.1, 1, (2, 20, 4))
    groups, is_crowd = tuple(rng.integers(0, 4, (2, 20))), np.arange(20) % 5 == 0
    found = np.zeros((20, 20))
    rows, columns, found_overlaps = overlapping(a, b, groups, is_crowd)
    assert (np.diff(rows) >= 0).all()
    found[rows, columns] = found_overlaps
    wanted = iou(rel_xywh_to_xyxy(a, 1, 1), rel_xywh_to_xyxy(b, 1, 1))
    area, other = a[:, 2:].prod(axis=1)[:, None], b[:, 2:].prod(axis=1)[None]
    shared = wanted * (area + other) / (1 + wanted)
    wanted = np.where(is_crowd, shared / area, wanted) * (groups[0][:, None] == groups[1])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_every_bad_box_is_counted_once_and_good_ones_are_kept_in_order():
    boxes = [[1, 1, 3, 3], [-5, 2, 4, 6], [20, 0, 30, 5], [3, 3, 3, 8], [5, 5, 4, 9]]
    boxes += [[np.nan, 0, 1, 1], [0, 0, np.inf, 1], [8, 8, 12, 9], [10, 0, 15, 5]]
    kept, labels, problems = clean_boxes(boxes, list("abcdefghi"), 10, 10)
    np.testing.assert_array_equal(kept, [[1, 1, 3, 3], [0, 2, 4, 6], [8, 8, 10, 9]])
    assert list(labels) == ["a", "b", "h"]
    assert problems == {"clipped": 2, "outside": 2, "empty": 2, "not finite": 2}


def test_a_pixel_is_covered_when_its_centre_is_inside():
    for x1, x2, columns in (
        (2.5, 4.5, [2, 3]),  # a centre on the left edge is in the box, on the right it is not
        (3.6, 4.4, []),  # between two centres
        (-9, 1, [0]),
        (7, 99, [7]),
    ):
        mask = foreground_mask([[x1, 0, x2, 1]], height=1, width=8, margin=0)
        assert np.flatnonzero(mask[0]).tolist() == columns


def test_the_mask_agrees_with_testing_every_centre(rng):
    height, width, scale, margin = 23, 31, 0.4375, 3.3
    corner = rng.uniform(-10, 60, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.5, 25, (12, 2))], 1).astype(np.float32)
    labels = rng.integers(0, 3, 12)
    y, x = np.mgrid[:height, :width] + 0.5
    expected = np.zeros((height, width), dtype=int)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in sorted(range(12), key=lambda k: -area[k]):
        x1, y1, x2, y2 = (float(v) for v in boxes[i])
        left, right = (x1 - margin) * scale, (x2 + margin) * scale
        top, bottom = (y1 - margin) * scale, (y2 + margin) * scale
        expected[(x >= left) & (x < right) & (y >= top) & (y < bottom)] = 1 + labels[i]
    options = {"height": height, "width": width, "scale": scale, "margin": margin}
    covered, order = covered_pixels(boxes, **options), largest_first(boxes)
    mask = painted(covered[order], labels[order], (0, 0, width, height))
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(foreground_mask(boxes, **options), expected > 0)


@pytest.mark.parametrize(
    ("short", "longest", "scale"),
    [
        ([], [4000], 1),
        ([8] * 5, [256] * 3, 1),  # small defects in small images
        ([12] * 5, [4096] * 3, 1),  # small defects in large images stay visible
        ([24] * 5, [640] * 3, 0.5),
        ([96] * 5, [4096] * 3, 0.125),
        ([100] * 5, [512] * 3, 0.5),  # not below 256 px
        ([100] * 5, [100] * 3, 1),  # never up
        ([25] * 5, [640] * 3, 0.5),  # 0.48, rounded up to a step
        ([24] * 20 + [500] * 80, [640] * 3, 0.5),  # small boxes decide
        ([24] + [96] * 99, [4096], 0.125),  # but not the smallest
        ([48] * 5, [64, 1024, 1024], 0.25),  # the median image decides
    ],
)
def test_the_rule_of_the_working_scale(short, longest, scale):
    assert working_scale(short, longest) == scale
