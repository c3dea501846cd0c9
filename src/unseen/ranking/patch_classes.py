"""Which patches of an image look like a labelled class, learned from a few examples.

Linear discriminants (Fisher 1936) of whitened patch features: a mean per class and for the
background, and one covariance for all. A handful of boxes supports nothing larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.ranking.feature_space import Floats

Labels = npt.NDArray[np.int64]

#: Dimensions of a patch after whitening.
DIMENSIONS = 64
#: Shrinkage of the covariance towards a sphere of the same mean variance.
SHRINKAGE = 1.0
#: The best share of its patches decides about an image.
BEST_SHARE = 0.05
#: Labels of patches; an ignored one lies between background and a box.
IGNORED = -1
BACKGROUND = 0


@dataclass(frozen=True)
class PatchSpace:
    """Whitening of patch features, learned from patches of the pool."""

    mean: Floats  #: (D,)
    axes: Floats  #: (D, d)

    @classmethod
    def of(cls, patches: npt.ArrayLike) -> PatchSpace:
        """Learn it from a few thousand patches (M, D), drawn evenly from many images."""
        values = np.asarray(patches, dtype=np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        covariance = centred.T @ centred / len(values)
        width = np.maximum(np.sqrt(covariance.diagonal()), 1e-6)
        variance, axes = np.linalg.eigh(covariance / np.outer(width, width))
        kept = np.argsort(-variance)[:DIMENSIONS]
        axes = axes[:, kept] / (np.sqrt(np.maximum(variance[kept], 0)) + 1e-3)
        return cls(mean, axes / width[:, None])

    def __call__(self, patches: npt.ArrayLike) -> Floats:
        """(..., D) -> (P, d) with P the number of patches."""
        values = np.asarray(patches, dtype=np.float64)
        return np.asarray((values.reshape(-1, values.shape[-1]) - self.mean) @ self.axes)


@dataclass(frozen=True)
class PatchClasses:
    """Linear discriminants; `labels[j]` is the class of row j (0: background, k + 1: class k)."""

    labels: Labels  #: (J,)
    weights: Floats  #: (J, d)
    offsets: Floats  #: (J,)

    def knows(self, label: int) -> bool:
        """Whether there was a patch with this label and one with another."""
        return label in self.labels and len(self.labels) > 1

    def margins(self, whitened: Floats, label: int) -> Floats:
        """(P,) how much more a patch looks like `label` than like any other; above 0: it does."""
        scores = whitened @ self.weights.T + self.offsets
        own = self.labels == label
        return np.asarray(scores[:, own][:, 0] - scores[:, ~own].max(axis=1))

    def evidence(self, whitened: Floats, label: int) -> float:
        """The mean margin of the best patches of one image."""
        margins = np.sort(self.margins(whitened, label))
        return float(margins[-max(1, round(BEST_SHARE * len(margins))) :].mean())


def learn_patch_classes(images: Sequence[Floats], labels: Sequence[Labels]) -> PatchClasses:
    """Learn discriminants from the whitened patches (P, d) of images and their labels (P,)."""
    points = np.concatenate(list(images)) if images else np.zeros((0, 1))
    names = np.concatenate(list(labels)) if labels else np.zeros(0, np.int64)
    known = np.unique(names[names != IGNORED])
    if not len(known):
        none = np.zeros((0, points.shape[1]))
        return PatchClasses(known, none, np.zeros(0))
    means = np.stack([points[names == k].mean(axis=0) for k in known])
    within = np.concatenate([points[names == k] - m for k, m in zip(known, means, strict=True)])
    size = points.shape[1]
    covariance = within.T @ within / max(1, len(within) - len(known))
    round_cloud = max(float(np.trace(covariance)) / size, 1e-9)
    weights = np.linalg.solve(covariance + SHRINKAGE * round_cloud * np.eye(size), means.T).T
    return PatchClasses(known, weights, -0.5 * (weights * means).sum(axis=1))


def patch_labels(
    xyxy: npt.ArrayLike,
    classes: npt.ArrayLike,
    *,
    grid: tuple[int, int],
    size: tuple[int, int],
    scope: npt.ArrayLike | None = None,
) -> Labels:
    """What each patch of an image shows: (rows * columns,) `IGNORED`, `BACKGROUND`, or class + 1.

    A patch belongs to the box that its centre lies in, of several to the smallest; a box that
    contains no centre takes the patch with its own centre. Patches around a box are ignored, and so
    are those outside the labelled scope (M, 4), by default the whole image. Boxes are (N, 4) in px,
    classes (N,) count from 0, and size is (width, height) in px.
    """
    boxes = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
    names = np.asarray(classes, dtype=np.int64).reshape(-1)
    rows, columns = grid
    step_x, step_y = size[0] / columns, size[1] / rows
    x, y = (np.arange(columns) + 0.5) * step_x, (np.arange(rows) + 0.5) * step_y

    def inside(box: npt.NDArray[np.float64], margin: float = 0.0) -> npt.NDArray[np.bool_]:
        left, top, right, bottom = box
        across = (x > left - margin * step_x) & (x < right + margin * step_x)
        down = (y > top - margin * step_y) & (y < bottom + margin * step_y)
        return np.asarray(down[:, None] & across[None])

    shown = np.full((rows, columns), BACKGROUND, dtype=np.int64)
    for box in boxes:
        shown[inside(box, margin=1.0)] = IGNORED
    if scope is not None:
        is_labelled = np.zeros((rows, columns), dtype=bool)
        for part in np.asarray(scope, dtype=np.float64).reshape(-1, 4):
            is_labelled |= inside(part)
        shown[~is_labelled] = IGNORED
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-area, kind="stable"):
        place = inside(boxes[index])
        if not place.any():
            row = int(boxes[index, [1, 3]].mean() / step_y)
            column = int(boxes[index, [0, 2]].mean() / step_x)
            place[min(rows - 1, max(0, row)), min(columns - 1, max(0, column))] = True
        shown[place] = names[index] + 1
    return shown.ravel()
