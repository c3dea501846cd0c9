"""Tables of the detectors: the paper's Tables I-III, and mean F1 and AP of every strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unseen.benchmark.report.finding import by_case
from unseen.benchmark.report.measures import Values, values_of
from unseen.benchmark.report.runs import SCHEDULES, Benchmark, Run
from unseen.loop.curves import FULL, defined
from unseen.report.table import Cell, Column, Table, spread
from unseen.report.tables import iteration_name, performance_table

#: Baselines of the paper's comparison.
BASELINES = ("sequential", "random")

#: A column of the paper's tables: heading, strategy, iteration; None = the last comparable one.
_Place = tuple[str, str, int | None]


def detector_of(run: Run, schedule: str, iteration: int) -> Mapping[str, Any] | None:
    """What was measured of the detector after that many batches."""
    if not 0 <= iteration < len(run.iterations):
        return None
    record: Mapping[str, Any] | None = run.iterations[iteration]["detectors"][schedule]
    return record


def last_iteration(benchmark: Benchmark, run: Run) -> int:
    """The newest iteration with no more images than every strategy labelled; -1 where none has."""
    if run.is_full:
        return len(run.iterations) - 1
    images = benchmark.images[run.case, run.seed]
    return max((k for k, e in enumerate(run.iterations) if e["images"] <= images), default=-1)


def measured_schedules(benchmark: Benchmark) -> list[str]:
    """The schedules for which there is any detector."""
    return [name for name in SCHEDULES if any(_detectors(r, name) for r in benchmark.runs)]


def quality(benchmark: Benchmark, schedule: str, key: str) -> Values:
    """Mean F1 or AP (`key`) of each run at the last iteration, that of the full set included."""

    def read(run: Run) -> float | None:
        detector = detector_of(run, schedule, last_iteration(benchmark, run))
        return detector[key] if detector else None

    return values_of(benchmark.runs, read)


def detector_tables(benchmark: Benchmark) -> list[Table]:
    """Mean F1 and AP of every strategy at the last iteration, for each schedule."""
    return [
        by_case(
            f"{key}_{schedule}",
            f"{name} of the detector after the last batch, at {SCHEDULES[schedule]}",
            benchmark,
            {"": quality(benchmark, schedule, key)},
            "score",
            _schedule_notes(benchmark.runs, schedule),
        )
        for schedule in measured_schedules(benchmark)
        for key, name in (("macro_f1", "Mean F1"), ("mean_ap", "Mean AP"))
    ]


def paper_tables(benchmark: Benchmark) -> list[Table]:
    """The paper's tables, for each case with detectors."""
    tables = []
    first = benchmark.first
    rivals = [s for s in BASELINES if s in benchmark.peers]
    for case in benchmark.cases if measured_schedules(benchmark) else ():
        runs = benchmark.of(case, first)
        most = max((last_iteration(benchmark, r) + 1 for r in runs), default=0)
        over: list[_Place] = [(iteration_name(k), first, k) for k in range(most)]
        if any(r.is_full for r in benchmark.runs):
            over.append(("Full", FULL, None))
        number = "I" if len(_classes(benchmark, case)) == 1 else "III"
        title = f"Table {number}, {case}: {first} over the iterations"
        tables.append(_paper_table(benchmark, case, title, over, "iterations"))
        if rivals:
            title = f"Table II, {case}: the same number of images, chosen in different ways"
            places: list[_Place] = [(s, s, None) for s in (first, *rivals)]
            tables.append(_paper_table(benchmark, case, title, places, "baselines"))
    return [t for t in tables if t is not None]


def _paper_table(
    benchmark: Benchmark, case: str, title: str, places: Sequence[_Place], kind: str
) -> Table | None:
    """The schedules beside each other; None where nothing was measured."""
    columns: list[Column] = []
    measured: list[list[Mapping[str, Any]]] = []
    schedules = measured_schedules(benchmark)
    for schedule in schedules:
        for number, (label, strategy, iteration) in enumerate(places):
            detectors = []
            for run in benchmark.of(case, strategy):
                at = last_iteration(benchmark, run) if iteration is None else iteration
                detectors += [d] if (d := detector_of(run, schedule, at)) else []
            if detectors:
                label = label if len(schedules) == 1 else f"{label} ({schedule})"
                columns.append(Column(f"{schedule}:{number}", label, "score"))
                measured.append(detectors)
    if not columns:
        return None

    def value(n: int, label: str | None, metric: str) -> Cell:
        each = measured[n] if label is None else [d["per_class"].get(label) for d in measured[n]]
        values = [defined(e[metric]) for e in each if e and e.get("support") != 0]
        return spread([v for v in values if v is not None])

    runs = [r for r in benchmark.runs if r.case == case]
    notes = [note for s in schedules for note in _schedule_notes(runs, s)]
    notes.insert(0, "Mean +- standard deviation over seeds, on the test split.")
    key, classes = f"paper_{kind}:{case}", _classes(benchmark, case)
    return performance_table(title, classes, columns, value, key=key, notes=notes)


def _classes(benchmark: Benchmark, case: str) -> Sequence[str]:
    return next(r.classes for r in benchmark.runs if r.case == case)


def _detectors(run: Run, schedule: str) -> list[Mapping[str, Any]]:
    each = [detector_of(run, schedule, k) for k in range(len(run.iterations))]
    return [detector for detector in each if detector is not None]


def _schedule_notes(runs: Sequence[Run], schedule: str) -> list[str]:
    """How long the detectors of that schedule trained, as they say themselves."""
    parts = []
    for is_full in (False, True):
        of_kind = [r for r in runs if r.is_full == is_full]
        texts = [d["schedule"] for r in of_kind for d in _detectors(r, schedule)]
        distinct = list(dict.fromkeys(filter(None, texts)))
        if distinct:
            shown = distinct if len(distinct) <= 4 else [distinct[0], "...", distinct[-1]]
            parts.append(f"{'full set: ' if is_full else ''}{', '.join(shown)}")
    return [f"{SCHEDULES[schedule].capitalize()}: {'; '.join(parts)}."] if parts else []
