"""Search a pool for what a few examples show, by stored pretrained features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.progress import Progress, silent
from unseen.ranking.feature_evidence import sampled_patches
from unseen.ranking.features.compute import Features
from unseen.ranking.more_like_this import (
    WANTED,
    Likeness,
    SimilarRegion,
    learn_likeness,
    similar_regions,
)
from unseen.ranking.patch_classes import BACKGROUND, Labels, PatchSpace, patch_labels


@dataclass(frozen=True)
class Example:
    """An image with what is wanted of it, and what is not.

    Attributes:
        path: of the file.
        wanted: (N, 4) relative x, y, width, height.
        unwanted: (M, 4) likewise.
    """

    path: str
    wanted: list[list[float]]
    unwanted: list[list[float]]

    def labels(self, grid: tuple[int, int]) -> Labels:
        """(rows * columns,) what each patch shows."""
        boxes = np.asarray([*self.wanted, *self.unwanted], dtype=np.float64).reshape(-1, 4)
        xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        # In patches instead of px: where a box lies is all that counts.
        xyxy = xyxy * [grid[1], grid[0], grid[1], grid[0]]
        classes = [0] * len(self.wanted) + [1] * len(self.unwanted)
        return patch_labels(xyxy, classes, grid=grid, size=(grid[1], grid[0]))


@dataclass(frozen=True)
class Found:
    """The regions found.

    Attributes:
        places: position in the pool, and the region; the most alike first.
        confidences: of each.
        failures: path -> what was wrong, of images that cannot be read.
    """

    places: list[tuple[int, SimilarRegion]]
    confidences: list[float]
    failures: dict[str, str]


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
    """Find the regions of a pool that look like the wanted ones.

    Args:
        features: source and store; what is missing is computed.
        pool: files to search.
        examples: what is wanted.
        count: at most so many regions.
        max_per_image: at most so many of one image.
        seed: of the sample that the ordinary look is learned from.
        progress: told the images whose features are computed.

    Returns:
        What was found, or None where no wanted image, or none of the pool, can be read.

    Raises:
        StoreError: the store is damaged or cannot be written.
    """
    rng = np.random.default_rng([seed, 65])
    files = list(dict.fromkeys([*pool, *(e.path for e in examples)]))
    features.compute(files, progress=progress)
    failures = dict(features.failures)
    drawn = sampled_patches(features, pool, rng)
    if not len(drawn):
        return None
    whiten = PatchSpace.of(drawn)
    points, labels = [], []
    for index, found in features.patches([e.path for e in examples]):
        points.append(whiten(found))
        labels.append(examples[index].labels((found.shape[0], found.shape[1])))
    if not any((n == WANTED).any() for n in labels):
        return None
    likeness = learn_likeness(points, labels, whiten(drawn))
    places = _places(features, pool, examples, whiten, likeness, max_per_image)
    places = sorted(places, key=lambda place: -place[1].margin)[:count]
    return Found(places, [likeness.confidence(r.margin) for _, r in places], failures)


def _places(
    features: Features,
    pool: Sequence[str],
    examples: Sequence[Example],
    whiten: PatchSpace,
    likeness: Likeness,
    limit: int,
) -> list[tuple[int, SimilarRegion]]:
    """The regions of every image of the pool."""
    given = {example.path: example for example in examples}
    places = []
    for index, found in features.patches(pool):
        grid = (found.shape[0], found.shape[1])
        margins: npt.NDArray[np.float64] = likeness.margins(whiten(found)).reshape(grid)
        example = given.get(pool[index])
        is_given = None if example is None else example.labels(grid).reshape(grid) != BACKGROUND
        for region in similar_regions(margins, limit=limit, is_given=is_given):
            places.append((index, region))
    return places
