"""Boxes as the masks that the UNet learns (Ivanov et al. 2021, III).

Boxes are enlarged "to eliminate ambiguity of classifying pixels on the border of bounding boxes";
everything else is background. A pixel is covered when its centre (column + 1/2, row + 1/2) lies in
[x1, x2) x [y1, y2) of the enlarged and scaled box.

Masks are `height` x `width` px at working scale, of which `scale` make one native px; boxes and the
`margin` added on each side are native px.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unseen.arrays.boxes import as_boxes

BACKGROUND = 0


def largest_first(xyxy: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """The order in which to paint (N, 4) boxes, so that the smaller one is on top."""
    boxes = as_boxes(xyxy)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.argsort(-area, kind="stable")


def painted(
    covered: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
    window: tuple[int, int, int, int],
) -> npt.NDArray[np.int64]:
    """The class of every pixel of a window (left, top, right, bottom), px: 0 is background.

    Takes `covered_pixels` in the order in which to paint, and (N,) classes, k of which is 1 + k.
    """
    left, top, right, bottom = window
    mask = np.full((bottom - top, right - left), BACKGROUND, dtype=np.int64)
    inside = np.clip(covered - [left, top, left, top], 0, [*mask.shape[::-1], *mask.shape[::-1]])
    for i in np.flatnonzero((inside[:, 2:] > inside[:, :2]).all(axis=1)):
        x1, y1, x2, y2 = inside[i]
        mask[y1:y2, x1:x2] = 1 + classes[i]
    return mask


def foreground_mask(
    xyxy: npt.ArrayLike, *, height: int, width: int, scale: float = 1.0, margin: float = 10.0
) -> npt.NDArray[np.bool_]:
    """(height, width) bool: the union of the enlarged boxes, as in the paper."""
    mask = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in covered_pixels(
        xyxy, height=height, width=width, scale=scale, margin=margin
    ):
        mask[top:bottom, left:right] = True
    return mask


def covered_pixels(
    xyxy: npt.ArrayLike, *, height: int, width: int, scale: float, margin: float
) -> npt.NDArray[np.int64]:
    """(N, 4) int64 `[left, top, right, bottom]` of the pixels that each box covers, end exclusive."""
    # In float64, so that rounding does not move a centre across the edge of a box.
    edges = (as_boxes(xyxy).astype(np.float64) + np.asarray([-1, -1, 1, 1]) * margin) * scale
    # The first centre at or after x is that of column ceil(x - 1/2).
    pixels = np.clip(np.ceil(edges - 0.5), 0, [width, height, width, height])
    return np.asarray(pixels, dtype=np.int64)
