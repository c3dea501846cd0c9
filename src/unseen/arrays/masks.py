"""Boxes -> the masks that the UNet learns (Ivanov et al. 2021, III).

Boxes are enlarged, "to eliminate ambiguity of classifying pixels on the border of bounding boxes";
what no box covers is background.

A pixel is covered when its centre (column + 1/2, row + 1/2) lies in [x1, x2) x [y1, y2) of the
enlarged and scaled box.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.arrays.boxes import as_boxes
from unseen.errors import ShapeError

BACKGROUND = 0


def target_mask(
    xyxy: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    height: int,
    width: int,
    scale: float = 1.0,
    margin: float = 10.0,
) -> npt.NDArray[np.int64]:
    """The class of every pixel; where boxes overlap, the smaller one is on top.

    Args:
        xyxy: (N, 4) boxes in px of the native image.
        labels: (N,) class indices >= 0.
        height: of the mask, px at working scale.
        width: of the mask, px at working scale.
        scale: working px per native px.
        margin: boxes are enlarged by this on each side, native px.

    Returns:
        (height, width) int64: 0 is background, 1 + k is class k.
    """
    boxes = as_boxes(xyxy)
    classes = np.asarray(labels, dtype=np.int64).reshape(-1)
    if len(boxes) != len(classes):
        raise ShapeError(f"{len(boxes)} boxes have {len(classes)} labels; expected as many")
    mask = np.full((height, width), BACKGROUND, dtype=np.int64)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    covered = covered_pixels(boxes, height=height, width=width, scale=scale, margin=margin)
    for i in np.argsort(-area, kind="stable"):
        left, top, right, bottom = covered[i]
        mask[top:bottom, left:right] = 1 + classes[i]
    return mask


def foreground_mask(
    xyxy: npt.ArrayLike,
    *,
    height: int,
    width: int,
    scale: float = 1.0,
    margin: float = 10.0,
) -> npt.NDArray[np.bool_]:
    """The union of all enlarged boxes, as the paper has it; arguments as for `target_mask`.

    Returns:
        (height, width) bool, True for foreground.
    """
    boxes = as_boxes(xyxy)
    labels = np.zeros(len(boxes), dtype=np.int64)
    mask = target_mask(boxes, labels, height=height, width=width, scale=scale, margin=margin)
    return np.asarray(mask > BACKGROUND)


def covered_pixels(
    xyxy: npt.ArrayLike, *, height: int, width: int, scale: float, margin: float
) -> npt.NDArray[np.int64]:
    """The pixels each box covers; arguments as for `target_mask`.

    Returns:
        (N, 4) int64 `[left, top, right, bottom]`, right and bottom exclusive, within the image.
    """
    # float64: the sums below must not move a centre across a box's edge.
    boxes = as_boxes(xyxy).astype(np.float64)
    edges = (boxes + np.asarray([-margin, -margin, margin, margin])) * scale
    # The first centre at or after x is that of column ceil(x - 1/2).
    pixels = np.ceil(edges - 0.5)
    inside = np.clip(pixels, 0, [width, height, width, height])
    return np.asarray(inside, dtype=np.int64)
