"""Tables of the detectors: the paper's Tables I-III, and mean F1 and AP of every strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unseen.benchmark.report.figures import Spread, Values, spread
from unseen.benchmark.report.finding import by_case
from unseen.benchmark.report.runs import FULL, SCHEDULES, Benchmark, Run
from unseen.benchmark.report.table import Cell, Column, DataTable
from unseen.loop.curves import defined

#: Baselines of the paper's comparison.
BASELINES = ("sequential", "random")
_METRICS = {"precision": "Precision", "recall": "Recall", "f1": "F1 score"}
_MEANS = {"macro_f1": "Mean F1", "mean_ap": "AP"}

#: From a detector's record to one number.
_Reader = Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True)
class _Place:
    """Detectors of one strategy that had as many images."""

    label: str
    strategy: str
    iteration: int | None  #: None = the last one that every strategy reached


def detector_of(run: Run, schedule: str, iteration: int) -> Mapping[str, Any] | None:
    """What was measured of the detector after that many batches."""
    if not 0 <= iteration < len(run.iterations):
        return None
    found: Mapping[str, Any] | None = (run.iterations[iteration].get("detectors") or {}).get(
        schedule
    )
    return found


def last_iteration(benchmark: Benchmark, run: Run) -> int:
    """The newest iteration with no more images than every strategy labelled; -1 where none has."""
    if run.is_full:
        return len(run.iterations) - 1
    images = benchmark.images[run.case, run.seed]
    return max((k for k, e in enumerate(run.iterations) if e["images"] <= images), default=-1)


def measured_schedules(benchmark: Benchmark) -> list[str]:
    """The schedules for which there is any detector."""
    return [
        name
        for name in SCHEDULES
        if any(detector_of(r, name, k) for r in benchmark.runs for k in range(len(r.iterations)))
    ]


def quality(benchmark: Benchmark, schedule: str, key: str) -> Values:
    """Mean F1 or AP (`key`) of each run at the last iteration, that of the full set included."""
    found: Values = {}
    for run in benchmark.runs:
        detector = detector_of(run, schedule, last_iteration(benchmark, run))
        value = defined(detector[key]) if detector else None
        if value is not None:
            found.setdefault((run.case, run.strategy), {})[run.seed] = value
    return found


def detector_tables(benchmark: Benchmark) -> list[DataTable]:
    """Mean F1 and AP of every strategy at the last iteration, for each schedule."""
    tables = []
    ranked = Benchmark(**{**vars(benchmark), "strategies": (*benchmark.strategies, FULL)})
    for schedule in measured_schedules(benchmark):
        for key, name in (("macro_f1", "Mean F1"), ("mean_ap", "Mean AP")):
            table = by_case(
                f"{key}_{schedule}",
                f"{name} of the detector after the last batch, at {SCHEDULES[schedule]}",
                ranked,
                quality(benchmark, schedule, key),
                "score",
                _schedule_notes(benchmark, schedule),
            )
            full = {i for i, row in enumerate(table.rows) if row["strategy"] == FULL}
            tables.append(DataTable(**{**vars(table), "unmarked": frozenset(full)}))
    return tables


def paper_tables(benchmark: Benchmark) -> list[DataTable]:
    """The paper's tables, for each case with detectors."""
    tables = []
    schedules = measured_schedules(benchmark)
    for case in benchmark.cases if schedules else ():
        classes = next(r.classes for r in benchmark.runs if r.case == case)
        first, single = benchmark.first, len(classes) == 1
        title = "Table I" if single else "Table III"
        over = [_Place(n, first, k) for k, n in enumerate(_iteration_names(benchmark, case))]
        if any(r.is_full for r in benchmark.runs):
            over.append(_Place("Full", FULL, None))
        tables.append(
            _paper_table(
                benchmark, case, f"{title}, {case}: {first} over the iterations", over, "iterations"
            )
        )
        rivals = [s for s in BASELINES if s in benchmark.peers]
        against = [_Place(s, s, None) for s in (first, *rivals)]
        title = f"Table II, {case}: the same number of images, chosen in different ways"
        if rivals:
            tables.append(_paper_table(benchmark, case, title, against, "baselines"))
    return [t for t in tables if t is not None]


def _paper_table(
    benchmark: Benchmark, case: str, title: str, places: Sequence[_Place], kind: str
) -> DataTable | None:
    """Class x metric x place, the schedules beside each other; None where nothing was measured."""
    classes = next(r.classes for r in benchmark.runs if r.case == case)
    single = len(classes) == 1
    schedules = measured_schedules(benchmark)
    columns: list[Column] = []
    rows: list[dict[str, Cell]] = []
    readers: list[_Reader] = []
    for name in classes:
        for i, (metric, label) in enumerate(_METRICS.items()):
            rows.append({"class": "" if i else name, "metric": label})
            readers.append(_of_class(name, metric))
    for i, (metric, label) in enumerate(_MEANS.items()):
        rows.append({"class": "" if i else "All", "metric": label})
        readers.append(_of_all(metric))
    for schedule in schedules:
        for number, place in enumerate(places):
            key = f"{schedule}:{number}"
            cells = [_cell(benchmark, case, place, schedule, read) for read in readers]
            if all(cell is None for cell in cells):
                continue
            label = place.label if len(schedules) == 1 else f"{place.label} ({schedule})"
            columns.append(Column(key, label, "score"))
            for row, cell in zip(rows, cells, strict=True):
                row[key] = cell
    if not columns:
        return None
    text = (Column("class", "Class"), Column("metric", "Metric"))[single:]
    notes = [n for s in schedules for n in _schedule_notes(benchmark, s, case)]
    return DataTable(
        f"paper_{kind}:{case}",
        title,
        (*text, *columns),
        tuple(rows),
        text_columns=len(text),
        notes=("Mean +- standard deviation over seeds, on the test split.", *notes),
        group=not single,
    )


def _of_all(metric: str) -> _Reader:
    return lambda found: defined(found[metric])


def _of_class(name: str, metric: str) -> _Reader:
    """Undefined where the class has no test boxes."""

    def read(found: Mapping[str, Any]) -> float | None:
        of_class = found["per_class"].get(name)
        return defined(of_class[metric]) if of_class and of_class["support"] else None

    return read


def _cell(
    benchmark: Benchmark,
    case: str,
    place: _Place,
    schedule: str,
    read: _Reader,
) -> Spread | None:
    found = []
    for run in benchmark.of(case, place.strategy):
        last = last_iteration(benchmark, run)
        detector = detector_of(run, schedule, last if place.iteration is None else place.iteration)
        value = read(detector) if detector else None
        if value is not None:
            found.append(value)
    return spread(found)


def _iteration_names(benchmark: Benchmark, case: str) -> list[str]:
    runs = benchmark.of(case, benchmark.first)
    most = max((last_iteration(benchmark, r) + 1 for r in runs), default=0)
    return ["Init", *(f"Iter{k}" for k in range(1, most))][:most]


def _schedule_notes(
    benchmark: Benchmark, schedule: str, case: str | None = None
) -> tuple[str, ...]:
    """How long the detectors of that schedule trained, as they say themselves."""
    runs = [r for r in benchmark.runs if case in (None, r.case)]
    said: dict[bool, list[str]] = {False: [], True: []}
    for run in runs:
        places = range(len(run.iterations))
        found = [d for k in places if (d := detector_of(run, schedule, k)) is not None]
        said[run.is_full] += [str(d["schedule"]) for d in found if d.get("schedule")]
    parts = []
    for is_full, texts in said.items():
        distinct = list(dict.fromkeys(texts))
        if distinct:
            shown = distinct if len(distinct) <= 4 else [distinct[0], "...", distinct[-1]]
            parts.append(f"{'full set: ' if is_full else ''}{', '.join(shown)}")
    return (f"{SCHEDULES[schedule].capitalize()}: {'; '.join(parts)}.",) if parts else ()
