"""The next batch by any strategy: arrays about a pool in, positions out.

The product and the benchmark both choose here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.ranking import SCORED_STRATEGIES, selection
from unseen.ranking.feature_evidence import FeatureEvidence
from unseen.ranking.feature_space import Floats
from unseen.ranking.mixed import CRITERIA, History, mixed, trust_sentence
from unseen.ranking.selection import Indices


@dataclass(frozen=True)
class Pool:
    """What is known of the images to choose from; each strategy reads some of it.

    The M rows of `metric`, `expected_counts` and `features` are the scored images.
    """

    size: int  #: N, the unlabelled images, in directory order
    #: (M,) ascending positions of the images that the newest UNet scored
    scored: Indices = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    metric: Floats = field(default_factory=lambda: np.zeros(0))  #: (M,) to rank by, >= 0
    #: rows -> (len(rows), E) embeddings of their unseen pixels; NaN where missing
    embed: Callable[[Indices], npt.ArrayLike] = lambda rows: np.zeros((len(rows), 1))
    expected_counts: npt.ArrayLike = ()  #: (M, K + 1) expected examples per class, unseen last
    labelled_counts: npt.ArrayLike = ()  #: (K + 1,) labelled examples per class, 0 for unseen
    features: FeatureEvidence | None = None  #: for `mixed`
    history: History = field(default_factory=History.none)  #: what `mixed` found so far
    seed: int = 0  #: of the clustering in `mixed`


@dataclass(frozen=True)
class Chosen:
    """A batch or its ranked part, best first; only `mixed` fills more than the order."""

    order: Indices  #: (B,) positions in the pool
    #: the criterion that chose each of the first images; those after were drawn at random
    criteria: tuple[str, ...] = ()
    shares: dict[str, float] | None = None  #: criterion -> its part of the batch
    trust: str = ""  #: what was rehearsed and how the batch is divided, for people


def choose(
    strategy: str,
    pool: Pool,
    budget: int,
    *,
    rng: np.random.Generator,
    random_share: float = 0.0,
) -> Chosen:
    """The next `budget` images by one of `unseen.ranking.STRATEGIES`, see `ranked` and `draw`.

    Raises `BudgetError` if the budget exceeds the pool.
    """
    selection.check_budget(budget, pool.size)
    best = ranked(strategy, pool, to_rank(strategy, budget, random_share))
    rest = np.setdiff1d(np.arange(pool.size), best.order)
    drawn = rest[draw(len(rest), budget - len(best.order), rng)]
    return replace(best, order=np.concatenate([best.order, drawn]))


def to_rank(strategy: str, budget: int, random_share: float) -> int:
    """How many images of a batch the ranking chooses; the last `random_share` is drawn."""
    return 0 if strategy == "random" else budget - round(random_share * budget)


def draw(rest: int, count: int, rng: np.random.Generator) -> Indices:
    """`count` different positions at random among the `rest` images that no ranking chose.

    They fill a batch up: for its random share, and where too few images are scored.
    """
    return rng.permutation(rest if count else 0)[:count].astype(np.int64)


def ranked(strategy: str, pool: Pool, wanted: int) -> Chosen:
    """The part of a batch that the ranking chooses: `wanted` images, or as many as are scored."""
    rows = pool.scored if strategy in SCORED_STRATEGIES else np.arange(pool.size)
    wanted = min(wanted, len(rows))
    explained: dict[str, Any] = {}
    if strategy == "mixed":
        assert pool.features is not None
        rehearsal = pool.features.rehearsal
        candidates = pool.features.candidates(pool.metric, pool.embed, pool.seed)
        batch = mixed(candidates, wanted, history=pool.history, rehearsal=rehearsal)
        order = batch.order
        explained = {
            "criteria": tuple(list(CRITERIA)[k] for k in batch.source),
            "shares": batch.shares,
            "trust": trust_sentence(batch.shares, rehearsal, wanted),
        }
    elif strategy == "balanced":
        order = selection.balanced(pool.expected_counts, pool.labelled_counts, wanted)
    elif strategy == "diverse":
        best = selection.candidates(pool.metric, wanted)
        embeddings = pool.embed(best) if wanted else np.zeros((0, 1))
        order = best[selection.diverse(pool.metric[best], embeddings, wanted)]
    elif strategy in SCORED_STRATEGIES:
        order = selection.plain(pool.metric, wanted)
    else:
        order = np.arange(wanted)  # sequential, as an annotator without help would go
    return Chosen(rows[order], **explained)
