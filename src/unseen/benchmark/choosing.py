"""One batch of one strategy: the labelled images and what is known of the pool -> what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unseen.arrays.auroc import auroc
from unseen.arrays.devices import resolve_device
from unseen.benchmark import borrowed, detectors, peers
from unseen.benchmark.config import (
    BORROWED_STRATEGIES,
    CRITERION_STRATEGIES,
    EMBEDDING_STRATEGIES,
    ENSEMBLE,
    FEATURES,
    PAPER_STRATEGIES,
    UNET_STRATEGIES,
    BenchmarkConfig,
    Strategy,
)
from unseen.benchmark.models import PoolScores, UnetVariant, disagreement, pool_scores
from unseen.benchmark.pools import Pool
from unseen.errors import ConfigError
from unseen.ranking import SCORED_STRATEGIES, selection
from unseen.ranking import choosing as ranking
from unseen.ranking.candidates import Candidates
from unseen.ranking.feature_evidence import FeatureEvidence, KnownImage, feature_evidence
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.mixed import CRITERIA, History

Indices = npt.NDArray[np.int64]
Metric = npt.NDArray[np.float64]


@dataclass
class Choice:
    """A batch, and what led to it."""

    batch: Indices  #: positions in the pool, best first
    criteria: dict[str, int] | None = None  #: images per criterion, of `mixed`
    score: dict[str, float | None] | None = None  #: AUROCs of what ranked, on unlabelled images
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Chooser:
    """Chooses batch after batch for one strategy in one pool."""

    pool: Pool
    strategy: Strategy
    config: BenchmarkConfig
    seed: int
    cache: Path
    _history: History = field(default_factory=History.none)

    def choose(self, labelled: Sequence[int]) -> Choice:
        """The next batch from everything that is not labelled."""
        is_labelled = set(labelled)
        left = np.asarray([i for i in range(len(self.pool.files)) if i not in is_labelled])
        rng = np.random.default_rng([self.seed, len(is_labelled)])
        name, budget = self.strategy.name, self.config.budget
        if name == "random":
            return Choice(left[selection.random(len(left), budget, rng)])
        if name == "sequential":
            return Choice(left[selection.sequential(len(left), budget)])
        if name in (*UNET_STRATEGIES, *PAPER_STRATEGIES):
            return self._by_unet(labelled, left, rng)
        if name in CRITERION_STRATEGIES:
            evidence = self._evidence(labelled, left)
            pool = self._candidates(evidence, np.zeros(len(left)))
            return Choice(left[CRITERIA[name].choose(pool, budget)])
        if name == "k_center":
            vectors = self._embeddings(labelled)
            return Choice(np.asarray(peers.k_center(vectors, labelled, budget)))
        if name in BORROWED_STRATEGIES:
            vectors, labels = self._embeddings(labelled), borrowed.image_labels(self.pool, labelled)
            return Choice(borrowed.choose(name, vectors, labels, budget, rng))
        metric, seconds = self._metric(labelled)
        choice = Choice(left[selection.plain(metric[left], budget)], seconds=seconds)
        choice.score = self._separation(metric, left)
        return choice

    def _metric(self, labelled: Sequence[int]) -> tuple[Metric, dict[str, float]]:
        name = self.strategy.name
        if name == ENSEMBLE:
            return disagreement(
                self.pool,
                labelled,
                self.config,
                near_misses=self.strategy.has_near_misses,
                seed=self.seed,
            )
        if name == "margin":
            trained = detectors.train(
                self.pool, labelled, self.config, schedule=self.config.schedules[0], seed=self.seed
            )
            found = detectors.predictions(trained, self.pool.files)
            return np.asarray([detectors.confidence_margin(one) for one in found]), {}
        if name == "neighbours":
            return peers.neighbour_distance(self._embeddings(labelled)), {}
        from unseen.dataset import brain  # only here: other strategies need no database

        compute = brain.uniqueness if name == "uniqueness" else brain.representativeness
        paths = [file.path for file in self.pool.files]
        return compute(paths, self._embeddings(labelled)), {}

    def _embeddings(self, labelled: Sequence[int]) -> npt.NDArray[np.float64]:
        assert self.strategy.name in EMBEDDING_STRATEGIES
        kind = self.strategy.embeddings
        if kind == "simple":
            return self._simple
        if kind == "pretrained":
            return self._pretrained
        return np.asarray(np.nan_to_num(self._unet(labelled).embeddings))

    def _unet(self, labelled: Sequence[int]) -> PoolScores:
        name = self.strategy.name
        mode = name if name in PAPER_STRATEGIES else "recommended"
        variant = UnetVariant(mode, self.strategy.has_near_misses)
        return pool_scores(
            self.pool, labelled, variant, self.config, seed=self.seed, cache=self.cache
        )

    def _by_unet(self, labelled: Sequence[int], left: Indices, rng: np.random.Generator) -> Choice:
        scores = self._unet(labelled)
        name, budget = self.strategy.name, self.config.budget
        metric = scores.metrics[self._metric_name()]
        counts = self.pool.counts(labelled)
        pool = ranking.Pool(
            len(left),
            np.arange(len(left)),
            metric=metric[left],
            embed=lambda rows: scores.embeddings[left[rows]],
            expected_counts=scores.counts[left],
            labelled_counts=[*(counts[n] for n in scores.classes), 0],
            features=self._evidence(labelled, left) if name == "mixed" else None,
            history=self._history,
            seed=self.seed,
        )
        strategy = name if name in SCORED_STRATEGIES else "plain"  # the paper's rank by a metric
        chosen = ranking.choose(strategy, pool, budget, rng=rng)
        if pool.features is not None:
            self._remember(left[chosen.order], chosen.criteria, pool.features.sought)
        by_criterion = {c: n for c in CRITERIA if (n := chosen.criteria.count(c))} or None
        found = self._separation(metric, left)
        found |= {"pixel_auroc": scores.pixel_auroc, "mean_score": scores.mean_score}
        return Choice(left[chosen.order], by_criterion, found, dict(scores.seconds))

    def _metric_name(self) -> str:
        name = self.strategy.name
        if name in PAPER_STRATEGIES:
            return "alpha"
        return name if name in ("entropy", "foreground") else self.strategy.metric

    def _remember(
        self, batch: Indices, criteria: Sequence[str], sought: npt.NDArray[np.bool_]
    ) -> None:
        """See the labels of a batch, and note which criterion found what it looked for."""
        found, tried = self._history.found.copy(), self._history.tried.copy()
        for image, criterion in zip(batch, criteria, strict=True):
            row = list(CRITERIA).index(criterion)
            tried[row] += 1
            found[row] += bool((self._counts([int(image)])[sought] > 0).any())
        self._history = History(found, tried)

    def _counts(self, positions: Sequence[int]) -> npt.NDArray[np.int64]:
        return np.asarray(list(self.pool.counts(positions).values()), dtype=np.int64)

    def _evidence(self, labelled: Sequence[int], left: Indices) -> FeatureEvidence:
        """What the pretrained features say, with the labels known so far."""
        files, names = self.pool.files, list(self.pool.classes)
        known = [
            KnownImage(
                files[i].path,
                np.asarray(files[i].xyxy, np.float32).reshape(-1, 4),
                np.asarray([names.index(n) for n in files[i].labels], np.int64),
                (files[i].width, files[i].height),
                is_initial=i in self.pool.start,
            )
            for i in labelled
        ]
        paths = [files[i].path for i in left]
        return feature_evidence(self._features, paths, known, len(names), seed=self.seed)

    def _candidates(self, evidence: FeatureEvidence, metric: Metric) -> Candidates:
        return Candidates(
            metric=metric,
            space=evidence.space,
            known=evidence.known,
            evidence=evidence.evidence,
            wanted=evidence.wanted,
            embed=lambda positions: evidence.space[positions],
            seed=self.seed,
        )

    def _separation(self, metric: Metric, left: Indices) -> dict[str, float | None]:
        """How well a metric tells unlabelled images with a rare class from the others."""
        is_rare = np.asarray([self.pool.holds_rare(int(i)) for i in left])
        values = np.nan_to_num(metric[left], nan=-np.inf)
        area = auroc(values[is_rare], values[~is_rare])
        return {"image_auroc": area, "pixel_auroc": None, "mean_score": None}

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
        return Features(backbone.on(device), self.cache.parent / "features")


def check_strategy(strategy: Strategy) -> None:
    """Refuse before the first run what would only fail in the middle of one.

    Raises:
        ConfigError: pretrained embeddings were asked for and cannot be had, or a library is not
            installed.
    """
    if strategy.name in BORROWED_STRATEGIES:
        borrowed.check_installed(strategy.name)
    if strategy.name in EMBEDDING_STRATEGIES and strategy.embeddings == "pretrained":
        from unseen.ranking.features.backbones import find_backbone

        backbone, message = find_backbone()
        if backbone.network is None:
            raise ConfigError(
                f"strategy {strategy.name}:pretrained needs weights, and there are none: {message}"
            )
