"""The pool of one seed: its images, their order, and the initial ones."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from unseen.arrays.images import ValueRange, value_range
from unseen.benchmark.cases import Case, LabelledFile, rare_classes
from unseen.benchmark.config import BenchmarkConfig
from unseen.errors import BudgetError, LabelError


@dataclass(frozen=True)
class Pool:
    """Images in directory order with complete labels."""

    files: tuple[LabelledFile, ...]
    test: tuple[LabelledFile, ...]  #: for evaluating detectors
    classes: tuple[str, ...]  #: in a fixed order
    rare: tuple[str, ...]  #: the classes that strategies should find
    start: tuple[int, ...]  #: positions of the initial images

    @cached_property
    def digest(self) -> str:
        """Changes with any image file, box or class."""
        images = []
        for file in (*self.files, *self.test):
            path = Path(file.path)
            there = path.stat() if path.exists() else None
            state = (there.st_size, there.st_mtime_ns) if there else None
            images.append([path.name, state, file.xyxy, file.labels])
        text = json.dumps([images, self.classes, self.rare])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def value_range(self) -> ValueRange | None:
        """What 0 and 1 are in files with more than 8 bits."""
        return value_range([file.path for file in self.files])

    def counts(self, chosen: Sequence[int]) -> dict[str, int]:
        """Boxes per class in the chosen images, 0 included."""
        counts = Counter(label for i in chosen for label in self.files[i].labels)
        return {name: counts[name] for name in self.classes}

    def holds_rare(self, index: int) -> bool:
        """Whether an image shows a rare class."""
        return any(label in self.rare for label in self.files[index].labels)


def make_pool(case: Case, config: BenchmarkConfig, seed: int) -> Pool:
    """Draw the pool of one seed.

    A pool smaller than the directory is a stretch of it from a random place, as neighbouring files
    resemble each other. The images of a held-back class come from the same stretch (from elsewhere
    they would stand out for other reasons) and lie at random places behind the initial images.
    Raises `BudgetError` for too few images, `LabelError` if the initial ones hold no box.
    """
    rng = np.random.default_rng([seed, 7])
    files = list(case.train)
    if case.held_back:
        files = _thinned(case, config, rng)
    elif config.pool is not None and not case.kind and config.pool < len(files):
        first = int(rng.integers(len(files) - config.pool + 1))
        files = files[first : first + config.pool]
    if len(files) < config.wanted_images:
        raise BudgetError(
            f"{case.name} has {len(files)} images to choose from; initial={config.initial} and "
            f"{config.iterations} batches of {config.budget} are {config.wanted_images}. Lower the "
            "budget or the number of iterations"
        )
    start = list(range(config.initial))
    if config.initial_order == "random":
        allowed = [i for i, f in enumerate(files) if case.held_back not in f.labels]
        start = sorted(rng.choice(allowed, config.initial, replace=False).tolist())
    if not any(files[i].labels for i in start):
        raise LabelError(
            f"none of the {config.initial} initial images of {case.name} (seed {seed}) holds a box, "
            "so there is nothing to learn from; raise initial, or pass initial_order=random"
        )
    test = case.test if case.kind else case.test[: config.test]
    rare = rare_classes(case, files)
    return Pool(tuple(files), test, case.classes, rare, tuple(start))


def _thinned(case: Case, config: BenchmarkConfig, rng: np.random.Generator) -> list[LabelledFile]:
    """Images without the held-back class in order, and `rare_images` with it at random places."""
    wanted = None if config.pool is None else config.pool - config.rare_images
    is_rare = np.asarray([case.held_back in file.labels for file in case.train])
    first, last = 0, len(case.train)
    if wanted is not None:
        # From each place, the shortest stretch with enough of both.
        rares = np.concatenate([[0], np.cumsum(is_rare)])
        commons = np.arange(len(rares)) - rares
        ends = np.maximum(
            np.searchsorted(rares, rares[:-1] + config.rare_images),
            np.searchsorted(commons, commons[:-1] + wanted),
        )
        enough = np.flatnonzero(ends <= len(is_rare))
        if len(enough):
            first = int(enough[rng.integers(len(enough))])
            last = int(ends[first])
    common = [case.train[i] for i in range(first, last) if not is_rare[i]]
    rare = [case.train[i] for i in range(first, last) if is_rare[i]]
    asked = config.pool or len(common) + config.rare_images
    if len(rare) < config.rare_images or len(common) < asked - config.rare_images:
        raise BudgetError(
            f"{case.name}: {len(rare)} images hold {case.held_back!r} and {len(common)} do not; a "
            f"pool of {asked} with rare_images={config.rare_images} needs more. Lower pool or "
            "rare_images"
        )
    if len(common) <= config.initial:
        raise BudgetError(
            f"{case.name} has {len(common)} images without {case.held_back!r}; expected more than "
            f"the {config.initial} initial ones"
        )
    if wanted is not None:
        # Evenly over the stretch, which has too many if the class is rare already.
        places = np.linspace(0, len(common) - 1, wanted).round().astype(int)
        common = [common[i] for i in places]
    chosen = rng.choice(len(rare), config.rare_images, replace=False)
    behind = rng.integers(config.initial, len(common) + 1, config.rare_images)
    for place, index in sorted(zip(behind.tolist(), chosen.tolist(), strict=True), reverse=True):
        common.insert(place, rare[index])
    return common
