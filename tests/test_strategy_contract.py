"""What every way to choose a batch keeps to, whatever it ranks by.

A criterion of `mixed` gets its tests by its file in `unseen.ranking.criteria`, a strategy of the
product or of the benchmark by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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
from unseen.detector.training import Detections
from unseen.errors import BudgetError
from unseen.loop.curves import FULL
from unseen.ranking import METRICS, STRATEGIES
from unseen.ranking import choosing as ranking
from unseen.ranking.candidates import Candidates, Criterion
from unseen.ranking.feature_evidence import FeatureEvidence
from unseen.ranking.mixed import CRITERIA
from unseen.ranking.rehearsal import Rehearsal

Floats = npt.NDArray[np.float64]
CLASSES = ("dot", "rare", "line")


@dataclass(frozen=True)
class Images:
    """All that is known of a pool; row i is image i, and NaN where it was never scored."""

    metric: Floats  #: (N,) of every ranking by a UNet, higher = label sooner
    vectors: Floats  #: (N, D) embeddings, and also pretrained features
    counts: Floats  #: (N, K + 1) expected examples per class, and also evidence of each class
    labels: tuple[tuple[str, ...], ...]  #: the classes of the boxes in each image
    labelled: tuple[int, ...]  #: positions of labelled images
    seed: int = 0

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def left(self) -> npt.NDArray[np.int64]:
        return np.setdiff1d(np.arange(len(self)), self.labelled).astype(np.int64)

    def permuted(self, order: npt.NDArray[np.int64]) -> Images:
        """Image i is image order[i] of this pool."""
        position = np.argsort(order)
        return replace(
            self,
            metric=self.metric[order],
            vectors=self.vectors[order],
            counts=self.counts[order],
            labels=tuple(self.labels[i] for i in order),
            labelled=tuple(int(position[i]) for i in self.labelled),
        )

    def without(self, unknown: list[int] | slice) -> Images:
        """The same, but these images were never scored."""
        for values in (self.metric, self.vectors, self.counts):
            values[unknown] = np.nan
        return self

    def evidence(self) -> FeatureEvidence:
        return FeatureEvidence(
            space=self.vectors[self.left],
            known=self.vectors[list(self.labelled)],
            evidence=self.counts[self.left, :-1],
            wanted=np.asarray([0, 0.8, 0.2]),
            sought=np.asarray([False, True, True]),
            rehearsal=Rehearsal(novelty=0.6, recognition=0.7, classes=2),
        )


#: (images, budget) -> (budget,) positions of unlabelled images, best first.
Choice = Callable[[Images, int], npt.ArrayLike]


def make_images(count: int = 24, *, labelled: int = 6, seed: int = 3) -> Images:
    """Distinct values everywhere; the last two classes are rare.

    In these pools no typical image ties with the other one of a cluster of two, where position
    decides.
    """
    rng = np.random.default_rng([seed, 2])
    labels = [("dot",) * int(rng.integers(1, 4)) + ("rare",) * (i % 5 == 4) for i in range(count)]
    return Images(
        metric=rng.uniform(1, 9, count),
        vectors=rng.normal(size=(count, 5)) * rng.uniform(1, 3, (count, 1)),
        counts=rng.gamma(0.5, 2.0, (count, len(CLASSES) + 1)),
        labels=tuple([(), *labels[1:]]) if labels else (),
        labelled=tuple(range(labelled)),
        seed=seed,
    )


def by_product(name: str) -> Choice:
    def choose(images: Images, budget: int) -> npt.ArrayLike:
        left = images.left
        boxes = [label for i in images.labelled for label in images.labels[i]]
        pool = ranking.Pool(
            len(left),
            np.arange(len(left)),
            metric=images.metric[left],
            embed=lambda rows: images.vectors[left[rows]],
            expected_counts=images.counts[left],
            labelled_counts=[*(boxes.count(c) for c in CLASSES), 0],
            features=images.evidence(),
            seed=images.seed,
        )
        rng = np.random.default_rng([images.seed, len(images.labelled)])
        return left[ranking.choose(name, pool, budget, rng=rng).order]

    return choose


def by_benchmark(name: str) -> Choice:
    """As `unseen benchmark` runs it; only what costs time is replaced."""

    def choose(images: Images, budget: int) -> npt.ArrayLike:
        metrics = dict.fromkeys((*METRICS, "entropy", "foreground"), images.metric)
        columns = {**metrics, "expected_counts": images.counts, "embedding": images.vectors}
        scores = PoolScores(columns, CLASSES, None, 0.0, {})
        files = [LabelledFile(f"{i}.png", 8, 8, [], list(n)) for i, n in enumerate(images.labels)]
        pool = Pool(tuple(files), (), CLASSES, ("rare",), images.labelled)
        config = BenchmarkConfig(initial=max(1, len(images.labelled)), budget=budget)
        chooser = Chooser(pool, Strategy.of(name), config, images.seed, Path())
        vars(chooser).update(_simple=images.vectors, _features=None)
        boxes = np.zeros((1, 4), np.float32), np.zeros(1, np.int64)
        detected = [Detections(*boxes, np.asarray([m / 20], np.float32)) for m in images.metric]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(choosing, "pool_scores", lambda *_, **__: scores)
            patch.setattr(choosing, "feature_evidence", lambda *_, **__: images.evidence())
            patch.setattr(choosing, "disagreement", lambda *_, **__: (images.metric, {}))
            patch.setattr(choosing.detectors, "train", lambda *_, **__: None)
            patch.setattr(choosing.detectors, "predictions", lambda *_: detected)
            return chooser.choose(images.labelled).batch

    return choose


def borrow(name: str) -> Choice:
    def choose(images: Images, budget: int) -> npt.ArrayLike:
        labels = np.full(len(images), np.nan)
        labels[list(images.labelled)] = [len(set(images.labels[i])) for i in images.labelled]
        rng = np.random.default_rng(images.seed)
        return borrowed.choose(name, images.vectors, labels, budget, rng)

    return choose


PRODUCT = {name: by_product(name) for name in STRATEGIES}
#: What can be called with any budget.
FUNCTIONS = {
    **PRODUCT,
    "k_center": lambda images, budget: peers.k_center(images.vectors, images.labelled, budget),
    **{name: borrow(name) for name in BORROWED_STRATEGIES},
}
PEERS = {n: by_benchmark(n) for n in ALL_STRATEGIES if n != FULL and n not in PRODUCT}
EVERYTHING = {**PRODUCT, **PEERS}

#: Brain's clustering starts at random places of the pool.
BY_PLACE = ("representativeness",)
#: These go by position or by chance, not by value.
NOT_BY_VALUE = ("random", "sequential")
#: The benchmark never has NaN for these: Brain refuses it, a detector always answers, and criteria of
#: features are silent on unreadable images (tested below).
NEVER_NAN = (*BRAIN_STRATEGIES, *CRITERION_STRATEGIES, "margin")


def every(table: Mapping[str, Choice], *but: str) -> pytest.MarkDecorator:
    marks = {name: pytest.mark.fiftyone for name in BRAIN_STRATEGIES}
    rows = {name: choose for name, choose in table.items() if name not in but}
    rows = [
        pytest.param(choose, id=name, marks=marks.get(name, ())) for name, choose in rows.items()
    ]
    return pytest.mark.parametrize("choose", rows)


def chosen(choose: Choice, images: Images, budget: int) -> list[int]:
    """The batch, which is as large as asked for, without a labelled image and without repeats."""
    batch = np.asarray(choose(images, budget)).tolist()
    assert len(batch) == len(set(batch)) == budget
    assert set(batch) <= set(images.left.tolist())
    return batch


@every(FUNCTIONS)
def test_nothing_is_chosen_from_nothing_and_no_more_than_there_is(choose):
    for images in (make_images(0, labelled=0), make_images(6), make_images()):
        assert chosen(choose, images, 0) == []
    with pytest.raises(BudgetError, match="budget 19; expected 0 to 18"):
        choose(make_images(), 19)


@every(EVERYTHING)
def test_a_batch_follows_the_seed_and_may_be_the_whole_pool(choose):
    for budget in (1, 18):
        images = make_images(seed=budget)
        assert chosen(choose, images, budget) == chosen(choose, images, budget)


@pytest.mark.parametrize("name", PRODUCT)
def test_the_benchmark_chooses_as_the_product_does(name):
    images = make_images(30)
    assert chosen(by_benchmark(name), images, 9) == chosen(PRODUCT[name], images, 9)


@every(EVERYTHING)
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_equal_images_are_still_different_images(choose):
    for different in (1, 2, 7):
        images = make_images().permuted(np.arange(24) % different)
        chosen(choose, replace(images, labelled=(0, 1, 2, 9)), 20)


@every(EVERYTHING, *NEVER_NAN)
def test_images_that_were_never_scored_come_last(choose, request):
    images = make_images().without([5, 8, 13, 22])  # one of them is labelled
    batch = chosen(choose, images, 18)
    if request.node.callspec.id not in NOT_BY_VALUE:
        assert set(batch[-3:]) == {8, 13, 22}
        assert not set(chosen(choose, images, 15)) & {5, 8, 13, 22}
    for budget in (5, 18):
        chosen(choose, make_images().without(slice(None)), budget)


@every(EVERYTHING, *NOT_BY_VALUE, *BY_PLACE)
def test_the_order_of_the_pool_does_not_matter(choose):
    images, order = make_images(40, seed=0), np.random.default_rng(0).permutation(40)
    batch, again = (chosen(choose, p, 7) for p in (images, images.permuted(order)))
    assert {int(order[i]) for i in again} == set(batch)


# The criteria of `mixed` may be silent, but say nothing wrong.


def toy(choose: Callable[[Candidates, int], npt.NDArray[np.int64]]) -> Criterion:
    """A new criterion."""
    return Criterion(
        name="toy",
        seeks="images with a large first feature",
        order=9,
        share="features",
        choose=choose,
        has_images=lambda pool: len(pool.described) > 0,
    )


def largest(pool: Candidates, count: int) -> npt.NDArray[np.int64]:
    order = np.argsort(-pool.space[pool.described, 0], kind="stable")
    return pool.described[order][:count]


every_criterion = pytest.mark.parametrize(
    "criterion", [*CRITERIA.values(), toy(largest)], ids=lambda criterion: criterion.name
)


def offered(criterion: Criterion, images: Images, count: int) -> list[int]:
    """What a criterion offers: at most `count` unlabelled images, none twice, always the same."""
    left = images.left
    pool = images.evidence().candidates(
        images.metric[left], lambda rows: images.vectors[left[rows]], images.seed
    )
    offer, again = (np.asarray(criterion.choose(pool, count)) for _ in range(2))
    assert offer.dtype == np.int64
    assert offer.ndim == 1
    assert offer.tolist() == again.tolist()
    assert len(offer) == len(set(offer.tolist())) <= count
    assert set(offer.tolist()) <= set(range(len(left)))
    assert criterion.has_images(pool) == (len(criterion.choose(pool, 1)) > 0)
    return left[offer].tolist()


@every_criterion
def test_a_criterion_offers_all_it_has_and_nothing_from_nothing(criterion):
    for images in (make_images(0, labelled=0), make_images(6), make_images()):
        assert offered(criterion, images, 0) == []
    assert offered(criterion, make_images(6), 5) == []
    for count in (1, 5, 18, 40):
        assert len(offered(criterion, make_images(), count)) == min(count, 18)
    for images in (make_images(labelled=0), make_images(1, labelled=0)):  # without a label
        offered(criterion, images, 6)
    for different in (1, 2, 7):
        equal = make_images().permuted(np.arange(24) % different)
        offered(criterion, replace(equal, labelled=(0, 1, 2, 9)), 20)


@every_criterion
def test_a_criterion_offers_unknown_images_last_or_never(criterion):
    images = make_images().without([5, 8, 13, 22])
    offer = offered(criterion, images, 18)
    assert set(offer[:15]) == set(images.left.tolist()) - {5, 8, 13, 22}
    offered(criterion, make_images().without(slice(None)), 18)


@every_criterion
def test_the_order_of_the_pool_decides_nothing_for_a_criterion(criterion):
    images, order = make_images(40, seed=1), np.random.default_rng(1).permutation(40)
    again = offered(criterion, images.permuted(order), 7)
    assert {int(order[i]) for i in again} == set(offered(criterion, images, 7))


@pytest.mark.parametrize(
    "choose",
    [
        lambda pool, count: pool.described[:count],
        lambda pool, count: np.resize(largest(pool, 1), min(count, len(pool.described))),
        lambda pool, count: largest(pool, count + 1),
        lambda pool, count: largest(pool, count // 2),
        lambda pool, count: largest(pool, count).astype(float),
        lambda pool, count: np.random.default_rng().permutation(largest(pool, count)),
        lambda pool, count: np.argsort(pool.space[:, 0])[::-1][:count],
    ],
    ids=[
        "by place",
        "one twice",
        "too many",
        "too few",
        "no positions",
        "by chance",
        "unknown first",
    ],
)
def test_the_contract_tells_what_a_criterion_does_wrong(choose):
    contract = (
        test_a_criterion_offers_all_it_has_and_nothing_from_nothing,
        test_a_criterion_offers_unknown_images_last_or_never,
        test_the_order_of_the_pool_decides_nothing_for_a_criterion,
    )
    with pytest.raises(AssertionError):
        any(test(toy(choose)) for test in contract)
