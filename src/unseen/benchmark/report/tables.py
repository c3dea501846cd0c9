"""Tables of what was found: rare classes, class balance, separation of the scores, and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from unseen.benchmark.report.measures import (
    Finding,
    Values,
    equal_boxes,
    equal_images,
    finding,
    over_cases,
    over_seeds,
    values_of,
)
from unseen.benchmark.report.runs import Benchmark, Run
from unseen.loop.curves import FULL
from unseen.report.table import Cell, Column, Form, Table

#: (case, strategy, seed) -> figures.
Findings = Mapping[tuple[str, str, int], Finding]

#: Two readings of "the same work".
EQUAL = {"images": "the same number of images", "boxes": "the same number of boxes"}
#: Seconds of an iteration, and how the table calls them.
_COSTS = {
    "train_unet": "Train the UNet",
    "score": "Score the pool",
    "train_detector": "Train the detector",
}


def read_findings(benchmark: Benchmark) -> dict[str, Findings]:
    """What every run found at equal "images" and at equal "boxes"."""
    weights = {"images": equal_images, "boxes": equal_boxes}
    return {
        name: {run.key: finding(run, of(benchmark, run)) for run in benchmark.choosing()}
        for name, of in weights.items()
    }


def rare_boxes(benchmark: Benchmark, findings: Findings) -> Values:
    """The main measure: share of the boxes of rare classes found."""
    return values_of(benchmark.choosing(), lambda run: findings[run.key].rare_boxes)


def finding_tables(benchmark: Benchmark, findings: Mapping[str, Findings]) -> list[Table]:
    """Rare boxes found at equal images and at equal boxes, then the other figures."""
    tables = []
    for name, work in EQUAL.items():
        notes = [
            "Share of the boxes of rare classes that the pool holds beyond the initial images; mean "
            "+- standard deviation over seeds; the highest in bold. Each strategy is cut at the "
            f"{name} of the one that labelled fewest on the same dataset and seed."
        ]
        if values := rare_boxes(benchmark, findings[name]):
            title = f"Rare boxes found, in %, for {work}"
            tables.append(by_case(title, benchmark, values, "percent", notes))
    return [*tables, _other_readings(benchmark, findings["images"])] if tables else []


def by_case(
    title: str, benchmark: Benchmark, values: Values, form: Form, notes: Sequence[str] = ()
) -> Table:
    """One row per strategy, the full set last; one column per case, then their mean."""
    cases = [case for case in benchmark.cases if any(case == c for c, _ in values)]
    names = [n for n in (*benchmark.strategies, FULL) if any(n == s for _, s in values)]
    rows: list[list[Cell]] = [[n, *(over_seeds(values, case, n) for case in cases)] for n in names]
    columns = [Column("Strategy"), *(Column(case, form) for case in cases)]
    if len(cases) > 1:
        columns.append(Column("Mean", form))
        for row, name in zip(rows, names, strict=True):
            row.append(over_cases(values, name))
        if any(row[-1] is None for row in rows):
            notes = [*notes, "No mean for a strategy that was not run on every dataset."]
    return Table(
        title=title,
        columns=columns,
        rows=rows,
        notes=notes,
        has_best=True,
        unranked=frozenset(i for i, name in enumerate(names) if name == FULL),
        seeds=len(benchmark.seeds),
    )


def separation_table(benchmark: Benchmark) -> Table | None:
    """Pixel AUROC of the scores before the first batch; None without any."""

    def read(run: Run) -> float | None:
        score = run.iterations[0]["score"]
        return score["pixel_auroc"] if score else None

    values = values_of(benchmark.choosing(), read)
    title = "Pixel AUROC of the score on rare classes, before the first batch"
    notes = ["Pixels in boxes of rare classes against all others: .5 = chance, 1 = perfect."]
    return by_case(title, benchmark, values, "score", notes) if values else None


def cost_table(benchmark: Benchmark) -> Table | None:
    """Mean seconds per iteration; None without any."""
    cells: dict[Column, dict[str, float | None]] = {}
    for key, label in _COSTS.items():
        for name in benchmark.strategies:
            entries = [
                e["seconds"] for r in benchmark.runs if r.strategy == name for e in r.iterations
            ]
            seconds = [s for entry in entries if (s := entry.get(key)) is not None]
            if seconds:
                cells.setdefault(Column(label, "tenths"), {})[name] = float(np.mean(seconds))
    if not cells:
        return None
    machines = "; ".join(dict.fromkeys(r.machine for r in benchmark.runs))
    return _by_strategy("Seconds per iteration", benchmark, cells, [f"Measured on {machines}."])


def _other_readings(benchmark: Benchmark, findings: Findings) -> Table:
    readings: dict[Column, Callable[[Run], float | None]] = {
        Column("Rare images, %", "percent"): lambda r: findings[r.key].rare_images,
        Column("Balance", "score"): lambda r: findings[r.key].balance,
        Column("Boxes labelled", "tenths"): lambda r: findings[r.key].boxes,
    }
    cells = {
        column: {s: over_cases(values, s) for s in benchmark.strategies}
        for column, of in readings.items()
        if (values := values_of(benchmark.choosing(), of))
    }
    where = "" if len(benchmark.cases) == 1 else ", mean over the datasets"
    notes = [
        "Rare images: share of the images with a rare class, beyond the initial ones. Balance: "
        "normalised entropy of the labelled boxes, 1 = as many of each class."
    ]
    title = f"Other figures for the same number of images{where}"
    return _by_strategy(title, benchmark, cells, notes)


def _by_strategy(
    title: str,
    benchmark: Benchmark,
    cells: Mapping[Column, Mapping[str, float | None]],
    notes: Sequence[str],
) -> Table:
    """One row per strategy with a cell in any column."""
    rows = [[name, *(each.get(name) for each in cells.values())] for name in benchmark.strategies]
    rows = [row for row in rows if any(cell is not None for cell in row[1:])]
    return Table(title=title, columns=[Column("Strategy"), *cells], rows=rows, notes=notes)
