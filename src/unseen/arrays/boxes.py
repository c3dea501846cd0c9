"""Box formats, their overlap, and boxes that cannot be used.

FiftyOne stores relative `[x, y, width, height]`; all computing uses `xyxy` in px, float32, (N, 4).
Coordinates are continuous: pixel column c covers [c, c + 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError

FloatArray = npt.NDArray[np.float32]

#: Why `clean_boxes` changed or dropped a box, in the order of its report.
PROBLEMS = ("clipped", "outside", "empty", "not finite")


def as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    """Anything box-shaped as (N, 4) float32; an empty list becomes (0, 4).

    Raises:
        ShapeError: the last axis does not have length 4.
    """
    array = np.asarray(boxes, dtype=np.float32)
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ShapeError(f"boxes have shape {array.shape}; expected (N, 4)")
    return array


def rel_xywh_to_xyxy(rel: npt.ArrayLike, width: float, height: float) -> FloatArray:
    """Relative `[x, y, width, height]` -> corners in px.

    Args:
        rel: (N, 4), as shares of the image, origin top left.
        width: of the image, px.
        height: of the image, px.

    Returns:
        (N, 4) float32 `[x1, y1, x2, y2]` in px; not clipped.
    """
    boxes = as_boxes(rel).astype(np.float64)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return (corners * [width, height, width, height]).astype(np.float32)


def xyxy_to_rel_xywh(xyxy: npt.ArrayLike, width: float, height: float) -> FloatArray:
    """Corners in px -> relative `[x, y, width, height]`; the inverse of `rel_xywh_to_xyxy`."""
    boxes = as_boxes(xyxy).astype(np.float64)
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return (sides / [width, height, width, height]).astype(np.float32)


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Intersection over union of each box of `a` with each of `b`.

    Args:
        a: (N, 4) xyxy.
        b: (M, 4) xyxy.

    Returns:
        (N, M) float32 in [0, 1]; 0 where a box has no area.
    """
    first, second = as_boxes(a).astype(np.float64), as_boxes(b).astype(np.float64)
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    union = _areas(first)[:, None] + _areas(second)[None, :] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0).astype(np.float32)


def clean_boxes(
    xyxy: npt.ArrayLike, labels: npt.ArrayLike, width: float, height: float
) -> tuple[FloatArray, npt.NDArray[Any], dict[str, int]]:
    """Clip boxes to the image and drop those of which nothing is left.

    Args:
        xyxy: (N, 4) px.
        labels: (N,) of any kind; follows the boxes.
        width: of the image, px.
        height: of the image, px.

    Returns:
        The usable boxes (M, 4) and labels (M,) in their order, and how many were `clipped` (kept,
        but reached beyond the image), `outside` (no overlap with it), `empty` (no width or height)
        or `not finite` (NaN or infinite). Each box counts once.

    Raises:
        ShapeError: boxes and labels are not equally many.
    """
    boxes, names = as_boxes(xyxy), np.asarray(labels)
    if len(boxes) != len(names):
        raise ShapeError(f"{len(boxes)} boxes have {len(names)} labels; expected as many")
    finite = np.isfinite(boxes).all(axis=1)
    safe = np.where(np.expand_dims(finite, 1), boxes, 0)
    empty = finite & ((safe[:, 2] <= safe[:, 0]) | (safe[:, 3] <= safe[:, 1]))
    limits = np.asarray([width, height, width, height], dtype=np.float32)
    inside = np.clip(safe, 0, limits)
    gone = (inside[:, 2] <= inside[:, 0]) | (inside[:, 3] <= inside[:, 1])
    outside = finite & ~empty & gone
    kept = finite & ~empty & ~outside
    clipped = kept & (inside != safe).any(axis=1)
    counts = (clipped, outside, empty, ~finite)
    problems = {name: int(flags.sum()) for name, flags in zip(PROBLEMS, counts, strict=True)}
    return inside[kept], names[kept], problems


def _areas(xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None).prod(axis=1))
