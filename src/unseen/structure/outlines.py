"""Outlines of a mask, and what lies inside of outlines or near to lines: exact at the pixels' centres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from unseen.errors import ShapeError, StructureError

#: (N, 2) float32 points (x, y), relative to the image's width and height: [0, 1] is the image.
Points = npt.NDArray[np.float32]
#: One closed shape: rings of at least 3 points each. A point is inside if an odd number of rings goes
#: around it, so that a ring within a ring is a hole. The last point is joined to the first.
Outline = list[Points]

#: How far a simplified border may run from the pixels' edges, px. From half a pixel on, a straight
#: side may move across the centres of its outermost pixels.
TOLERANCE = 0.4
#: An outline is stored with each image; a browser still draws so many points quickly.
MOST_POINTS = 2000


def mask_outlines(
    mask: npt.NDArray[np.bool_], *, tolerance: float = TOLERANCE, most_points: int = MOST_POINTS
) -> list[Outline]:
    """The outer borders of a mask and those of its holes, simplified.

    Args:
        mask: (H, W) bool.
        tolerance: how far a simplified border may run from the true one, px; >= 0. What is narrower
            than about twice that may vanish. 0 keeps every pixel.
        most_points: limit of the points of all outlines together.

    Returns:
        One outline per connected part (4 neighbours), the upper left one first.

    Raises:
        ShapeError: mask is not (H, W) bool, or has no pixels.
        StructureError: nothing or everything is in the mask, or its borders are too detailed.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ShapeError(f"the mask is {mask.shape} {mask.dtype}; expected (H, W) bool, H * W > 0")
    if not mask.any() or mask.all():
        what = "empty" if not mask.any() else "full"
        raise StructureError(
            f"the mask is {what}: {int(mask.sum())} of {mask.size} px are set; expected a mask with "
            "something inside and something outside of it"
        )
    size = np.asarray(mask.shape[::-1], dtype=np.float64)
    labels, _ = ndimage.label(mask)
    outlines, points = [], 0
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        corner = np.asarray([window[1].start, window[0].start])
        rings = _rings(labels[window] == number, tolerance)
        points += sum(len(ring) for ring in rings)
        if rings:
            outlines.append(
                [np.clip((ring + corner) / size, 0, 1).astype(np.float32) for ring in rings]
            )
    if points > most_points:
        raise StructureError(
            f"the mask's borders have {points} points after simplifying them by {tolerance} px; at most "
            f"{most_points} are drawn. Smooth the mask, or raise the tolerance"
        )
    if not outlines:
        raise StructureError(
            f"nothing of the mask is left after simplifying its borders by {tolerance} px; lower the "
            "tolerance, or remove single pixels from the mask"
        )
    return outlines


def inside(outlines: Sequence[Outline], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The pixels whose centres lie in at least one outline.

    Args:
        outlines: in relative coordinates; they may leave the image.
        height: of the raster that covers the image, px.
        width: of the raster, px.

    Returns:
        (height, width) bool.

    Raises:
        ShapeError: the raster has no pixels, or a ring is not (N >= 3, 2).
        StructureError: a coordinate is not finite.
    """
    _check_raster(height, width)
    found = np.zeros((height, width), dtype=bool)
    for outline in outlines:
        rings = [_checked(ring, 3) * (width, height) for ring in outline]
        if not rings:
            continue
        # Only the part of the raster around it: a mask may have hundreds of small parts.
        corners = np.concatenate(rings)
        left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, (width, height)).astype(int)
        if left < right and top < bottom:
            edges = [np.stack([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in rings]
            part = np.concatenate(edges) - (left, top)
            found[top:bottom, left:right] |= _odd(part, bottom - top, right - left)
    return found


def near_lines(
    lines: Sequence[Points],
    height: int,
    width: int,
    *,
    distance: float,
    size: tuple[float, float] | None = None,
) -> npt.NDArray[np.bool_]:
    """The pixels whose centres are nearer than `distance` to a line.

    What is near to a straight piece is the union of a rectangle and two discs: one interval per row
    of the raster, in closed form. That is exact, and much quicker than a distance for every pixel.

    Args:
        lines: polylines of at least 2 points, in relative coordinates; they may leave the image.
        height: of the raster that covers the image, px.
        width: of the raster, px.
        distance: px of the image; 0 is near to nothing.
        size: (width, height) of the image, px. Default: that of the raster.

    Returns:
        (height, width) bool.

    Raises:
        ShapeError: the raster has no pixels, or a line is not (N >= 2, 2).
        StructureError: a coordinate is not finite.
    """
    _check_raster(height, width)
    span = np.asarray(size if size is not None else (width, height), dtype=np.float64)
    pieces = [
        np.stack([line[:-1], line[1:]], axis=1) * span
        for line in (_checked(one, 2) for one in lines)
    ]
    if not pieces or distance <= 0:
        return np.zeros((height, width), dtype=bool)
    row, left, right = _intervals(np.concatenate(pieces), distance, height, float(span[1]))
    # Strictly between: a centre at exactly `distance` is not near.
    first = np.floor(left / span[0] * width - 0.5) + 1
    last = np.ceil(right / span[0] * width - 0.5)
    first, last = (np.clip(edge, 0, width).astype(np.int64) for edge in (first, last))
    real = last > first
    change = np.bincount(row[real] * (width + 1) + first[real], minlength=height * (width + 1))
    change -= np.bincount(row[real] * (width + 1) + last[real], minlength=height * (width + 1))
    return np.asarray(change.reshape(height, width + 1).cumsum(axis=1)[:, :width] > 0)


def _rings(mask: npt.NDArray[np.bool_], tolerance: float) -> list[npt.NDArray[np.float64]]:
    """The borders (x, y) px of one connected part; those that simplifying leaves without area drop out."""
    rings = []
    padded = np.pad(mask, 1).astype(np.float32)
    for contour in find_contours(padded, 0.5):  # type: ignore[no-untyped-call]
        simple = approximate_polygon(contour, tolerance)  # type: ignore[no-untyped-call]
        ring = simple[:-1, ::-1] - 0.5  # less the padding of 1, to centres at 0.5
        if len(ring) >= 3:
            rings.append(ring)
    return rings


def _checked(points: npt.ArrayLike, least: int) -> npt.NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least:
        raise ShapeError(f"points have shape {array.shape}; expected (N, 2) with N >= {least}")
    if not np.isfinite(array).all():
        raise StructureError("a point is not finite; expected relative coordinates, [0, 1] = image")
    return array


def _check_raster(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ShapeError(f"the raster is {height} x {width}; expected at least one pixel")


def _odd(edges: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Pixels with an odd number of edges (E, 2, 2) to their left, in px of the raster."""
    upper = np.where(edges[:, :1, 1:] <= edges[:, 1:, 1:], edges, edges[:, ::-1])  # by y
    (x1, y1), (x2, y2) = upper[:, 0].T, upper[:, 1].T
    # Rows whose centres lie in [y1, y2): a corner then counts for one of its two edges.
    first = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(y2 - 0.5), 0, height).astype(np.int64)
    edge, row = _rows(first, last)
    share = (row + 0.5 - y1[edge]) / (y2 - y1)[edge]
    x = x1[edge] + share * (x2 - x1)[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    flips = np.bincount(row * (width + 1) + column, minlength=height * (width + 1))
    count = flips.reshape(height, width + 1)[:, :width].cumsum(axis=1)
    return np.asarray(count % 2 == 1)


def _rows(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All pairs (number, row) with first[number] <= row < last[number]."""
    count = np.maximum(last - first, 0)
    number = np.repeat(np.arange(len(first)), count)
    start = np.repeat(np.cumsum(count) - count, count)
    return number, np.arange(len(number)) - start + first[number]


def _intervals(
    pieces: npt.NDArray[np.float64], distance: float, height: int, image_height: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Per piece (S, 2, 2) and row of the raster: row, left and right end of what is near, in px of the image."""
    step = image_height / height
    low, high = pieces[:, :, 1].min(axis=1) - distance, pieces[:, :, 1].max(axis=1) + distance
    first = np.clip(np.floor(low / step - 0.5) + 1, 0, height).astype(np.int64)
    last = np.clip(np.ceil(high / step - 0.5), 0, height).astype(np.int64)
    number, row = _rows(first, last)
    y = (row + 0.5) * step
    (x1, y1), (x2, y2) = pieces[number, 0].T, pieces[number, 1].T
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for x, dy in ((x1, y - y1), (x2, y - y2)):  # the discs around both ends
        half = np.sqrt(np.maximum(distance**2 - dy**2, 0))
        meets = np.abs(dy) < distance
        left = np.where(meets, np.minimum(left, x - half), left)
        right = np.where(meets, np.maximum(right, x + half), right)
    # The rectangle's four sides: those along the piece, moved by `distance`, and the two ends.
    dx, dy = x2 - x1, y2 - y1
    length = np.hypot(dx, dy)
    nx, ny = (
        np.divide(part, length, out=np.zeros_like(length), where=length > 0) * distance
        for part in (-dy, dx)
    )
    corners = [(x1 + nx, y1 + ny), (x2 + nx, y2 + ny), (x2 - nx, y2 - ny), (x1 - nx, y1 - ny)]
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        rise = by - ay
        crosses = (np.minimum(ay, by) <= y) & (y <= np.maximum(ay, by)) & (rise != 0)
        share = np.divide(y - ay, rise, out=np.zeros_like(y), where=crosses)
        x = ax + share * (bx - ax)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    return row, left, right
