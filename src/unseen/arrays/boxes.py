"""Box formats, overlap, and unusable boxes.

FiftyOne stores relative `[x, y, width, height]`; all computation uses `xyxy` in px, (N, 4) float32.
Coordinates are continuous: pixel column c covers [c, c + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.errors import LabelError, ShapeError

FloatArray = npt.NDArray[np.float32]


def as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    """(N, 4) float32; an empty list becomes (0, 4), any other shape raises `ShapeError`."""
    array = np.asarray(boxes, dtype=np.float32)
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ShapeError(f"boxes have shape {array.shape}; expected (N, 4)")
    return array


def rel_xywh_to_xyxy(rel: npt.ArrayLike, width: float, height: float) -> FloatArray:
    """Relative (N, 4) `[x, y, width, height]` -> (N, 4) float32 corners in px, not clipped."""
    boxes = as_boxes(rel).astype(np.float64)
    boxes[:, 2:] += boxes[:, :2]
    return (boxes * [width, height, width, height]).astype(np.float32)


def xyxy_to_rel_xywh(xyxy: npt.ArrayLike, width: float, height: float) -> FloatArray:
    """Corners in px -> relative `[x, y, width, height]`; the inverse of `rel_xywh_to_xyxy`."""
    boxes = as_boxes(xyxy).astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return (boxes / [width, height, width, height]).astype(np.float32)


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Intersection over union of (N, 4) and (M, 4) xyxy: (N, M) in [0, 1], 0 without any area."""
    shared, first, second = _areas(a, b)
    return _share(shared, first[:, None] + second[None, :] - shared)


def overlap_of_first(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """Share of each of the (N, 4) boxes that lies in each of the (M, 4): (N, M) in [0, 1]."""
    shared, first, _ = _areas(a, b)
    return _share(shared, np.broadcast_to(first[:, None], shared.shape))


def _areas(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], ...]:
    """(N, M) intersections, and the areas (N,) and (M,)."""
    first, second = as_boxes(a).astype(np.float64), as_boxes(b).astype(np.float64)
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = (bottom_right - top_left, *(boxes[:, 2:] - boxes[:, :2] for boxes in (first, second)))
    return tuple(np.clip(side, 0, None).prod(axis=-1) for side in sides)


def _share(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> FloatArray:
    share = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return np.asarray(share, dtype=np.float32)


def clean_boxes(
    xyxy: npt.ArrayLike, labels: npt.ArrayLike, width: float, height: float
) -> tuple[FloatArray, npt.NDArray[Any], dict[str, int]]:
    """Clip boxes to the image and drop those of which nothing remains.

    Returns the usable (M, 4) boxes in px and their labels in the given order, and how many were
    `clipped` (kept, but reached beyond the image), `outside` (no overlap with it), `empty` (no width
    or height) or `not finite`. Each box counts once. Raises `ShapeError` unless there is a label for
    each box.
    """
    boxes, names = as_boxes(xyxy), np.asarray(labels)
    if len(boxes) != len(names):
        raise ShapeError(f"{len(boxes)} boxes have {len(names)} labels; expected one per box")
    finite = np.asarray(np.isfinite(boxes).all(axis=1))
    safe = np.where(finite[:, None], boxes, 0)
    inside = np.clip(safe, 0, np.asarray([width, height, width, height], dtype=np.float32))
    empty = finite & ~has_area(safe)
    outside = finite & ~empty & ~has_area(inside)
    kept = finite & ~empty & ~outside
    clipped = kept & (inside != safe).any(axis=1)
    problems = {"clipped": clipped, "outside": outside, "empty": empty, "not finite": ~finite}
    return inside[kept], names[kept], {name: int(p.sum()) for name, p in problems.items()}


def check_labelled(
    images: int,
    boxes: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike],
    class_count: int,
) -> None:
    """Raise unless there are boxes (N, 4) for each of so many images, and N indices of the classes.

    That is a `ShapeError`, or a `LabelError` for an index out of range.
    """
    if not images == len(boxes) == len(labels):
        raise ShapeError(
            f"{images} images have {len(boxes)} lists of boxes and {len(labels)} of labels; "
            "expected one of each per image"
        )
    for index, (xyxy, of_image) in enumerate(zip(boxes, labels, strict=True)):
        count, classes = len(as_boxes(xyxy)), np.asarray(of_image).reshape(-1)
        if count != len(classes):
            raise ShapeError(
                f"image {index}: {count} boxes have {len(classes)} labels; expected one per box"
            )
        if count and not 0 <= classes.min() <= classes.max() < class_count:
            raise LabelError(
                f"image {index}: class indices from {classes.min()} to {classes.max()}; expected 0 "
                f"to {class_count - 1}"
            )


def has_area(xyxy: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(N,): whether each (N, 4) box is wider and higher than 0."""
    return np.asarray((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
