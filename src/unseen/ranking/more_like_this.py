"""Where an image shows what a few examples show: regions of patches that look like them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.errors import ShapeError
from unseen.ranking.patch_classes import (
    BACKGROUND,
    Floats,
    Labels,
    PatchClasses,
    learn_patch_classes,
)

#: Labels of patches besides those of `patch_labels`.
WANTED, UNWANTED = 1, 2
#: So many of the ordinary patches look as if they were not wanted. A few examples say too little about
#: where the border is: halfway to them, most of what is wanted would be lost.
ORDINARY = 0.95
#: A region is the patches around a peak that reach this part of its margin.
HEIGHT = 0.5


class SimilarRegion(NamedTuple):
    """A part of an image that looks like the examples."""

    xywh: tuple[float, float, float, float]  #: relative to the image
    margin: float  #: > 0, of its best patch; higher = more alike


class Likeness(NamedTuple):
    """What was learned from the examples."""

    classes: PatchClasses
    usual: float  #: mean margin of the wanted patches themselves, > 0
    border: float  #: <= 0, margin of the discriminants above which patches are taken

    def margins(self, whitened: Floats) -> Floats:
        """(P,) how much more a patch looks wanted than ordinary or unwanted; above 0: it does."""
        return self.classes.margins(whitened, WANTED) - self.border

    def confidence(self, margin: float) -> float:
        """(0, 1), margin / (margin + usual): .5 is as like as the examples are on average."""
        return margin / (margin + self.usual)


def learn_likeness(
    examples: Sequence[Floats], labels: Sequence[Labels], ordinary: Floats
) -> Likeness:
    """Learn from examples what is wanted.

    Args:
        examples: per image (P, d) whitened patches.
        labels: per image (P,) as `patch_labels` gives them: 0 background, 1 wanted, 2 unwanted.
        ordinary: (M, d) whitened patches of the pool, which count as background.

    Raises:
        ShapeError: no patch is wanted, or none is ordinary.
    """
    if not len(ordinary):
        raise ShapeError("there are no ordinary patches; expected (M, d) with M > 0")
    classes = learn_patch_classes(
        [*examples, ordinary], [*labels, np.full(len(ordinary), BACKGROUND, dtype=np.int64)]
    )
    if not classes.knows(WANTED):
        raise ShapeError(
            f"of {sum(map(len, labels))} patches of examples and {len(ordinary)} ordinary ones none is "
            "wanted, or all are; expected some of each"
        )
    wanted = np.concatenate([p[n == WANTED] for p, n in zip(examples, labels, strict=True)])
    border = min(0.0, float(np.quantile(classes.margins(ordinary, WANTED), ORDINARY)))
    usual = float(classes.margins(wanted, WANTED).mean()) - border
    return Likeness(classes, max(usual, 1e-6), border)


def similar_regions(
    margins: Floats, *, limit: int, is_given: npt.NDArray[np.bool_] | None = None
) -> list[SimilarRegion]:
    """The regions of one image that look like the examples, the most alike first.

    Each local maximum above 0 that no stronger region holds makes one: it and the patches joined to
    it that reach `HEIGHT` of its margin.

    Args:
        margins: (rows, columns) of `Likeness.margins`.
        limit: at most so many.
        is_given: (rows, columns) patches of the examples, which are not found again; None: there
            are none.

    Raises:
        ShapeError: margins are not (rows, columns), or `is_given` has another shape.
    """
    if margins.ndim != 2 or (is_given is not None and is_given.shape != margins.shape):
        raise ShapeError(
            f"margins have shape {margins.shape}, is_given "
            f"{None if is_given is None else is_given.shape}; expected (rows, columns) for both"
        )
    if not margins.size:
        return []
    free = np.ones(margins.shape, dtype=bool) if is_given is None else ~is_given
    seen = np.where(free, margins, -np.inf)
    is_peak = (seen > 0) & (seen == ndimage.maximum_filter(seen, size=3, mode="nearest"))
    rows, columns = margins.shape
    found: list[SimilarRegion] = []
    for place in np.argsort(-seen, axis=None, kind="stable"):
        row, column = divmod(int(place), columns)
        if len(found) == limit or seen[row, column] <= 0:
            break
        if not (is_peak[row, column] and free[row, column]):
            continue
        peak = float(seen[row, column])
        parts, _ = ndimage.label(free & (seen >= HEIGHT * peak), structure=np.ones((3, 3), bool))
        part = parts == parts[row, column]
        free &= ~part
        down, across = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        top, left = down[0], across[0]
        height, width = down[-1] + 1 - top, across[-1] + 1 - left
        box = np.asarray([left / columns, top / rows, width / columns, height / rows]).tolist()
        found.append(SimilarRegion((box[0], box[1], box[2], box[3]), peak))
    return found
