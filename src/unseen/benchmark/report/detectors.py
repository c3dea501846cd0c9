"""Tables of the detectors: mean F1 and AP of every strategy, and the paper's Tables I-III."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unseen.benchmark.report.measures import Values, values_of
from unseen.benchmark.report.runs import Benchmark, Run
from unseen.benchmark.report.tables import by_case
from unseen.loop.curves import FULL, defined
from unseen.report.table import Cell, Column, Table, spread
from unseen.report.tables import iteration_name, performance_table

#: Baselines of the paper's comparison.
BASELINES = ("sequential", "random")

#: A column of the paper's tables: heading, strategy, iteration; None = the last comparable one.
_Place = tuple[str, str, int | None]


def last_iteration(benchmark: Benchmark, run: Run) -> int:
    """The newest iteration with no more images than every strategy labelled; -1 if there is none."""
    if run.is_full:
        return len(run.iterations) - 1
    images = benchmark.images[run.case, run.seed]
    return max((k for k, e in enumerate(run.iterations) if e["images"] <= images), default=-1)


def quality(benchmark: Benchmark, key: str) -> Values:
    """Mean F1 or AP (`key`) of each run at the last iteration, full sets included."""

    def read(run: Run) -> float | None:
        detector = _detector(run, last_iteration(benchmark, run))
        return detector[key] if detector else None

    return values_of(benchmark.runs, read)


def detector_tables(benchmark: Benchmark) -> list[Table]:
    """Mean F1 and AP of every strategy at the last iteration."""
    return [
        by_case(
            f"{name} of the detector after the last batch",
            benchmark,
            values,
            "score",
            _schedules(benchmark.runs),
        )
        for key, name in (("macro_f1", "Mean F1"), ("mean_ap", "Mean AP"))
        if (values := quality(benchmark, key))
    ]


def paper_tables(benchmark: Benchmark) -> list[Table]:
    """The paper's tables, for each case with detectors."""
    tables: list[Table | None] = []
    first = benchmark.first
    for case in benchmark.cases:
        runs = benchmark.of(case, first)
        most = max((last_iteration(benchmark, r) + 1 for r in runs), default=0)
        over: list[_Place] = [(iteration_name(k), first, k) for k in range(most)]
        number = "I" if len(_classes(benchmark, case)) == 1 else "III"
        title = f"Table {number}, {case}: {first} over the iterations"
        tables.append(_paper_table(benchmark, case, title, [*over, ("Full", FULL, None)]))
        if rivals := [s for s in BASELINES if s in benchmark.peers]:
            title = f"Table II, {case}: the same number of images, chosen in different ways"
            places: list[_Place] = [(s, s, None) for s in (first, *rivals)]
            tables.append(_paper_table(benchmark, case, title, places))
    return [t for t in tables if t is not None]


def _paper_table(
    benchmark: Benchmark, case: str, title: str, places: Sequence[_Place]
) -> Table | None:
    """None if nothing was measured."""
    measured: dict[str, list[Mapping[str, Any]]] = {}
    for label, strategy, iteration in places:
        for run in benchmark.of(case, strategy):
            at = last_iteration(benchmark, run) if iteration is None else iteration
            if detector := _detector(run, at):
                measured.setdefault(label, []).append(detector)
    if not measured:
        return None
    each = list(measured.values())

    def value(n: int, label: str | None, metric: str) -> Cell:
        cells = [d if label is None else d["per_class"].get(label) for d in each[n]]
        values = [defined(c[metric]) for c in cells if c and c.get("support") != 0]
        return spread([v for v in values if v is not None])

    columns = [Column(label, "score") for label in measured]
    table = performance_table(title, _classes(benchmark, case), columns, value)
    notes = _schedules([r for r in benchmark.runs if r.case == case])
    notes.insert(0, "Mean +- standard deviation over seeds, on the test split.")
    return replace(table, notes=notes, seeds=len(benchmark.seeds))


def _detector(run: Run, iteration: int) -> Mapping[str, Any] | None:
    """What was measured of the detector after that many batches."""
    if not 0 <= iteration < len(run.iterations):
        return None
    detector: Mapping[str, Any] | None = run.iterations[iteration]["detector"]
    return detector


def _classes(benchmark: Benchmark, case: str) -> Sequence[str]:
    return next(r.classes for r in benchmark.runs if r.case == case)


def _schedules(runs: Sequence[Run]) -> list[str]:
    """How long the detectors trained, as their records say."""
    parts = []
    for prefix, is_full in (("", False), ("full set: ", True)):
        measured = [e["detector"] for r in runs if r.is_full == is_full for e in r.iterations]
        texts = list(dict.fromkeys(d["schedule"] for d in measured if d))
        if texts:
            shown = texts if len(texts) <= 4 else [texts[0], "...", texts[-1]]
            parts.append(prefix + ", ".join(shown))
    return [f"Trained for {'; '.join(parts)}."] if parts else []
