"""What a criterion may look at, and what it gives back.

A criterion is a function `(Candidates, count) -> positions`, best first: at most `count`, none twice,
fewer where it has nothing to say. It looks at plain arrays, decides ties by position, and draws at
random only from `seed`. `CRITERIA` in `unseen.ranking.mixed` lists those that share a batch; a new one
is a file here and a line there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError
from unseen.ranking.criteria.feature_space import widest_directions
from unseen.ranking.selection import Indices

Floats = npt.NDArray[np.float64]

#: Principal components that tell groups of images apart.
GROUP_DIMENSIONS = 8


@dataclass(frozen=True)
class Candidates:
    """The pool, and what is known around it. Row i is image i of the pool.

    Attributes:
        metric: (N,) image metric from the unseen score, >= 0; NaN where never scored.
        space: (N, D) whole-image features on a common scale (`feature_space`); NaN rows where the
            image could not be read.
        known: (L, D) the same of the images that are labelled, or out for labelling.
        evidence: (N, K) how much of an image looks like class k rather than anything else that is
            labelled (`patch_classes`), for the classes in `wanted`; NaN where unknown.
        wanted: (K,) >= 0, how much more of each class is wanted; 0: none.
        embed: positions -> (M, E) features of the unseen pixels of these images.
        seed: of whatever is random.
    """

    metric: Floats
    space: Floats
    known: Floats
    evidence: Floats
    wanted: Floats
    embed: Callable[[Indices], npt.ArrayLike]
    seed: int = 0

    def __post_init__(self) -> None:
        count = len(self.metric)
        fits = (
            self.metric.ndim == 1
            and self.space.ndim == self.known.ndim == self.evidence.ndim == 2
            and len(self.space) == len(self.evidence) == count
            and self.space.shape[1] == self.known.shape[1]
            and self.evidence.shape[1] == len(self.wanted)
        )
        if not fits:
            raise ShapeError(
                f"metric {self.metric.shape}, space {self.space.shape}, known {self.known.shape}, "
                f"evidence {self.evidence.shape}, wanted {self.wanted.shape}; expected (N,), (N, D), "
                "(L, D), (N, K) and (K,)"
            )

    def __len__(self) -> int:
        return len(self.metric)

    def after(self, chosen: Indices) -> tuple[Candidates, Indices]:
        """The pool without images that are chosen already, which count as known from now on.

        Returns:
            What is left, and (M,) int64: the position in this pool of each image in it.
        """
        left = np.setdiff1d(np.arange(len(self)), chosen).astype(np.int64)
        rest = replace(
            self,
            metric=self.metric[left],
            space=self.space[left],
            known=np.concatenate([self.known, self.space[chosen]]),
            evidence=self.evidence[left],
            embed=lambda positions: self.embed(left[positions]),
        )
        return rest, left

    @cached_property
    def described(self) -> Indices:
        """Positions of the images that have features."""
        return np.flatnonzero(~np.isnan(self.space).any(axis=1)).astype(np.int64)

    @cached_property
    def groups_space(self) -> tuple[Floats, Floats]:
        """(N, d) and (L, d): the widest directions of `space`, each with standard deviation 1.

        Fine differences between images of one kind take up most of the features; in a few wide
        directions, weighed alike, what differs is the kind.
        """
        rows = np.concatenate([self.space[self.described], self.known])
        rows = rows[~np.isnan(rows).any(axis=1)]
        mean, axes = widest_directions(rows, GROUP_DIMENSIONS)
        return (self.space - mean) @ axes, (self.known - mean) @ axes


class Criterion(Protocol):
    """Ranks the pool by one idea of what is worth a label."""

    def __call__(self, pool: Candidates, count: int, /) -> Indices:
        """At most `count` positions, best first."""


def farthest_first(points: Floats, known: Floats, count: int) -> list[int]:
    """Again and again the point farthest from all that is known or taken (greedy k-center).

    Sener and Savarese, *Active Learning for Convolutional Neural Networks: A Core-Set Approach*, 2018.

    Args:
        points: (N, D), no NaN.
        known: (L, D); rows with NaN are left out. Without any, the first is the point nearest to the
            middle.
        count: points wanted, at most N are there.

    Returns:
        Positions in the order taken; ties to the earlier one.
    """
    known = known[~np.isnan(known).any(axis=1)]
    if not len(points):
        return []
    if len(known):
        # Row by row of what is known: there are few, and N x L x D need not be in memory.
        distance = np.full(len(points), np.inf)
        for row in known:
            distance = np.minimum(distance, _squared(points, row))
    else:
        distance = -_squared(points, points.mean(axis=0))
    taken: list[int] = []
    is_left = np.ones(len(points), dtype=bool)
    for number in range(min(count, len(points))):
        best = int(np.argmax(np.where(is_left, distance, -np.inf)))
        taken.append(best)
        is_left[best] = False
        to_best = _squared(points, points[best])
        distance = to_best if not len(known) and number == 0 else np.minimum(distance, to_best)
    return taken


def _squared(points: Floats, to: Floats) -> Floats:
    return np.asarray(((points - to) ** 2).sum(axis=1))
