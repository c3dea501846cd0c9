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
    result = np.zeros(shape, dtype=bool)
    checked = [_checked(line, 2) for line in lines]
    if not checked or distance <= 0:
        return result
    step = np.asarray(size, dtype=np.float64) / (width, height)  # px of the image per pixel
    pieces = np.concatenate([np.stack([one[:-1], one[1:]], axis=1) * size for one in checked])
    reach = np.stack([pieces.min(axis=1) - distance, pieces.max(axis=1) + distance], axis=1)
    windows = np.clip(np.round(reach / step), 0, (width, height)).astype(int)
    xs, ys = (np.arange(width) + 0.5) * step[0], (np.arange(height)[:, None] + 0.5) * step[1]
    for ((x1, y1), (x2, y2)), ((left, top), (right, bottom)) in zip(pieces, windows, strict=True):
        x, y, dx, dy = xs[left:right] - x1, ys[top:bottom] - y1, x2 - x1, y2 - y1
        length = dx**2 + dy**2
        share = np.maximum(np.minimum((x * dx + y * dy) / (length or 1.0), 1), 0)
        away = (x - share * dx) ** 2 + (y - share * dy) ** 2
        result[top:bottom, left:right] |= away < distance**2
    return result


def _rings(mask: npt.NDArray[np.bool_]) -> list[_Floats]:
    """The borders (x, y) px of one connected part, without those that simplify to no area."""
    contours = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)  # type: ignore[no-untyped-call]
    simple = [approximate_polygon(contour, TOLERANCE) for contour in contours]  # type: ignore[no-untyped-call]
    # Minus the padding of 1, to pixel centres at 0.5; the last point repeats the first.
    return [ring[:-1, ::-1] - 0.5 for ring in simple if len(ring) > 3]


def _odd(rings: Sequence[_Floats], shape: tuple[int, int]) -> _Raster:
    """The pixels with an odd number of edges to their left; rings (x, y) in px of the raster."""
    height, width = shape
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    is_down = (start[:, 1] <= end[:, 1])[:, None]
    (x1, y1), (x2, y2) = np.where(is_down, start, end).T, np.where(is_down, end, start).T
    # Rows whose centres lie in [y1, y2): a corner counts for one of its two edges.
    first, last = np.clip(np.ceil(np.stack([y1, y2]) - 0.5), 0, height).astype(np.int64)
    edge = np.repeat(np.arange(len(start)), last - first)
    row = np.arange(len(edge)) - (np.cumsum(last - first) - last)[edge]
    x = x1[edge] + (row + 0.5 - y1[edge]) / (y2 - y1)[edge] * (x2 - x1)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    flips = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    return np.asarray(flips.reshape(height, width + 1)[:, :width].cumsum(axis=1) % 2 == 1)


def _checked(points: npt.ArrayLike, least: int) -> _Floats:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least or not np.isfinite(array).all():
        raise StructureError(
            f"points have shape {array.shape}; expected at least {least} finite points (x, y), "
            "relative to the image"
        )
    return array
