"""One batch of one strategy: the labelled images and what is known of the pool -> what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from unseen.benchmark import borrowed, detectors, peers
from unseen.benchmark.config import (
    BORROWED_STRATEGIES,
    EMBEDDING_STRATEGIES,
    ENSEMBLE,
    PAPER_STRATEGIES,
    UNET_STRATEGIES,
    BenchmarkConfig,
    Strategy,
)
from unseen.benchmark.models import PoolScores, UnetVariant, disagreement, pool_scores
from unseen.benchmark.pools import Pool
from unseen.errors import ConfigError
from unseen.images import read_image
from unseen.science import criteria, selection
from unseen.science.auroc import auroc
from unseen.science.mixed import CRITERIA, mixed
from unseen.science.novelty import texture_novelty
from unseen.science.texture import texture_features

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
    _tried: np.ndarray = field(default_factory=lambda: np.zeros(len(CRITERIA)))
    _found: np.ndarray = field(default_factory=lambda: np.zeros(len(CRITERIA)))

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
            return self._by_unet(labelled, left)
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
        if name == "texture":
            return self._texture, {}
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

    def _by_unet(self, labelled: Sequence[int], left: Indices) -> Choice:
        scores = self._unet(labelled)
        name, budget = self.strategy.name, self.config.budget
        metric = scores.metrics[self._metric_name()]
        by_criterion = None
        if name == "mixed":
            order, by_criterion = self._mixed(labelled, left, scores)
        elif name == "balanced":
            counts = self.pool.counts(labelled)
            present = [counts[n] for n in scores.classes]
            order = selection.balanced(scores.counts[left], [*present, 0], budget)
        elif name == "diverse":
            near = selection.candidates(metric[left], budget)
            embeddings = scores.embeddings[left[near]]
            order = near[selection.diverse(metric[left][near], embeddings, budget)]
        else:
            order = selection.plain(metric[left], budget)
        found = self._separation(metric, left)
        found |= {"pixel_auroc": scores.pixel_auroc, "mean_score": scores.mean_score}
        return Choice(left[order], by_criterion, found, dict(scores.seconds))

    def _metric_name(self) -> str:
        name = self.strategy.name
        if name in PAPER_STRATEGIES:
            return "alpha"
        return name if name in ("entropy", "foreground") else self.strategy.metric

    def _mixed(
        self, labelled: Sequence[int], left: Indices, scores: PoolScores
    ) -> tuple[Indices, dict[str, int]]:
        """Choose, see the labels, and remember which criterion found something rare."""
        now = self.pool.counts(labelled)
        initial = self.pool.counts(self.pool.start)
        metric = scores.metrics[self.strategy.metric][left]
        new = criteria.new_class_metric(
            scores.counts[left][:, : len(scores.classes)],
            [now[n] for n in scores.classes],
            [initial[n] for n in scores.classes],
        )
        chosen = mixed(
            metric,
            scores.metrics["texture"][left],
            scores.metrics["objects"][left],
            new,
            self.config.budget,
            found=self._found,
            tried=self._tried,
            embed=lambda positions: scores.embeddings[left[positions]],
        )
        wanted = criteria.is_new_and_rare(list(now.values()), list(initial.values()))
        for place, criterion in zip(left[chosen.order], chosen.source, strict=True):
            held = np.asarray(list(self.pool.counts([int(place)]).values())) > 0
            self._tried[criterion] += 1
            self._found[criterion] += bool((held & wanted).any())
        taken = np.bincount(chosen.source, minlength=len(CRITERIA)).tolist()
        return chosen.order, {c: n for c, n in zip(CRITERIA, taken, strict=True) if n}

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
    def _texture(self) -> Metric:
        rows = []
        for file in self.pool.files:
            image = torch.from_numpy(read_image(file.path).transpose(2, 0, 1))[None]
            rows.append(texture_features(image)[0].numpy())
        return texture_novelty(np.stack(rows))


def check_strategy(strategy: Strategy) -> None:
    """Refuse before the first run what would only fail in the middle of one.

    Raises:
        ConfigError: pretrained embeddings were asked for and cannot be had, or a library is not
            installed.
    """
    if strategy.name in BORROWED_STRATEGIES:
        borrowed.check_installed(strategy.name)
    if strategy.name in EMBEDDING_STRATEGIES and strategy.embeddings == "pretrained":
        from unseen.science.backbones import find_backbone

        backbone, message = find_backbone()
        if backbone.network is None:
            raise ConfigError(
                f"strategy {strategy.name}:pretrained needs weights, and there are none: {message}"
            )
