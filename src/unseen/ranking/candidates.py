"""What a criterion of a mixed batch looks at, and what it declares.

A new criterion is one module in `unseen.ranking.criteria` that declares
`CRITERION = Criterion(...)`; `unseen.ranking.mixed` finds it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from unseen.ranking.feature_space import Floats, widest_directions, without_gaps
from unseen.ranking.selection import Indices

#: Principal components that tell clusters of images apart.
CLUSTER_DIMENSIONS = 8


@dataclass(frozen=True)
class Candidates:
    """The pool and what is known around it. Row i is image i of the pool, NaN where unknown."""

    metric: Floats  #: (N,) image metric >= 0
    space: Floats  #: (N, D) image features (`feature_space`)
    known: Floats  #: (L, D) the same of the images that are labelled or out for labelling
    #: (N, K) how much an image looks like class k rather than anything else that is labelled
    evidence: Floats
    wanted: Floats  #: (K,) >= 0, how much more of each class is wanted
    #: positions -> (M, E) embeddings of the unseen pixels of these images
    embed: Callable[[Indices], npt.ArrayLike]
    seed: int = 0  #: of everything random

    def __len__(self) -> int:
        return len(self.metric)

    def after(self, chosen: Indices) -> tuple[Candidates, Indices]:
        """The pool without the chosen images, which count as known from now on.

        Also returns the position in this pool of each image that is left.
        """
        left = np.setdiff1d(np.arange(len(self)), chosen).astype(np.int64)
        if not len(chosen):
            return self, left
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
    def whitened(self) -> tuple[Floats, Floats]:
        """`space` (N, d) and `known` (L, d) along the widest principal components, whitened.

        Fine differences between images of one kind take up most of the features; in a few wide
        directions of equal weight, what differs is the kind.
        """
        rows = without_gaps(np.concatenate([self.space, self.known]))
        mean, axes = widest_directions(rows, CLUSTER_DIMENSIONS)
        del rows  # as large as everything else together
        return (self.space - mean) @ axes, (self.known - mean) @ axes


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One idea of what is worth a label, and its part of a mixed batch.

    The share is the part of the batch that the criterion draws on. "pixels" and "features" divide the
    search for the unknown by how well features tell held-back classes apart; "found" goes after
    classes that were just found, and chooses first because it knows what it looks for.
    """

    name: str  #: as stored with the images of a batch
    seeks: str  #: for people, completes "3 images for ..."
    order: int  #: position among the criteria; lower ones come first
    share: Literal["pixels", "features", "found"]
    weight: float = 1  #: its part of that share, relative to the other criteria with the same one
    #: ranks at most `count` different positions, best first, ties to the earlier image; may draw at
    #: random from `Candidates.seed` only
    choose: Callable[[Candidates, int], Indices]
    has_images: Callable[[Candidates], bool]  #: whether `choose` would return any image
