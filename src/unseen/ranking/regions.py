"""Unseen pixels -> regions: the outlines that guide the labeller (Ivanov et al. 2021, VI)."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from unseen.arrays.images import Pixels, as_float

#: Regions below this part of the highest weight in their image are not shown: most of them hit
#: nothing (`benchmarks/regions.py`); .3 and .4 also lose rare objects.
LEAST_WEIGHT = 0.2
#: Half side of the square that joins pixels, px: gaps of up to twice this are bridged.
CLOSING = 2


class Regions(NamedTuple):
    """Regions of one map, strongest first."""

    xyxy: npt.NDArray[np.float32]  #: (N, 4) px of the map; whole pixels, right and bottom exclusive
    score: npt.NDArray[np.float32]  #: (N,) in [0, 1]
    area: npt.NDArray[np.float32]  #: (N,) pixels above the threshold
    weight: npt.NDArray[np.float32]  #: (N,) >= 0; higher = more likely an object

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(N,) in [0, 1), weight / (1 + weight): what orders regions, of one image or of many."""
        return self.weight / (1 + self.weight)

    def taken(self, positions: npt.NDArray[np.intp]) -> Regions:
        """The regions at these positions, in their order."""
        return Regions(*(values[positions] for values in self))


def unseen_regions(
    score: npt.NDArray[np.floating[Any]],
    threshold: float,
    *,
    present: Pixels | None = None,
    min_area: int = 9,
) -> Regions:
    """Join the pixels with S > threshold to regions, the highest score first.

    A closing (half side `CLOSING`) joins pixels of one example that a weak pixel separates;
    regions are then the 8-connected components with at least `min_area` pixels above the threshold.
    The score of a region is the contraharmonic mean of S over its pixels, sum of S^2 / sum of S.
    Unlike the mean a wide faint rim does not dilute it, and unlike the maximum one pixel does not
    decide it. The weight is (mean of 1 - P(background))^2 x the root of the sum of S. `present` is
    the map of 1 - P(background) = S + P(foreground), by default S. Maps are (h, w) in [0, 1], or
    integers (`as_float`).
    """
    novel = above(score, threshold)
    # Only pixels above the threshold count for a region, not those that the closing added.
    pixels = np.flatnonzero(novel)
    count, of_pixel = 0, np.zeros(0, np.intp)
    if len(pixels):  # OpenCV crashes on a map without pixels
        count, labels = cv2.connectedComponents(_closed(novel), connectivity=8)
        count -= 1  # without the background
        of_pixel = labels.reshape(-1)[pixels].astype(np.intp)
    strength = score.reshape(-1)[pixels].astype(np.float64)

    def sums(values: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        return np.bincount(of_pixel, weights=values, minlength=count + 1)[1:]

    area, mass, power = sums(), sums(strength), sums(strength**2)
    total = mass if present is None else sums(as_float(present.reshape(-1)[pixels]))
    typical = np.divide(power, mass, out=np.zeros(count), where=mass > 0)
    boxes, first = _extents(pixels, score.shape[1], of_pixel, count)
    kept = np.flatnonzero(area >= min_area)
    order = kept[np.lexsort((first[kept], -typical[kept]))]
    weight = (total[order] / area[order]) ** 2 * np.sqrt(mass[order])
    return Regions(
        boxes[order].astype(np.float32),
        np.clip(typical[order], 0, 1).astype(np.float32),
        area[order].astype(np.float32),
        weight.astype(np.float32),
    )


def above(score: npt.NDArray[np.floating[Any]], threshold: float) -> npt.NDArray[np.bool_]:
    """Where scores (h, w) >= 0 are above a threshold >= 0."""
    limit = np.float32(threshold)
    if score.dtype != np.float16:
        return np.asarray(score > limit)
    # What is >= 0 has the order of its bits, which NumPy compares twenty times as fast.
    half = np.float16(limit)
    if half > limit:
        half = np.nextafter(half, np.float16(0))
    return np.asarray(score.view(np.int16) > half.view(np.int16))


def shown_regions(regions: Regions, most: int) -> Regions:
    """The few regions of an image that are worth an annotator's look, the heaviest first.

    By weight, because a large region where the network doubts the background is more likely an
    object than a small one of the same S. At most `most`, and none below LEAST_WEIGHT times the highest
    weight: what hits nothing costs the trust in the rest. A region inside one already taken adds
    nothing.
    """
    enough = LEAST_WEIGHT * regions.weight.max(initial=0)
    taken: list[int] = []
    for i in np.argsort(-regions.weight, kind="stable"):
        if len(taken) >= most or regions.weight[i] < enough:
            break
        if not any(_inside(regions.xyxy[i], regions.xyxy[k]) for k in taken):
            taken.append(int(i))
    return regions.taken(np.asarray(taken, dtype=np.intp))


def _inside(box: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> bool:
    return bool((box[:2] >= other[:2]).all() and (box[2:] <= other[2:]).all())


def region_strength(score: npt.ArrayLike, threshold: float) -> float:
    """The number of novel examples, faint ones counting in part: in [0, N], higher = label sooner.

    The sum over the regions' scores c (N,) of (c - t) / (1 - t): 0 at the threshold t, 1 where the
    typical pixel is certainly unseen. Area does not count, so that a small example weighs as much
    as a large one of the same strength (Ivanov et al. 2021, VI, future work).
    """
    values = np.asarray(score, dtype=np.float64).reshape(-1)
    if not len(values) or threshold >= 1:
        return 0.0
    return float((values - threshold).clip(0).sum() / (1 - threshold))


def _extents(
    pixels: npt.NDArray[np.intp], width: int, of_pixel: npt.NDArray[np.intp], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Of each region its box (left, top, right, bottom), and its first pixel from top left.

    Pixels are positions in a map of this width, ascending, each with its region.
    """
    rows, columns = np.divmod(pixels, width)
    boxes, first = np.zeros((count + 1, 4), np.intp), np.zeros(count + 1, np.intp)
    # Of several values that are assigned to one place, the last stays.
    boxes[of_pixel, 3], boxes[of_pixel[::-1], 1] = rows + 1, rows[::-1]
    first[of_pixel[::-1]] = pixels[::-1]
    across = np.argsort(columns, kind="stable")
    of_pixel, columns = of_pixel[across], columns[across]
    boxes[of_pixel, 2], boxes[of_pixel[::-1], 0] = columns + 1, columns[::-1]
    return boxes[1:], first[1:]


def _closed(novel: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    # Padding keeps the erosion from eating what touches the border.
    width, square = 2 * CLOSING, np.ones((2 * CLOSING + 1, 2 * CLOSING + 1), np.uint8)
    sides = (width, width, width, width)
    padded = cv2.copyMakeBorder(novel.view(np.uint8), *sides, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, square)
    return np.ascontiguousarray(closed[width:-width, width:-width])
