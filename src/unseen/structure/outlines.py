"""Outlines of a mask, and what lies inside outlines or near lines: exact at the pixels' centres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from unseen.errors import StructureError

#: (N, 2) float32 points (x, y), relative to the image's width and height: [0, 1] is the image.
Points = npt.NDArray[np.float32]
#: One closed shape: rings of at least 3 points, the last joined to the first. Points that an odd number
#: of rings surrounds are inside, so that a ring within a ring is a hole.
Outline = list[Points]

#: How far a simplified border may run from the pixels' edges, px. From half a pixel on, a straight
#: side may cross the centres of its outermost pixels.
TOLERANCE = 0.4
#: An outline is stored with each image; a browser still draws this many points quickly.
MOST_POINTS = 2000

_Floats = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.int64]
_Raster = npt.NDArray[np.bool_]


def mask_outlines(mask: npt.NDArray[np.bool_]) -> list[Outline]:
    """The simplified outer borders and holes of an (H, W) bool mask, one outline per connected part.

    Parts connect through 4 neighbours; the upper left one comes first. What is narrower than about
    twice the tolerance may vanish. Raises `StructureError` if the mask is empty, full or too
    detailed.
    """
    if not mask.any() or mask.all():
        what = "full" if mask.any() else "empty"
        raise StructureError(
            f"the mask is {what}: {int(mask.sum())} of {mask.size} px are set; expected a mask with "
            "something inside and something outside"
        )
    labels, _ = ndimage.label(mask)
    outlines = []
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        corner = [window[1].start, window[0].start]
        rings = [(ring + corner) / mask.shape[::-1] for ring in _rings(labels[window] == number)]
        if rings:
            outlines.append([np.clip(ring, 0, 1).astype(np.float32) for ring in rings])
    points = sum(len(ring) for outline in outlines for ring in outline)
    if points > MOST_POINTS:
        raise StructureError(
            f"the mask's borders have {points} points after simplifying them by {TOLERANCE} px; at "
            f"most {MOST_POINTS} can be drawn. Smooth the mask"
        )
    if not outlines:
        raise StructureError(
            f"nothing of the mask is left after simplifying its borders by {TOLERANCE} px; draw "
            "regions larger than single pixels"
        )
    return outlines


def inside(outlines: Sequence[Outline], shape: tuple[int, int]) -> _Raster:
    """(h, w) bool: the pixels of a raster over the image whose centres lie in an outline.

    Outlines may leave the image. Raises `StructureError` if a ring is no (N >= 3, 2) finite points.
    """
    height, width = shape
    result = np.zeros(shape, dtype=bool)
    for outline in outlines:
        rings = [_checked(ring, 3) * (width, height) for ring in outline]
        if not rings:
            continue
        # Only the window around it: a mask may have hundreds of small parts.
        corners = np.concatenate(rings)
        left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int)
        if left < right and top < bottom:
            window = (bottom - top, right - left)
            result[top:bottom, left:right] |= _odd([r - (left, top) for r in rings], window)
    return result


def near_lines(
    lines: Sequence[Points], shape: tuple[int, int], *, distance: float, size: tuple[float, float]
) -> _Raster:
    """(h, w) bool: the pixels of a raster whose centres are nearer than `distance` to a line.

    Lines are polylines of at least 2 points that may leave the image of `size` (width, height) px;
    the distance is in px of the image. Raises `StructureError` for points that are not (N, 2) and
    finite.
    """
    height, width = shape
    checked = [_checked(line, 2) for line in lines]
    if not checked or distance <= 0:
        return np.zeros(shape, dtype=bool)
    pieces = np.concatenate([np.stack([one[:-1], one[1:]], axis=1) * size for one in checked])
    step_x, step_y = size[0] / width, size[1] / height  # px of the image per pixel
    start, end = _downwards(pieces[:, 0], pieces[:, 1])
    reach = np.stack([start[:, 1] - distance, end[:, 1] + distance]) / step_y
    # Strictly nearer, in rows as in columns: a centre at exactly `distance` is not.
    piece, row = _rows(np.floor(reach[0] - 0.5) + 1, np.ceil(reach[1] - 0.5), height)
    (x1, y1), (dx, dy) = start[piece].T, (end - start)[piece].T
    y1 -= (row + 0.5) * step_y
    # Of all discs along a piece, the one that reaches farthest to a side is centred `lean` off the row.
    lean = distance * dx / np.maximum(np.hypot(dx, dy), np.finfo(float).tiny)
    sides = []
    for side in (-1, 1):
        off = np.clip(side * lean, y1, y1 + dy)
        level = np.asarray(side * dx > 0, dtype=np.float64)
        share = np.divide(off - y1, dy, out=level, where=dy > 0)
        sides.append(x1 + share * dx + side * np.sqrt(np.maximum(distance**2 - off**2, 0)))
    first, last = np.floor(sides[0] / step_x - 0.5) + 1, np.ceil(sides[1] / step_x - 0.5)
    first, last = (np.clip(column, 0, width).astype(np.int64) for column in (first, last))
    last = np.maximum(first, last)
    count = height * (width + 1)
    change = np.bincount(row * (width + 1) + first, minlength=count)
    change -= np.bincount(row * (width + 1) + last, minlength=count)
    return np.asarray(change.reshape(height, width + 1).cumsum(axis=1)[:, :width] > 0)


def _rings(mask: npt.NDArray[np.bool_]) -> list[_Floats]:
    """The borders (x, y) px of one connected part, without those that simplify to no area."""
    # scikit-image leaves both functions untyped.
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    simple = [approximate_polygon(contour, TOLERANCE) for contour in contours]  # type: ignore[no-untyped-call]
    # Minus the padding of 1, to pixel centres at 0.5; the last point repeats the first.
    return [ring[:-1, ::-1] - 0.5 for ring in simple if len(ring) > 3]


def _odd(rings: Sequence[_Floats], shape: tuple[int, int]) -> _Raster:
    """The pixels with an odd number of edges to their left; rings (x, y) in px of the raster."""
    height, width = shape
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    (x1, y1), (x2, y2) = (points.T for points in _downwards(start, end))
    # Rows whose centres lie in [y1, y2): a corner counts for one of its two edges.
    edge, row = _rows(np.ceil(y1 - 0.5), np.ceil(y2 - 0.5), height)
    x = x1[edge] + (row + 0.5 - y1[edge]) / (y2 - y1)[edge] * (x2 - x1)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    flips = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    return np.asarray(flips.reshape(height, width + 1)[:, :width].cumsum(axis=1) % 2 == 1)


def _downwards(start: _Floats, end: _Floats) -> tuple[_Floats, _Floats]:
    """The same edges (E, 2), each from its upper to its lower end."""
    is_down = (start[:, 1] <= end[:, 1])[:, None]
    return np.where(is_down, start, end), np.where(is_down, end, start)


def _rows(first: _Floats, last: _Floats, height: int) -> tuple[_Indices, _Indices]:
    """All pairs (number, row) with first[number] <= row < last[number], in a raster."""
    begin, end = (np.clip(edge, 0, height).astype(np.int64) for edge in (first, last))
    count = np.maximum(end - begin, 0)
    number = np.repeat(np.arange(len(count), dtype=np.int64), count)
    return number, np.arange(len(number)) - (np.cumsum(count) - count - begin)[number]


def _checked(points: npt.ArrayLike, least: int) -> _Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least or not np.isfinite(array).all():
        raise StructureError(
            f"points have shape {array.shape}; expected at least {least} finite points (x, y), "
            "relative to the image"
        )
    return array
