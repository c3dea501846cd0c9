"""From a case to the pool of one seed: which images there are, in which order, and where one starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unseen.benchmark.cases import Case, LabelledFile, rare_classes
from unseen.benchmark.config import BenchmarkConfig
from unseen.errors import BudgetError, LabelError


@dataclass(frozen=True)
class Pool:
    """Images in directory order with complete labels.

    Attributes:
        files: the images.
        test: what a detector is measured on.
        classes: all classes in a fixed order.
        rare: those of them whose finding is counted.
        start: positions of the initial images.
    """

    files: tuple[LabelledFile, ...]
    test: tuple[LabelledFile, ...]
    classes: tuple[str, ...]
    rare: tuple[str, ...]
    start: tuple[int, ...]

    def counts(self, chosen: Sequence[int]) -> dict[str, int]:
        """Boxes per class in some of the images, 0 included."""
        found = Counter(label for i in chosen for label in self.files[i].labels)
        return {name: found[name] for name in self.classes}

    def holds_rare(self, index: int) -> bool:
        """Whether an image shows a rare class."""
        return any(label in self.rare for label in self.files[index].labels)


def make_pool(case: Case, config: BenchmarkConfig, seed: int) -> Pool:
    """The pool of one seed.

    Where the pool is to be smaller than the directory, it is a stretch of it, from a place drawn per
    seed: neighbours in a directory resemble each other, and a labeller starts somewhere. Where a class
    is held back, the images with it come from that same stretch - from elsewhere they would be found
    for showing other things - and lie at random places behind the initial images.

    Raises:
        BudgetError: there are not enough images.
        LabelError: the initial images hold no box.
    """
    rng = np.random.default_rng([seed, 7])
    if case.held_back:
        files = _thinned(case, config, rng)
    elif config.pool is not None and not case.kind and config.pool < len(case.train):
        place = int(rng.integers(len(case.train) - config.pool + 1))
        files = list(case.train[place : place + config.pool])
    else:
        files = list(case.train)
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
            "so there is nothing to learn from; take more of them, or initial_order=random"
        )
    test = case.test if case.kind or config.test is None else case.test[: config.test]
    rare = rare_classes(case, files, config.rare)
    return Pool(tuple(files), tuple(test), case.classes, rare, tuple(start))


def _thinned(case: Case, config: BenchmarkConfig, rng: np.random.Generator) -> list[LabelledFile]:
    """Images without the class in directory order, and `rare_images` with it at random places."""
    wanted = None if config.pool is None else config.pool - config.rare_images
    is_rare = np.asarray([case.held_back in file.labels for file in case.train])
    first, last = 0, len(case.train)
    if wanted is not None:
        # Ends of the shortest stretches that hold enough of both, by where they begin.
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
        else:
            wanted = None  # said below, with the numbers of the whole directory
    common = [f for f, r in zip(case.train[first:last], is_rare[first:last], strict=True) if not r]
    rare = [f for f, r in zip(case.train[first:last], is_rare[first:last], strict=True) if r]
    asked = config.pool or len(common) + config.rare_images
    if len(rare) < config.rare_images or len(common) < asked - config.rare_images:
        raise BudgetError(
            f"{case.name}: {len(rare)} images hold {case.held_back!r} and {len(common)} do not; a "
            f"pool of {asked} with rare_images={config.rare_images} needs more. Lower pool or "
            "rare_images"
        )
    if wanted is not None and wanted < len(common):
        # Evenly over the stretch, which may be longer where the class is rare already.
        places = np.linspace(0, len(common) - 1, wanted).round().astype(int)
        common = [common[i] for i in places]
    chosen = rng.choice(len(rare), config.rare_images, replace=False)
    if len(common) - config.initial < 1:
        raise BudgetError(
            f"{case.name} has {len(common)} images without {case.held_back!r}; expected more than "
            f"the {config.initial} initial ones"
        )
    behind = rng.integers(config.initial, len(common) + 1, config.rare_images)
    for place, index in sorted(zip(behind.tolist(), chosen.tolist(), strict=True), reverse=True):
        common.insert(place, rare[index])
    return common
