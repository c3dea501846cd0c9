"""The runs of a benchmark: read, checked to be comparable, and put in order.

A run is one strategy on one dataset with one seed. It leaves one record, plain JSON, which the process
that ran it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unseen.errors import UnseenError

#: Not a strategy that chooses: the detector that has seen every label.
FULL = "full"
#: How long detectors train, and how the tables say it.
SCHEDULES = {"epochs": "equal epochs", "steps": "equal steps"}


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        case: name of the dataset with its recipe.
        strategy: its name.
        seed: of start set, training and random choices.
        mode: of the UNet, "recommended" or "paper".
        classes: all classes in a fixed order.
        rare: those of them whose finding is counted.
        pool: what could be found: "images", "boxes" per class and "class_images" (images that hold a
            class), those of the initial images included. "rare_images" (images that hold any rare
            class) is used where it is there.
        initial: images at the start.
        budget: images in a batch.
        labelled: position in the pool and boxes per class of each labelled image, in the order
            labelled, the initial ones first.
        iterations: what was measured after 0, 1, ... batches.
        seconds: wall time.
        machine: in words.
        command: that made it.
    """

    case: str
    strategy: str
    seed: int
    mode: str
    classes: tuple[str, ...]
    rare: tuple[str, ...]
    pool: Mapping[str, Any]
    initial: int
    budget: int
    labelled: tuple[tuple[int, Mapping[str, int]], ...]
    iterations: tuple[Mapping[str, Any], ...]
    seconds: float | None
    machine: str
    command: str

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Run:
        """A run from its record.

        Raises:
            UnseenError: the record lacks something.
        """
        try:
            labelled = tuple((int(i), dict(counts)) for i, counts in record["labelled"])
            return cls(
                case=str(record["case"]),
                strategy=str(record["strategy"]),
                seed=int(record["seed"]),
                mode=str(record["mode"]),
                classes=tuple(record["classes"]),
                rare=tuple(record["rare"]),
                pool=record["pool"],
                initial=int(record["initial"]),
                budget=int(record["budget"]),
                labelled=labelled,
                iterations=tuple(record["iterations"]),
                seconds=record["seconds"],
                machine=str(record["machine"] or ""),
                command=str(record["command"] or ""),
            )
        except (KeyError, TypeError, ValueError) as error:
            what = " ".join(str(record.get(k)) for k in ("case", "strategy", "seed"))
            raise UnseenError(
                f"the record of run {what!r} cannot be read ({error!r}); delete it and run the "
                "benchmark again"
            ) from error

    @property
    def is_full(self) -> bool:
        """It has labelled everything."""
        return self.strategy == FULL

    @property
    def key(self) -> tuple[str, str, int]:
        """Case, strategy, seed."""
        return self.case, self.strategy, self.seed


@dataclass(frozen=True)
class Benchmark:
    """All runs that were compared.

    Attributes:
        runs: in the order of cases, strategies, seeds.
        cases: in the order of the records.
        strategies: in the order of the records, the judged one first; without "full".
        seeds: ascending.
        missing: runs that others have a counterpart of: (case, strategy, seed).
        images: per case and seed, the images that every strategy labelled, those at the start
            included; what is compared is cut there.
    """

    runs: tuple[Run, ...]
    cases: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    missing: tuple[tuple[str, str, int], ...]
    images: Mapping[tuple[str, int], int] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The strategy that is judged; "" where only full sets were run."""
        return self.strategies[0] if self.strategies else ""

    @property
    def peers(self) -> tuple[str, ...]:
        """What it is compared with."""
        return self.strategies[1:]

    def of(self, case: str, strategy: str) -> list[Run]:
        """The runs of one strategy on one case, by seed."""
        return [r for r in self.runs if (r.case, r.strategy) == (case, strategy)]

    def is_uneven(self) -> bool:
        """Whether some run labelled more images than are compared."""
        return any(
            len(r.labelled) > self.images[r.case, r.seed] for r in self.runs if not r.is_full
        )


def read_runs(records: Sequence[Mapping[str, Any]], first: str | None = None) -> Benchmark:
    """Sort records, and make sure that what is compared had the same start.

    Args:
        records: one per finished run, in any order; cases and strategies keep the order in which
            they come.
        first: the strategy that is judged; default: that of the first record.

    Raises:
        UnseenError: no record, `first` has no run, a run comes twice, or runs of the same case and
            seed had other pools, classes or initial images.
    """
    runs = [Run.of(record) for record in records]
    if not runs:
        raise UnseenError("no run has finished yet, so there is nothing to compare")
    cases = tuple(dict.fromkeys(r.case for r in runs))
    strategies = [s for s in dict.fromkeys(r.strategy for r in runs) if s != FULL]
    if first is not None and first not in strategies:
        raise UnseenError(
            f"first={first!r}, and no run of it has finished; there are runs of "
            f"{', '.join(strategies) or 'no strategy'}"
        )
    if first is not None:
        strategies.insert(0, strategies.pop(strategies.index(first)))
    seeds = tuple(sorted({r.seed for r in runs}))
    order = [*strategies, FULL]
    runs.sort(key=lambda r: (cases.index(r.case), order.index(r.strategy), r.seed))
    _check_comparable(runs)
    there = {r.key for r in runs}
    wanted = order if any(r.is_full for r in runs) else strategies
    missing = tuple(
        key for c in cases for s in wanted for n in seeds if (key := (c, s, n)) not in there
    )
    images: dict[tuple[str, int], int] = {}
    for run in runs:
        if not run.is_full:
            place = run.case, run.seed
            images[place] = min(images.get(place, len(run.labelled)), len(run.labelled))
    return Benchmark(tuple(runs), cases, tuple(strategies), seeds, missing, images)


def _check_comparable(runs: Sequence[Run]) -> None:
    seen: dict[tuple[str, str, int], Run] = {}
    started: dict[tuple[str, int], Run] = {}
    for run in runs:
        name = f"{run.strategy} on {run.case} with seed {run.seed}"
        if run.key in seen:
            raise UnseenError(f"there are two runs of {name}; keep one of the records")
        seen[run.key] = run
        other = started.setdefault((run.case, run.seed), run)
        same = other.pool == run.pool and other.classes == run.classes and other.rare == run.rare
        if not (run.is_full or other.is_full):
            starts = [{i for i, _ in r.labelled[: r.initial]} for r in (other, run)]
            same = same and other.initial == run.initial and starts[0] == starts[1]
        if not same:
            raise UnseenError(
                f"{name} and {other.strategy} had other pools, classes or initial images, so their "
                "difference would say nothing; run the benchmark again into a new folder"
            )
