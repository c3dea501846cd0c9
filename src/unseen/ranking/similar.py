"""Search a pool for regions that look like a few examples, by stored pretrained features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.progress import Progress, silent
from unseen.ranking.feature_evidence import sampled_patches
from unseen.ranking.feature_space import Floats
from unseen.ranking.features.compute import Features
from unseen.ranking.patch_classes import (
    BACKGROUND,
    Labels,
    PatchClasses,
    PatchSpace,
    learn_patch_classes,
    patch_labels,
)

#: Labels of patches besides those of `patch_labels`.
WANTED, UNWANTED = 1, 2
#: This share of the ordinary patches is rejected. A few examples say too little about the border:
#: halfway between the means, most of what is wanted would be lost.
ORDINARY = 0.95
#: A region is the patches around a peak that reach this part of its margin.
HEIGHT = 0.5


@dataclass(frozen=True)
class Example:
    """An image with what is wanted of it and what is not; boxes are relative x, y, width, height."""

    path: str
    wanted: list[list[float]]  #: (N, 4)
    unwanted: list[list[float]]  #: (M, 4)

    def labels(self, grid: tuple[int, int]) -> Labels:
        """(rows * columns,) what each patch shows."""
        boxes = np.asarray([*self.wanted, *self.unwanted], dtype=np.float64).reshape(-1, 4)
        xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        size = (grid[1], grid[0])  # in patches instead of px
        classes = [0] * len(self.wanted) + [1] * len(self.unwanted)
        return patch_labels(xyxy * [*size, *size], classes, grid=grid, size=size)


class SimilarRegion(NamedTuple):
    """A part of an image that looks like the examples."""

    xywh: tuple[float, float, float, float]  #: relative to the image
    margin: float  #: > 0, of its best patch; higher = more alike


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    places: list[tuple[int, SimilarRegion]]  #: position in the pool and region, most alike first
    confidences: list[float]  #: of each
    failures: dict[str, str]  #: path -> what was wrong, of unreadable images


class Likeness(NamedTuple):
    """What was learned from the examples."""

    classes: PatchClasses
    usual: float  #: mean margin of the wanted patches themselves, > 0
    border: float  #: <= 0, the discriminants' margin above which patches are taken

    def margins(self, whitened: Floats) -> Floats:
        """(P,) how much more a patch looks wanted than ordinary or unwanted; above 0: it does."""
        return self.classes.margins(whitened, WANTED) - self.border

    def confidence(self, margin: float) -> float:
        """Margin / (margin + usual) in (0, 1): .5 is as alike as the examples are on average."""
        return margin / (margin + self.usual)


def search(
    features: Features,
    pool: Sequence[str],
    examples: Sequence[Example],
    *,
    count: int,
    max_per_image: int,
    seed: int,
    progress: Progress = silent,
) -> Found | None:
    """Find at most `count` regions of a pool of files that look like the wanted ones.

    Missing features are computed, which progress counts. The seed is of the sample that ordinary
    patches are learned from. None if no wanted image, or none of the pool, is readable. Raises
    `StoreError` if the store is damaged or cannot be written.
    """
    rng = np.random.default_rng([seed, 65])
    files = list(dict.fromkeys([*pool, *(e.path for e in examples)]))
    features.compute(files, progress=progress)
    failures = dict(features.failures)
    ordinary = sampled_patches(features, pool, rng)
    if not len(ordinary):
        return None
    whiten = PatchSpace.of(ordinary)
    points, labels = [], []
    for index, raw in features.patches([e.path for e in examples]):
        points.append(whiten(raw))
        labels.append(examples[index].labels((raw.shape[0], raw.shape[1])))
    if not any((n == WANTED).any() for n in labels):
        return None
    likeness = learn_likeness(points, labels, whiten(ordinary))
    by_path = {example.path: example for example in examples}
    places = []
    for index, raw in features.patches(pool):
        grid = (raw.shape[0], raw.shape[1])
        margins: Floats = likeness.margins(whiten(raw)).reshape(grid)
        example = by_path.get(pool[index])
        is_given = None if example is None else example.labels(grid).reshape(grid) != BACKGROUND
        regions = similar_regions(margins, limit=max_per_image, is_given=is_given)
        places += [(index, region) for region in regions]
    places = sorted(places, key=lambda place: -place[1].margin)[:count]
    return Found(places, [likeness.confidence(r.margin) for _, r in places], failures)


def learn_likeness(
    examples: Sequence[Floats], labels: Sequence[Labels], ordinary: Floats
) -> Likeness:
    """Learn what is wanted from whitened patches.

    Each example has patches (P, d) and labels (P,): `BACKGROUND`, `WANTED` or `UNWANTED`. Ordinary
    patches of the pool (M, d) count as background.
    """
    classes = learn_patch_classes(
        [*examples, ordinary], [*labels, np.full(len(ordinary), BACKGROUND, dtype=np.int64)]
    )
    wanted = np.concatenate([p[n == WANTED] for p, n in zip(examples, labels, strict=True)])
    border = min(0.0, float(np.quantile(classes.margins(ordinary, WANTED), ORDINARY)))
    usual = float(classes.margins(wanted, WANTED).mean()) - border
    return Likeness(classes, max(usual, 1e-6), border)


def similar_regions(
    margins: Floats, *, limit: int, is_given: npt.NDArray[np.bool_] | None = None
) -> list[SimilarRegion]:
    """At most `limit` regions of one image that look like the examples, the most alike first.

    Each local maximum above 0 of the margins (rows, columns) that is not part of a stronger region
    makes one: it and the 8-connected patches that reach `HEIGHT` of its margin. `is_given` marks
    patches of the examples themselves, which are not found again.
    """
    if not margins.size:
        return []
    free = np.ones(margins.shape, dtype=bool) if is_given is None else ~is_given
    seen = np.where(free, margins, -np.inf)
    is_peak = (seen > 0) & (seen == ndimage.maximum_filter(seen, size=3, mode="nearest"))
    peaks = np.argwhere(is_peak)
    rows, columns = margins.shape
    regions: list[SimilarRegion] = []
    for row, column in peaks[np.argsort(-seen[is_peak], kind="stable")]:
        if len(regions) == limit:
            break
        if not free[row, column]:
            continue
        peak = float(seen[row, column])
        parts, _ = ndimage.label(free & (seen >= HEIGHT * peak), structure=np.ones((3, 3), bool))
        part = parts == parts[row, column]
        free &= ~part
        down, across = np.nonzero(part)
        top, left = int(down.min()), int(across.min())
        height, width = int(down.max()) + 1 - top, int(across.max()) + 1 - left
        xywh = (left / columns, top / rows, width / columns, height / rows)
        regions.append(SimilarRegion(xywh, peak))
    return regions
