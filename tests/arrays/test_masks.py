import numpy as np
import pytest

from unseen.arrays.masks import foreground_mask, target_mask


def test_without_boxes_all_is_background():
    mask = target_mask([], [], height=3, width=5)
    assert mask.dtype == np.int64
    np.testing.assert_array_equal(mask, np.zeros((3, 5)))
    assert not foreground_mask([], height=3, width=5).any()


@pytest.mark.parametrize(
    ("x1", "x2", "columns"),
    [
        (2, 5, [2, 3, 4]),
        (2.5, 4.5, [2, 3]),  # a centre on the left edge is in the box, on the right it is not
        (2.51, 4.51, [3, 4]),
        (3.6, 4.4, []),  # between two centres
        (-9, 1, [0]),
        (7, 99, [7]),
    ],
)
def test_a_pixel_is_covered_when_its_centre_is_inside(x1, x2, columns):
    mask = target_mask([[x1, 0, x2, 1]], [0], height=1, width=8, margin=0)
    np.testing.assert_array_equal(mask[0] == 1, np.isin(np.arange(8), columns))


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
    np.testing.assert_array_equal(target_mask(boxes, labels, **options), expected)
    np.testing.assert_array_equal(foreground_mask(boxes, **options), expected > 0)
