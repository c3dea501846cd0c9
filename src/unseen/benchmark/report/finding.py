"""Tables of what was found: rare classes, balance, how well the scores separate, and the cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from unseen.benchmark.report.measures import (
    Finding,
    Values,
    area_under_curve,
    equal_boxes,
    equal_images,
    finding,
    over_cases,
    over_seeds,
    values_of,
)
from unseen.benchmark.report.runs import Benchmark, Run
from unseen.loop.curves import FULL, defined
from unseen.report.table import Cell, Column, Form, Table, group_starts

#: (case, strategy, seed) -> figures.
Findings = Mapping[tuple[str, str, int], Finding]

#: Two readings of "the same work".
EQUAL = {"images": "the same number of images", "boxes": "the same number of boxes"}
_STRATEGY = Column("strategy", "Strategy")
#: Seconds of a record's iteration, and how the table calls them.
_COSTS = {
    "train_unet": "Train the UNet",
    "score": "Score the pool",
    "select": "Choose the batch",
    "epochs": "Train the detector (equal epochs)",
    "steps": "Train the detector (equal steps)",
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
    """Rare boxes found at equal images and at equal boxes, then everything else that was found."""
    is_uneven = any(
        len(r.labelled) > benchmark.images[r.case, r.seed] for r in benchmark.choosing()
    )
    cut = {
        "boxes": "Each strategy is cut where it has as many boxes as the one that labelled fewest on "
        "the same dataset and seed: drawing boxes is the work.",
        "images": "Runs that labelled more images than others are cut at the smallest number.",
    }
    tables = []
    for name, work in EQUAL.items():
        notes = [
            "Share of the boxes of rare classes that the pool holds beyond the initial images; mean "
            "+- standard deviation over seeds; the highest in bold."
        ]
        if name == "boxes" or is_uneven:
            notes.append(cut[name])
        values = rare_boxes(benchmark, findings[name])
        title = f"Rare boxes found, in %, for {work}"
        if values:
            key = f"rare_boxes_equal_{name}"
            tables.append(by_case(key, title, benchmark, {"": values}, "percent", notes))
    if tables:
        tables.append(_other_readings(benchmark, findings["images"]))
    return tables


def by_case(
    key: str,
    title: str,
    benchmark: Benchmark,
    readings: Mapping[str, Values],
    form: Form,
    notes: Sequence[str] = (),
) -> Table:
    """One row per strategy (full set last) and reading, one column per case, then their mean."""
    measured = {case for values in readings.values() for case, _ in values}
    cases = [case for case in benchmark.cases if case in measured]
    several = len(readings) > 1
    rows: list[list[Cell]] = []
    for name in (*benchmark.strategies, FULL):
        start = len(rows)
        for reading, values in readings.items():
            if any((case, name) in values for case in cases):
                names = ["" if len(rows) > start else name, *([reading] if several else [])]
                means = [over_cases(values, name)] if len(cases) > 1 else []
                rows.append([*names, *(over_seeds(values, case, name) for case in cases), *means])
    columns = [_STRATEGY, *([Column("reading", "Of")] if several else [])]
    columns += [Column(f"case:{case}", case, form) for case in cases]
    if len(cases) > 1:
        columns.append(Column("mean", "Mean", form))
        if any(row[-1] is None for row in rows):
            notes = [*notes, "No mean where a strategy was not run on every dataset."]
    return Table(
        key=key,
        title=title,
        columns=columns,
        rows=rows,
        text_columns=1 + several,
        notes=notes,
        groups=group_starts(rows) if several else frozenset(),
        has_best=not several,
        unranked=frozenset(i for i, row in enumerate(rows) if row[0] == FULL),
    )


def _other_readings(benchmark: Benchmark, findings: Findings) -> Table:
    readings: dict[Column, Callable[[Run], float | None]] = {
        Column("rare_images", "Rare images, %", "percent"): lambda r: findings[r.key].rare_images,
        Column("area", "Area under curve", "score"): lambda r: area_under_curve(benchmark, r),
        Column("balance", "Balance", "score"): lambda r: findings[r.key].balance,
        Column("entropy", "Entropy, nats", "score"): lambda r: findings[r.key].entropy,
        Column("boxes", "Boxes labelled", "tenths"): lambda r: findings[r.key].boxes,
    }
    values = {column: values_of(benchmark.choosing(), of) for column, of in readings.items()}
    cells = {
        column: {s: over_cases(each, s) for s in benchmark.strategies}
        for column, each in values.items()
        if each
    }
    where = "" if len(benchmark.cases) == 1 else ", mean over the datasets"
    return _by_strategy(
        "other_readings",
        f"What else was found, for the same number of images{where}",
        benchmark,
        cells,
        [
            "Rare images: share of the images with a rare class beyond the initial ones that were "
            "labelled. Area under the curve of rare boxes over images: near 1 = all found at "
            "once, .5 = all found, evenly.",
            "Balance: entropy of the classes of all labelled boxes over its maximum; 1 = equally "
            "many boxes of each class.",
        ],
    )


def _by_strategy(
    key: str,
    title: str,
    benchmark: Benchmark,
    cells: Mapping[Column, Mapping[str, float | None]],
    notes: Sequence[str],
) -> Table:
    """One row per strategy with a cell in any column."""
    rows = [[name, *(each.get(name) for each in cells.values())] for name in benchmark.strategies]
    rows = [row for row in rows if any(cell is not None for cell in row[1:])]
    return Table(key=key, title=title, columns=[_STRATEGY, *cells], rows=rows, notes=notes)


def separation_table(benchmark: Benchmark) -> Table | None:
    """AUROC of the scores, for pixels and images of rare classes; None where none was measured."""
    measured = {
        f"{what}, {moment}": values_of(benchmark.choosing(), _mean_score(key, place))
        for what, key in (("pixels", "pixel_auroc"), ("images", "image_auroc"))
        for moment, place in (("first batch", slice(0, 1)), ("all batches", slice(None)))
    }
    notes = [
        ".5 = not at all, 1 = perfectly. Pixels: of boxes of rare classes against all others; "
        "images: those that hold a rare class against the others of the pool. Once a class has "
        "been labelled it is no longer unseen: the first batch says most."
    ]
    title = "How well the score separates rare classes (AUROC)"
    return (
        by_case("separation", title, benchmark, measured, "score", notes)
        if any(measured.values())
        else None
    )


def cost_table(benchmark: Benchmark) -> Table | None:
    """Mean seconds per iteration; None where none was measured."""
    cells: dict[Column, dict[str, float | None]] = {}
    for key, label in _COSTS.items():
        for name in benchmark.strategies:
            runs = [r for r in benchmark.runs if r.strategy == name]
            seconds = [s for r in runs for e in r.iterations if (s := _seconds(e, key)) is not None]
            if seconds:
                column = Column(key, label, "tenths")
                cells.setdefault(column, {})[name] = float(np.mean(seconds))
    if not cells:
        return None
    machines = list(dict.fromkeys(r.machine for r in benchmark.runs if r.machine))
    notes = [f"Measured on {'; '.join(machines)}."] if machines else []
    if len(machines) > 1:
        notes.append("Times of different machines are in one mean.")
    return _by_strategy("cost", "Seconds per iteration", benchmark, cells, notes)


def _mean_score(key: str, moment: slice) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        scores = [e["score"] for e in run.iterations[moment] if e.get("score")]
        values = [v for s in scores if (v := defined(s.get(key))) is not None]
        return float(np.mean(values)) if values else None

    return read


def _seconds(entry: Mapping[str, Mapping[str, object]], key: str) -> float | None:
    seconds = entry["seconds"]
    if key in ("epochs", "steps"):
        seconds = seconds.get("train_detector") or {}  # type: ignore[assignment]
    value = seconds.get(key)
    return float(value) if isinstance(value, (int, float)) else None
