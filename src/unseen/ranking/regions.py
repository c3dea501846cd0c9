"""Unseen pixels -> regions: the outlines that guide the labeller (Ivanov et al. 2021, VI)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.errors import ShapeError

#: A region is shown where its weight is at least this part of the strongest one's in its image. Below
#: it most regions hit nothing (`benchmarks/regions.py`); .3 and .4 also lose rare objects.
LEAST_WEIGHT = 0.2


class Regions(NamedTuple):
    """Regions of one map, strongest first."""

    xyxy: npt.NDArray[np.float32]  #: (N, 4) px of the map; whole pixels, right and bottom exclusive
    score: npt.NDArray[np.float32]  #: (N,) in [0, 1]
    area: npt.NDArray[np.float32]  #: (N,) pixels above the threshold
    weight: npt.NDArray[np.float32]  #: (N,) >= 0; higher = rather something to see

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(N,) in [0, 1), weight / (1 + weight): what orders regions, of one image or of many."""
        return self.weight / (1 + self.weight)

    def taken(self, positions: npt.NDArray[np.intp]) -> Regions:
        """Some of the regions, in the order of the positions."""
        return Regions(*(values[positions] for values in self))


def unseen_regions(
    score: npt.NDArray[np.float32],
    threshold: float,
    *,
    present: npt.NDArray[np.float32] | None = None,
    min_area: int = 9,
    closing: int = 2,
) -> Regions:
    """Join the pixels above a threshold to regions.

    A closing joins pixels of one example that a weak pixel separates; regions then are the
    8-connected components. A region's score is the contraharmonic mean of S over its pixels, sum of
    S^2 / sum of S: the S of a typical unit of novelty. Unlike the plain mean it is not diluted by a
    wide faint rim, and unlike the maximum one pixel does not decide. Its weight is
    (mean of 1 - P(background))^2 x the root of the sum of S.

    Args:
        score: (h, w) float32 in [0, 1].
        threshold: pixels with S > threshold count.
        present: (h, w) float32 in [0, 1], S + P(foreground): the probability that a pixel is
            anything but background. Default: S, as if nothing were known.
        min_area: regions with fewer pixels above the threshold are dropped, px.
        closing: half side of the closing's square, px; gaps of up to twice this are bridged.

    Returns:
        All regions, by score.

    Raises:
        ShapeError: the score is not (h, w), or `present` has another shape.
    """
    if score.ndim != 2:
        raise ShapeError(f"the score has shape {score.shape}; expected (h, w)")
    if present is not None and present.shape != score.shape:
        raise ShapeError(f"present has shape {present.shape}, the score {score.shape}")
    novel = score > threshold
    if not novel.any():
        return _no_regions()
    labels, count = ndimage.label(_closed(novel, closing), structure=np.ones((3, 3), dtype=bool))
    # Only pixels above the threshold speak for a region, not those the closing added.
    of_pixel = labels[novel]
    strength = score[novel].astype(np.float64)
    there = strength if present is None else present[novel]
    area = np.bincount(of_pixel, minlength=count + 1)[1:]
    mass = np.bincount(of_pixel, weights=strength, minlength=count + 1)[1:]
    power = np.bincount(of_pixel, weights=strength**2, minlength=count + 1)[1:]
    total = np.bincount(of_pixel, weights=there, minlength=count + 1)[1:]
    typical = np.divide(power, mass, out=np.zeros(count), where=mass > 0)
    kept = np.flatnonzero(area >= min_area)
    if not kept.size:
        return _no_regions()
    order = kept[np.lexsort((kept, -typical[kept]))]
    slices = ndimage.find_objects(np.where(novel, labels, 0))
    boxes = [(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in (slices[i] for i in order)]
    weight = (total[order] / area[order]) ** 2 * np.sqrt(mass[order])
    return Regions(
        np.asarray(boxes, dtype=np.float32),
        np.clip(typical[order], 0, 1).astype(np.float32),
        area[order].astype(np.float32),
        weight.astype(np.float32),
    )


def shown_regions(regions: Regions, most: int, *, least: float = LEAST_WEIGHT) -> Regions:
    """The few regions of an image that are worth an annotator's look, the heaviest first.

    By weight, because a region where the network doubts the background and which is large is rather
    an object than a small one of the same S. Fewer than `most` where the others are weak: what hits
    nothing costs the trust in the rest. What lies inside a region already taken says nothing more.

    Args:
        regions: of one image.
        most: at most so many.
        least: regions with less than this part of the highest weight are left out, in [0, 1].
    """
    enough = least * regions.weight.max(initial=0)
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
    """How many novel examples there are, strong ones counting in full and faint ones in part.

    The sum over the regions of (c - t) / (1 - t), with c the region's score: 0 at the threshold, 1
    where the typical pixel is certainly unseen. The area of a region is not in it, so that a small
    example counts as much as a large one of the same strength (Ivanov et al. 2021, VI, future work).

    Args:
        score: (N,) in [0, 1], of all regions of an image (`unseen_regions`).
        threshold: t, above which pixels form regions, in [0, 1].

    Returns:
        In [0, N]; higher = label sooner.
    """
    values = np.asarray(score, dtype=np.float64).reshape(-1)
    if not len(values) or threshold >= 1:
        return 0.0
    return float((values - threshold).clip(0).sum() / (1 - threshold))


def _closed(novel: npt.NDArray[np.bool_], closing: int) -> npt.NDArray[np.bool_]:
    if closing <= 0:
        return novel
    # Padding keeps the erosion from eating what touches the border. Shifted copies along one axis
    # after the other: eight times as quick as scipy's filters for a square this small.
    size = 2 * closing + 1
    padded = np.pad(novel, 2 * closing)
    for operation in (np.logical_or, np.logical_and):
        for axis in (0, 1):
            shifts = np.lib.stride_tricks.sliding_window_view(padded, size, axis=axis)
            padded = operation.reduce([shifts[..., k] for k in range(size)])
    return np.asarray(padded | novel)


def _no_regions() -> Regions:
    none = np.zeros(0, dtype=np.float32)
    return Regions(np.zeros((0, 4), dtype=np.float32), none, none, none)
