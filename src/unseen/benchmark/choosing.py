"""Choose a batch by any strategy; those of the package choose as they do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unseen.arrays.devices import resolve_device
from unseen.benchmark import borrowed, detectors, peers
from unseen.benchmark.config import (
    BORROWED_STRATEGIES,
    CRITERION_STRATEGIES,
    EMBEDDING_STRATEGIES,
    ENSEMBLE,
    FEATURES,
    PAPER_STRATEGIES,
    UNSCORED_STRATEGIES,
    BenchmarkConfig,
    Strategy,
)
from unseen.benchmark.models import PoolScores, disagreement, pool_scores
from unseen.benchmark.pools import Pool
from unseen.errors import ConfigError
from unseen.ranking import SCORED_STRATEGIES
from unseen.ranking import choosing as ranking
from unseen.ranking.feature_evidence import FeatureEvidence, KnownImage, feature_evidence
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.mixed import CRITERIA, History

Indices = npt.NDArray[np.int64]
Metric = npt.NDArray[np.float64]


@dataclass
class Choice:
    """A batch and what it was ranked by."""

    batch: Indices  #: positions in the pool, best first
    criteria: dict[str, int] | None = None  #: images per criterion, of `mixed`
    score: dict[str, float | None] | None = None  #: of the UNet: pixel AUROC, mean S
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Chooser:
    """Chooses batch after batch for one strategy and one pool."""

    pool: Pool
    strategy: Strategy
    config: BenchmarkConfig
    seed: int
    cache: Path
    _history: History = field(default_factory=History.none)

    def choose(self, labelled: Sequence[int]) -> Choice:
        """The next batch, from all unlabelled images."""
        left = np.setdiff1d(np.arange(len(self.pool.files)), labelled).astype(np.int64)
        rng = np.random.default_rng([self.seed, len(set(labelled))])
        name, budget = self.strategy.name, self.config.budget
        if name == "k_center":
            return Choice(peers.k_center(self._embeddings(labelled), labelled, budget))
        if name in BORROWED_STRATEGIES:
            vectors, labels = self._embeddings(labelled), borrowed.image_labels(self.pool, labelled)
            return Choice(borrowed.choose(name, vectors, labels, budget, rng))
        if name in CRITERION_STRATEGIES:
            evidence = self._evidence(labelled, left)
            candidates = evidence.candidates(
                np.zeros(len(left)), lambda rows: evidence.space[rows], self.seed
            )
            return Choice(left[CRITERIA[name].choose(candidates, budget)])
        if name in UNSCORED_STRATEGIES:
            chosen = ranking.choose(name, ranking.Pool(len(left)), budget, rng=rng)
            return Choice(left[chosen.order])
        if name in SCORED_STRATEGIES or name in PAPER_STRATEGIES:
            return self._by_unet(labelled, left, rng)
        metric, seconds = self._metric(labelled)
        numbers = ranking.Pool(len(left), np.arange(len(left)), metric=metric[left])
        chosen = ranking.choose("plain", numbers, budget, rng=rng)
        return Choice(left[chosen.order], seconds=seconds)

    def _by_unet(self, labelled: Sequence[int], left: Indices, rng: np.random.Generator) -> Choice:
        scores, name = self._unet(labelled), self.strategy.name
        metric = scores.columns[self.strategy.metric]
        counts = self.pool.counts(labelled)
        numbers = ranking.Pool(
            len(left),
            np.arange(len(left)),
            metric=metric[left],
            embed=lambda rows: scores.columns["embedding"][left[rows]],
            expected_counts=scores.columns["expected_counts"][left],
            labelled_counts=[*(counts[n] for n in scores.classes), 0],
            features=self._evidence(labelled, left) if name == "mixed" else None,
            history=self._history,
            seed=self.seed,
        )
        strategy = name if name in SCORED_STRATEGIES else "plain"  # the paper's rank by a metric
        chosen = ranking.choose(strategy, numbers, self.config.budget, rng=rng)
        if numbers.features is not None:
            self._remember(left[chosen.order], chosen.criteria, numbers.features.sought)
        criteria = {c: n for c in CRITERIA if (n := chosen.criteria.count(c))} or None
        score = {"pixel_auroc": scores.pixel_auroc, "mean_score": scores.mean_score}
        return Choice(left[chosen.order], criteria, score, scores.seconds)

    def _metric(self, labelled: Sequence[int]) -> tuple[Metric, dict[str, float]]:
        """(N,) metric of a peer, higher = label sooner, and the seconds of its parts."""
        pool, config, name = self.pool, self.config, self.strategy.name
        if name == ENSEMBLE:
            return disagreement(pool, labelled, self.strategy, config, seed=self.seed)
        if name == "margin":
            trained = detectors.train(pool, labelled, config, seed=self.seed)
            boxes = detectors.predictions(trained, pool, pool.files)
            return np.asarray([detectors.confidence_margin(one) for one in boxes]), {}
        vectors = self._embeddings(labelled)
        if name == "neighbours":
            return peers.neighbour_distance(vectors), {}
        from unseen.dataset import brain  # the other strategies need no database

        return brain.image_scores(name, [file.path for file in pool.files], vectors), {}

    def _embeddings(self, labelled: Sequence[int]) -> npt.NDArray[np.float64]:
        if self.strategy.embeddings == "simple":
            return self._simple
        if self.strategy.embeddings == "pretrained":
            return self._pretrained
        return np.asarray(np.nan_to_num(self._unet(labelled).columns["embedding"]))

    def _unet(self, labelled: Sequence[int]) -> PoolScores:
        return pool_scores(
            self.pool, labelled, self.strategy, self.config, seed=self.seed, cache=self.cache
        )

    def _remember(
        self, batch: Indices, criteria: Sequence[str], sought: npt.NDArray[np.bool_]
    ) -> None:
        """Reveal the labels of a batch: did each criterion find a class that was sought?"""
        hits, tried = self._history.found.copy(), self._history.tried.copy()
        for image, criterion in zip(batch, criteria, strict=True):
            row = list(CRITERIA).index(criterion)
            tried[row] += 1
            hits[row] += sought[self.pool.files[image].numbers(self.pool.classes)].any()
        self._history = History(hits, tried)

    def _evidence(self, labelled: Sequence[int], left: Indices) -> FeatureEvidence:
        files, classes = self.pool.files, self.pool.classes
        known = [
            KnownImage(
                files[i].path,
                files[i].boxes,
                files[i].numbers(classes),
                (files[i].width, files[i].height),
                is_initial=i in self.pool.start,
            )
            for i in labelled
        ]
        paths = [files[i].path for i in left]
        return feature_evidence(self._features, paths, known, len(classes), seed=self.seed)

    @cached_property
    def _simple(self) -> npt.NDArray[np.float64]:
        return peers.simple_embeddings(self.pool)

    @cached_property
    def _pretrained(self) -> npt.NDArray[np.float64]:
        folder = self.cache.parent / "features"
        return peers.pretrained_embeddings(self.pool, self.config.device, folder)

    @cached_property
    def _features(self) -> Features:
        wanted = self.strategy.option if self.strategy.option in FEATURES else "auto"
        backbone, _ = find_backbone(wanted)
        device = resolve_device(self.config.device)
        folder = self.cache.parent / "features"
        return Features(backbone.on(device), folder, value_range=self.pool.value_range)


def check_strategy(strategy: Strategy) -> None:
    """Raise `ConfigError` before the first run if pretrained weights or a library are missing."""
    if strategy.name in BORROWED_STRATEGIES:
        borrowed.check_installed(strategy.name)
    if strategy.name in EMBEDDING_STRATEGIES and strategy.embeddings == "pretrained":
        backbone, message = find_backbone()
        if backbone.network is None:
            raise ConfigError(
                f"strategy {strategy.name}:pretrained needs weights, and there are none: {message}"
            )
