import numpy as np
import torch
from torchvision.ops import box_iou

from unseen.arrays.boxes import clean_boxes, iou, rel_xywh_to_xyxy, xyxy_to_rel_xywh


def test_no_boxes_stay_no_boxes():
    assert rel_xywh_to_xyxy([], 10, 10).shape == xyxy_to_rel_xywh([], 10, 10).shape == (0, 4)
    assert iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    boxes, labels, problems = clean_boxes([], [], 10, 10)
    assert boxes.shape == (0, 4)
    assert len(labels) == 0
    assert problems == {"clipped": 0, "outside": 0, "empty": 0, "not finite": 0}


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


def test_every_bad_box_is_counted_once_and_good_ones_are_kept_in_order():
    boxes = [
        [1, 1, 3, 3],
        [-5, 2, 4, 6],
        [20, 0, 30, 5],
        [3, 3, 3, 8],
        [5, 5, 4, 9],
        [np.nan, 0, 1, 1],
        [0, 0, np.inf, 1],
        [8, 8, 12, 9],
        [10, 0, 15, 5],
    ]
    kept, labels, problems = clean_boxes(boxes, list("abcdefghi"), 10, 10)
    np.testing.assert_array_equal(kept, [[1, 1, 3, 3], [0, 2, 4, 6], [8, 8, 10, 9]])
    assert list(labels) == ["a", "b", "h"]
    assert problems == {"clipped": 2, "outside": 2, "empty": 2, "not finite": 2}
