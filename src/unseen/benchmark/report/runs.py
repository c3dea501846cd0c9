"""The runs of a benchmark: read, checked to be comparable, and sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from unseen.errors import UnseenError
from unseen.loop.curves import FULL


@dataclass(frozen=True)
class Run:
    """The record (plain JSON) of one strategy on one case with one seed."""

    case: str  #: name of the dataset with its recipe
    strategy: str  #: "full": a detector trained on every label
    seed: int
    classes: Sequence[str]  #: all classes in a fixed order
    rare: Sequence[str]  #: the classes that strategies should find
    pool: Mapping[str, Any]  #: "images", "rare_images", "boxes" per class; initial ones included
    initial: int  #: images at the start
    budget: int  #: images in a batch
    labelled: Sequence[tuple[int, Mapping[str, int]]]  #: in order: place in the pool, boxes
    iterations: Sequence[Mapping[str, Any]]  #: what was measured after 0, 1, ... batches
    seconds: float
    machine: str
    command: str

    @property
    def is_full(self) -> bool:
        """Everything is labelled."""
        return self.strategy == FULL

    @property
    def key(self) -> tuple[str, str, int]:
        """Case, strategy, seed."""
        return self.case, self.strategy, self.seed


@dataclass(frozen=True)
class Benchmark:
    """All runs that are compared."""

    runs: Sequence[Run]  #: in the order of cases, strategies, seeds
    cases: Sequence[str]
    strategies: Sequence[str]  #: the judged one first; without "full"
    seeds: Sequence[int]  #: ascending
    missing: Sequence[tuple[str, str, int]]  #: (case, strategy, seed) that others have
    images: Mapping[tuple[str, int], int]
    """Per case and seed, the images that every strategy labelled; comparisons are cut there."""

    @property
    def first(self) -> str:
        """The judged strategy; "" if there are only full sets."""
        return self.strategies[0] if self.strategies else ""

    @property
    def peers(self) -> Sequence[str]:
        """The strategies it is compared with."""
        return self.strategies[1:]

    def of(self, case: str, strategy: str) -> list[Run]:
        """The runs of one strategy on one case, by seed."""
        return [r for r in self.runs if (r.case, r.strategy) == (case, strategy)]

    def choosing(self) -> list[Run]:
        """All runs but the full sets."""
        return [r for r in self.runs if not r.is_full]


def read_runs(records: Sequence[Mapping[str, Any]], first: str | None = None) -> Benchmark:
    """Sort records, and check that compared runs had the same start.

    Cases and strategies keep their order; `first` is the judged strategy, by default that of the
    first record. Raises `UnseenError` without records, if `first` has no run, a run comes twice, or
    runs of the same case and seed had different pools, classes or initial images.
    """
    runs = [_read(record) for record in records]
    if not runs:
        raise UnseenError("no run has finished yet, so there is nothing to compare")
    cases = list(dict.fromkeys(r.case for r in runs))
    strategies = [s for s in dict.fromkeys(r.strategy for r in runs) if s != FULL]
    if first is not None and first not in strategies:
        raise UnseenError(
            f"first={first!r}, but no run of it has finished; there are runs of "
            f"{', '.join(strategies) or 'no strategy'}"
        )
    strategies.sort(key=lambda s: s != first)
    seeds = sorted({r.seed for r in runs})
    order = [*strategies, *([FULL] if any(r.is_full for r in runs) else [])]
    runs.sort(key=lambda r: (cases.index(r.case), order.index(r.strategy), r.seed))
    _check_comparable(runs)
    finished = {r.key for r in runs}
    missing = [k for c in cases for s in order for n in seeds if (k := (c, s, n)) not in finished]
    images: dict[tuple[str, int], int] = {}
    for run in runs:
        if not run.is_full:
            place, n = (run.case, run.seed), len(run.labelled)
            images[place] = min(images.get(place, n), n)
    return Benchmark(runs, cases, strategies, seeds, missing, images)


def _read(record: Mapping[str, Any]) -> Run:
    try:
        return Run(**{field.name: record[field.name] for field in fields(Run)})
    except KeyError as error:
        name = " ".join(str(record.get(k)) for k in ("case", "strategy", "seed"))
        raise UnseenError(
            f"the record of run {name!r} cannot be read ({error!r}); delete it and run the benchmark "
            "again"
        ) from error


def _check_comparable(runs: Sequence[Run]) -> None:
    seen: set[tuple[str, str, int]] = set()
    started: dict[tuple[str, int], Run] = {}
    for run in runs:
        name = f"{run.strategy} on {run.case} with seed {run.seed}"
        if run.key in seen:
            raise UnseenError(f"there are two runs of {name}; keep one of the records")
        seen.add(run.key)
        other = started.setdefault((run.case, run.seed), run)
        same = (other.pool, other.classes, other.rare) == (run.pool, run.classes, run.rare)
        if not (run.is_full or other.is_full):
            starts = [{i for i, _ in r.labelled[: r.initial]} for r in (other, run)]
            same = same and other.initial == run.initial and starts[0] == starts[1]
        if not same:
            raise UnseenError(
                f"{name} and {other.strategy} had different pools, classes or initial images and "
                "cannot be compared; run the benchmark again in a new folder"
            )
