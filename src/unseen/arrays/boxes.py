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
#: So that many boxes in one image take no more memory than a few.
PAIRS_AT_ONCE = 1 << 18


def as_boxes(boxes: npt.ArrayLike, dtype: type[Any] = np.float32) -> npt.NDArray[Any]:
    """(N, 4); an empty list becomes (0, 4), any other shape raises `ShapeError`."""
    array = np.asarray(boxes, dtype=dtype)
    if array.size == 0:
        return np.zeros((0, 4), dtype=dtype)
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
    first, second = (as_boxes(boxes, np.float64) for boxes in (a, b))
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = (bottom_right - top_left, *(boxes[:, 2:] - boxes[:, :2] for boxes in (first, second)))
    shared, of_first, of_second = (np.clip(side, 0, None).prod(axis=-1) for side in sides)
    union = of_first[:, None] + of_second[None, :] - shared
    share = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    return np.asarray(share, dtype=np.float32)


def overlapping(
    first: npt.NDArray[np.float64],
    second: npt.NDArray[np.float64],
    groups: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    is_crowd: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The pairs of (N, 4) and (M, 4) boxes [x, y, width, height] of one group that share an area.

    Returns their places in the first (K,), ascending, and in the second (K,), and their overlap (K,)
    in (0, 1]: the intersection over the union, or over the first where the second is a crowd (M,).
    The arithmetic is that of pycocotools and FiftyOne, so that what is equal there is equal here.
    """
    by_group = np.argsort(groups[1], kind="stable")
    start = np.searchsorted(groups[1][by_group], groups[0], "left")
    counts = np.searchsorted(groups[1][by_group], groups[0], "right") - start
    areas = first[:, 2:].prod(axis=1), second[:, 2:].prod(axis=1)
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // PAIRS_AT_ONCE)) + 1
    for part in np.split(np.arange(len(first)), cuts):
        rows = np.repeat(part, counts[part])
        place = np.arange(len(rows)) - np.repeat(
            np.cumsum(counts[part]) - counts[part], counts[part]
        )
        columns = by_group[np.repeat(start[part], counts[part]) + place]
        a, b = first[rows], second[columns]
        ends = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
        sides = ends - np.maximum(a[:, :2], b[:, :2])
        meets = (sides > 0).all(axis=1)
        rows, columns, shared = rows[meets], columns[meets], sides[meets].prod(axis=1)
        union = areas[0][rows] + areas[1][columns] - shared
        whole = np.where(is_crowd[columns], areas[0][rows], union)
        share = np.divide(shared, whole, out=np.zeros(len(whole)), where=whole > 0)
        found.append((rows, columns, np.minimum(share, 1)))
    rows, columns, overlap = (np.concatenate(column) for column in zip(*found, strict=True))
    return rows, columns, overlap


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
