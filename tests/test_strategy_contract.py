"""What every way to choose a batch keeps to, whatever it ranks by.

A criterion of `mixed` gets its tests from its name in `CRITERIA`; what scores images, from one line in
`SCORES`; what chooses the batch itself, from one in `CHOICES`; a strategy of the benchmark, from its
name in `ALL_STRATEGIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pytest

from unseen.benchmark import borrowed, choosing, peers
from unseen.benchmark.cases import LabelledFile
from unseen.benchmark.choosing import Chooser
from unseen.benchmark.config import (
    ALL_STRATEGIES,
    BORROWED_STRATEGIES,
    BRAIN_STRATEGIES,
    CRITERION_STRATEGIES,
    BenchmarkConfig,
    Strategy,
)
from unseen.benchmark.models import PoolScores
from unseen.benchmark.pools import Pool
from unseen.benchmark.report.runs import FULL
from unseen.detector.training import Detections
from unseen.errors import BudgetError
from unseen.ranking import METRICS, selection
from unseen.ranking.candidates import Candidates
from unseen.ranking.feature_evidence import FeatureEvidence
from unseen.ranking.mixed import CRITERIA, History, mixed
from unseen.ranking.rehearsal import Rehearsal

Floats = npt.NDArray[np.float64]
CLASSES = ("dot", "rare", "line")


@dataclass(frozen=True)
class CriterionInput:
    """What a criterion may look at; row i is image i of the pool.

    Attributes:
        metrics: name -> (N,), higher = label sooner; NaN where never scored.
        vectors: (N, D); NaN rows were never computed.
        counts: (N, K + 1) expected examples per class, unseen last; NaN rows were never scored.
        labels: the classes of the boxes that each image holds; known of labelled images only.
        labelled: positions of labelled images.
        seed: of whatever is random.
    """

    metrics: dict[str, Floats]
    vectors: Floats
    counts: Floats
    labels: tuple[tuple[str, ...], ...]
    labelled: tuple[int, ...]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def left(self) -> npt.NDArray[np.int64]:
        return np.setdiff1d(np.arange(len(self)), self.labelled).astype(np.int64)

    def present(self) -> Floats:
        boxes = [name for i in self.labelled for name in self.labels[i]]
        return np.asarray([boxes.count(name) for name in CLASSES], dtype=float)

    def permuted(self, order: npt.NDArray[np.int64]) -> CriterionInput:
        """Image i is image order[i] of this pool."""
        place = np.argsort(order)
        return replace(
            self,
            metrics={name: values[order] for name, values in self.metrics.items()},
            vectors=self.vectors[order],
            counts=self.counts[order],
            labels=tuple(self.labels[i] for i in order),
            labelled=tuple(int(place[i]) for i in self.labelled),
        )


class Criterion(Protocol):
    def __call__(self, pool: CriterionInput) -> Floats:
        """(N,) scores of all images; higher = label sooner, NaN = unknown."""


class Choice(Protocol):
    def __call__(self, pool: CriterionInput, budget: int) -> npt.ArrayLike:
        """(budget,) positions of unlabelled images, best first."""


def make_pool(count: int = 24, *, labelled: int = 6, seed: int = 3) -> CriterionInput:
    """Distinct values everywhere; the last two classes are rare."""
    rng = np.random.default_rng(seed)
    names = ("pixel", "alpha", "entropy", "foreground")
    labels = [("dot",) * int(rng.integers(1, 4)) + ("rare",) * (i % 5 == 4) for i in range(count)]
    if count:
        labels[0] = ()
    return CriterionInput(
        metrics={name: rng.uniform(1, 9, count) for name in names},
        vectors=rng.normal(size=(count, 5)) * rng.uniform(1, 3, (count, 1)),
        counts=rng.gamma(0.5, 2.0, (count, len(CLASSES) + 1)),
        labels=tuple(labels),
        labelled=tuple(range(labelled)),
    )


# What scores images.

SCORES: dict[str, Criterion] = {
    "peers.neighbour_distance": lambda pool: peers.neighbour_distance(pool.vectors),
}


def by_score(criterion: Criterion) -> Choice:
    def choose(pool: CriterionInput, budget: int) -> npt.ArrayLike:
        return pool.left[selection.plain(criterion(pool)[pool.left], budget)]

    return choose


# What chooses a batch from what is left.


def candidates(pool: CriterionInput, budget: int) -> npt.ArrayLike:
    return pool.left[selection.candidates(pool.metrics["alpha"][pool.left], budget)][:budget]


def diverse(pool: CriterionInput, budget: int) -> npt.ArrayLike:
    left = pool.left
    return left[selection.diverse(pool.metrics["alpha"][left], pool.vectors[left], budget)]


def balanced(pool: CriterionInput, budget: int) -> npt.ArrayLike:
    return pool.left[selection.balanced(pool.counts[pool.left], [*pool.present(), 0], budget)]


def random(pool: CriterionInput, budget: int) -> npt.ArrayLike:
    return pool.left[selection.random(len(pool.left), budget, np.random.default_rng(pool.seed))]


def evidence_of(pool: CriterionInput) -> FeatureEvidence:
    """As if the vectors were pretrained features, and the counts what patches look like."""
    left, wanted = pool.left, np.asarray([0, 0.8, 0.2])
    return FeatureEvidence(
        space=pool.vectors[left],
        known=pool.vectors[list(pool.labelled)],
        evidence=pool.counts[left, :-1],
        wanted=wanted,
        sought=wanted > 0,
        rehearsal=Rehearsal(novelty=0.6, recognition=0.7, classes=2),
    )


def candidates_of(pool: CriterionInput) -> Candidates:
    found, left = evidence_of(pool), pool.left
    return Candidates(
        metric=pool.metrics["alpha"][left],
        space=found.space,
        known=found.known,
        evidence=found.evidence,
        wanted=found.wanted,
        embed=lambda positions: pool.vectors[left[positions]],
        seed=pool.seed,
    )


def by_mixed(pool: CriterionInput, budget: int) -> npt.ArrayLike:
    rehearsal = evidence_of(pool).rehearsal
    chosen = mixed(candidates_of(pool), budget, history=History.none(), rehearsal=rehearsal)
    return pool.left[chosen.order]


def borrow(name: str) -> Choice:
    def choose(pool: CriterionInput, budget: int) -> npt.ArrayLike:
        labels = np.full(len(pool), np.nan)
        labels[list(pool.labelled)] = [len(set(pool.labels[i])) for i in pool.labelled]
        rng = np.random.default_rng(pool.seed)
        return borrowed.choose(name, pool.vectors, labels, budget, rng)

    return choose


CHOICES: dict[str, Choice] = {
    **{name: by_score(criterion) for name, criterion in SCORES.items()},
    "selection.plain": by_score(lambda pool: pool.metrics["alpha"]),
    "selection.candidates": candidates,
    "selection.diverse": diverse,
    "selection.balanced": balanced,
    "selection.random": random,
    "selection.sequential": lambda pool, n: pool.left[selection.sequential(len(pool.left), n)],
    "mixed.mixed": by_mixed,
    "peers.k_center": lambda pool, n: peers.k_center(pool.vectors, pool.labelled, n),
    **{f"borrowed.{name}": borrow(name) for name in BORROWED_STRATEGIES},
}


# The strategies of the benchmark, as `unseen benchmark` runs them; only what costs time is replaced.


def by_strategy(name: str) -> Choice:
    def choose(pool: CriterionInput, budget: int) -> npt.ArrayLike:
        # Where a UNet ranks, all metrics are the same to it.
        metrics = {**dict.fromkeys(METRICS, pool.metrics["alpha"]), **pool.metrics}
        columns = {**metrics, "expected_counts": pool.counts, "embedding": pool.vectors}
        scores = PoolScores(columns, CLASSES, None, 0.0, {})
        files = [LabelledFile(f"{i}.png", 8, 8, [], list(n)) for i, n in enumerate(pool.labels)]
        images = Pool(tuple(files), (), CLASSES, ("rare",), pool.labelled)
        config = BenchmarkConfig(initial=max(1, len(pool.labelled)), budget=budget)
        chooser = Chooser(images, Strategy.of(name), config, pool.seed, Path())
        vars(chooser).update(_simple=pool.vectors, _features=None)
        margins = pool.metrics["alpha"] / 20
        boxes = np.zeros((1, 4), np.float32), np.zeros(1, np.int64)
        found = [Detections(*boxes, np.asarray([m], np.float32)) for m in margins]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(choosing, "pool_scores", lambda *_, **__: scores)
            patch.setattr(choosing, "feature_evidence", lambda *_, **__: evidence_of(pool))
            patch.setattr(choosing, "disagreement", lambda *_, **__: (metrics["alpha"], {}))
            patch.setattr(choosing.detectors, "train", lambda *_, **__: None)
            patch.setattr(choosing.detectors, "predictions", lambda *_: found)
            return chooser.choose(pool.labelled).batch

    return choose


STRATEGIES = {name: by_strategy(name) for name in ALL_STRATEGIES if name != FULL}
EVERYTHING = {**CHOICES, **STRATEGIES}

#: Brain's clustering starts at random places of the pool.
BY_PLACE = ("representativeness",)
#: These go by position or by chance, not by value.
NOT_BY_VALUE = (
    "selection.random",
    "selection.sequential",
    "random",
    "sequential",
)
#: The benchmark never has NaN for these: Brain refuses it, a detector always answers, and criteria of
#: features are silent on images that cannot be read (tested below).
NEVER_NAN = (*BRAIN_STRATEGIES, *CRITERION_STRATEGIES, "margin")


def every(table: Mapping[str, Choice], *but: str) -> pytest.MarkDecorator:
    rows = [
        pytest.param(
            choose, id=name, marks=pytest.mark.fiftyone if name in BRAIN_STRATEGIES else ()
        )
        for name, choose in table.items()
        if name not in but
    ]
    return pytest.mark.parametrize("choose", rows)


def chosen(choose: Choice, pool: CriterionInput, budget: int) -> list[int]:
    """The batch, which is as large as asked for, without a labelled image and without repeats."""
    batch = np.asarray(choose(pool, budget)).tolist()
    assert len(batch) == len(set(batch)) == budget
    assert set(batch) <= set(pool.left.tolist())
    return batch


@every(CHOICES)
def test_nothing_is_chosen_from_nothing_or_for_nothing(choose):
    assert chosen(choose, make_pool(0, labelled=0), 0) == []
    assert chosen(choose, make_pool(6), 0) == []  # all are labelled
    assert chosen(choose, make_pool(), 0) == []


@every(CHOICES)
def test_more_than_there_is_is_refused(choose):
    with pytest.raises(BudgetError, match="budget 19; expected 0 to 18"):
        choose(make_pool(), 19)


@every(EVERYTHING)
@pytest.mark.parametrize("budget", [1, 5, 17])
def test_a_batch_is_unlabelled_without_repeats_and_follows_the_seed(choose, budget):
    for seed in (0, 1):
        pool = replace(make_pool(seed=seed), seed=seed)
        assert chosen(choose, pool, budget) == chosen(choose, pool, budget)


@every(EVERYTHING)
def test_a_budget_of_the_whole_pool_takes_it(choose):
    chosen(choose, make_pool(), 18)
    chosen(choose, make_pool(26, labelled=25), 1)


@every(EVERYTHING)
@pytest.mark.parametrize("different", [1, 2, 7])
def test_equal_images_are_still_different_images(choose, different):
    pool = make_pool().permuted(np.arange(24) % different)
    pool = replace(pool, labelled=(0, 1, 2, 9))
    for budget in (5, 20):
        chosen(choose, pool, budget)


@every(EVERYTHING, *NEVER_NAN)
def test_what_was_never_scored_comes_last(choose, request):
    pool = make_pool()
    unknown = [5, 8, 13, 22]  # one of them is labelled
    for values in (*pool.metrics.values(), pool.vectors, pool.counts):
        values[unknown] = np.nan
    batch = chosen(choose, pool, 18)
    if request.node.callspec.id not in NOT_BY_VALUE:
        assert set(batch[-3:]) == {8, 13, 22}
        assert not set(chosen(choose, pool, 15)) & set(unknown)


@every(EVERYTHING, *NEVER_NAN)
def test_a_pool_of_which_nothing_is_known_is_still_a_pool(choose):
    pool = make_pool()
    for values in (*pool.metrics.values(), pool.vectors, pool.counts):
        values[:] = np.nan
    chosen(choose, pool, 5)
    chosen(choose, pool, 18)


@every(EVERYTHING, *NOT_BY_VALUE, *BY_PLACE)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_the_pool_does_not_matter(choose, seed):
    pool = make_pool(40, seed=seed)
    order = np.random.default_rng(seed).permutation(40)
    batch, again = (chosen(choose, p, 7) for p in (pool, pool.permuted(order)))
    assert {int(order[i]) for i in again} == set(batch)


# The criteria of `mixed`: they may be silent, but say nothing wrong.

every_criterion = pytest.mark.parametrize("name", CRITERIA)


def offered(name: str, pool: CriterionInput, count: int) -> list[int]:
    """What a criterion offers: at most `count` unlabelled images of the pool, none twice."""
    found = np.asarray(CRITERIA[name].choose(candidates_of(pool), count))
    assert found.dtype == np.int64
    assert found.ndim == 1
    assert len(found) == len(set(found.tolist())) <= count
    assert ((found >= 0) & (found < len(pool.left))).all()
    return pool.left[found].tolist()


@every_criterion
def test_a_criterion_offers_nothing_from_nothing_or_for_nothing(name):
    for pool in (make_pool(0, labelled=0), make_pool(6), make_pool()):
        assert offered(name, pool, 0) == []
    assert offered(name, make_pool(6), 5) == []


@every_criterion
@pytest.mark.parametrize("count", [1, 5, 18, 40])
def test_a_criterion_with_something_to_say_follows_the_seed(name, count):
    for seed in (0, 1):
        pool = replace(make_pool(seed=seed), seed=seed)
        assert offered(name, pool, count) == offered(name, pool, count)
        assert len(offered(name, pool, count)) == min(count, 18)


@every_criterion
def test_a_criterion_can_begin_without_a_label(name):
    offered(name, make_pool(24, labelled=0), 6)
    offered(name, make_pool(1, labelled=0), 3)


@every_criterion
@pytest.mark.parametrize("different", [1, 2, 7])
def test_a_criterion_bears_equal_images(name, different):
    pool = make_pool().permuted(np.arange(24) % different)
    pool = replace(pool, labelled=(0, 1, 2, 9))
    for count in (5, 20):
        offered(name, pool, count)


@every_criterion
def test_a_criterion_offers_what_it_does_not_know_last_or_never(name):
    pool = make_pool()
    unknown = [5, 8, 13, 22]
    for values in (*pool.metrics.values(), pool.vectors, pool.counts):
        values[unknown] = np.nan
    found = offered(name, pool, 18)
    assert not set(found[:15]) & set(unknown)
    assert set(found[:15]) == set(pool.left.tolist()) - set(unknown)
    for values in (*pool.metrics.values(), pool.vectors, pool.counts):
        values[:] = np.nan
    offered(name, pool, 18)


@every_criterion
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_the_pool_decides_nothing_for_a_criterion(name, seed):
    pool = make_pool(40, seed=seed)
    order = np.random.default_rng(seed).permutation(40)
    again = offered(name, pool.permuted(order), 7)
    assert {int(order[i]) for i in again} == set(offered(name, pool, 7))
