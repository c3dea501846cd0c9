"""Tiles cover every image, and the boxes of all tiles become one list."""

import numpy as np
import pytest
import torch

from unseen.detector import detectors
from unseen.detector.models import build_detector, detector_spec
from unseen.detector.tiles import OVERLAP, is_cut, merge, tile_corners, tile_scale


def squares(side, count=10):
    return [np.array([[0, 0, side, side]] * count, np.float32)]


def test_without_boxes_or_where_an_image_fits_it_is_seen_whole():
    assert tile_scale([], 3000, 320, 7) == (None, 320)
    assert tile_scale(squares(0), 3000, 320, 7) == (None, 320)
    assert tile_scale(squares(2), 320, 320, 7) == (None, 320)
    assert tile_scale(squares(40), 3000, 320, 7) == (None, 320)  # 4.3 px of 320


@pytest.mark.parametrize(
    ("boxes", "scale", "side"),
    [
        (squares(12), 0.625, 320),  # to 7.5 px
        (squares(3), 1.0, 320),  # never enlarged
        (squares(12) + squares(200), 0.625, 384),  # 125 px fit into the overlap
        (squares(12) + squares(2500), 0.625, 1024),
    ],
)
def test_small_objects_get_tiles_large_enough_for_the_others(boxes, scale, side):
    assert tile_scale(boxes, 3000, 320, 7) == (scale, side)
    spec = detector_spec("small", ("a",), 3000, boxes=boxes)
    assert (spec.scale, spec.image_size) == (scale, side)
    assert detector_spec("small", ("a",), 3000, boxes=boxes, image_size=512).scale is None


@pytest.mark.parametrize("size", [(1, 1), (96, 96), (97, 96), (12, 5000), (700, 333)])
def test_tiles_cover_the_image_and_overlap(size):
    tiles = tile_corners(size, 96)
    seen = np.zeros(size, bool)
    for top, left in tiles:
        part = seen[top : top + 96, left : left + 96]
        assert part.shape == (min(96, size[0]), min(96, size[1]))
        part[:] = True
    assert seen.all()
    for axis in (0, 1):
        starts = np.unique([corner[axis] for corner in tiles])
        assert (np.diff(starts) <= 96 * (1 - OVERLAP) + 1).all()


def test_what_several_tiles_see_is_one_box_and_whole_where_one_saw_it_whole():
    seen = torch.tensor(
        [[10.0, 10, 30, 20], [11, 10, 31, 20], [10, 10, 22, 20], [40, 40, 50, 50], [11, 11, 21, 19]]
    )
    labels = torch.tensor([1, 1, 1, 1, 2])
    scores = torch.tensor([0.5, 0.6, 0.9, 0.7, 0.8])
    cut = torch.tensor([False, False, True, True, True])
    # The cut-off end of the first box leaves in spite of its score; another class does not.
    assert merge(seen, labels, scores, cut).tolist() == [4, 3, 1]
    assert merge(seen[:0], labels[:0], scores[:0], cut[:0]).tolist() == []


def test_only_edges_inside_the_image_cut():
    boxes = torch.tensor(
        [[0.0, 5, 9, 9], [5, 3, 9, 9], [90, 5, 96, 9], [5, 90, 9, 95], [5, 5, 9, 9]]
    )
    assert is_cut(boxes, (0, 0), 96, (96, 200)).tolist() == [False, False, True, False, False]
    assert is_cut(boxes, (50, 104), 96, (200, 200)).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
@pytest.mark.parametrize(("most", "expected"), [(None, 300), (20, 20), (700, 700)])
def test_as_many_boxes_are_found_as_the_labels_or_the_user_say(detector, most, expected):
    for name in detectors()[detector].architectures:
        spec = detector_spec(
            name, ("a",), 320, detector=detector, boxes=squares(9, 150), max_detections=most
        )
        assert spec.max_detections == expected
        model, *_ = build_detector(spec, weights="none")
        if detector == "centernet":
            assert model.most == expected
            continue
        assert model.roi_heads.detections_per_img == expected
        assert model.rpn.eval().post_nms_top_n() >= min(2 * expected, 1000)
