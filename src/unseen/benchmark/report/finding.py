"""Tables of what was found: rare classes, balance, how well the scores separate, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from unseen.benchmark.report.figures import (
    Finding,
    Values,
    area_under_curve,
    equal_boxes,
    equal_images,
    finding,
    over_cases,
    over_seeds,
    spread,
    values_of,
)
from unseen.benchmark.report.runs import Benchmark, Run
from unseen.benchmark.report.table import Cell, Column, DataTable, Form, strategy_rows
from unseen.loop.curves import defined

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


def read_findings(benchmark: Benchmark) -> dict[str, dict[tuple[str, str, int], Finding]]:
    """What every run found: "images" or "boxes" -> (case, strategy, seed) -> figures."""
    weights = {"images": equal_images, "boxes": equal_boxes}
    return {
        name: {
            run.key: finding(run, of(benchmark, run)) for run in benchmark.runs if not run.is_full
        }
        for name, of in weights.items()
    }


def rare_boxes(benchmark: Benchmark, findings: Mapping[tuple[str, str, int], Finding]) -> Values:
    """The main measure: share of the boxes of rare classes found."""
    return values_of(benchmark, lambda run: findings[run.key].rare_boxes)


def finding_tables(
    benchmark: Benchmark, findings: Mapping[str, Mapping[tuple[str, str, int], Finding]]
) -> list[DataTable]:
    """Rare boxes found at equal images and at equal boxes, then everything else that was found."""
    tables = []
    for name, work in EQUAL.items():
        values = rare_boxes(benchmark, findings[name])
        if not values:
            continue
        notes = [
            "Share of the boxes of rare classes that the pool holds beyond the initial images; mean "
            "+- standard deviation over seeds; the highest in bold."
        ]
        if name == "boxes":
            notes.append(
                "Each strategy is cut where it has as many boxes as the one that labelled fewest on "
                "the same dataset and seed: drawing boxes is the work."
            )
        elif benchmark.is_uneven():
            notes.append(
                "Runs that labelled more images than others are cut at the smallest number."
            )
        tables.append(
            by_case(
                f"rare_boxes_equal_{name}",
                f"Rare boxes found, in %, for {work}",
                benchmark,
                values,
                "percent",
                notes,
            )
        )
    if tables:
        tables.append(_other_readings(benchmark, findings["images"]))
    return tables


def by_case(
    key: str,
    title: str,
    benchmark: Benchmark,
    values: Values,
    form: Form,
    notes: Sequence[str] = (),
    *,
    best: bool = True,
) -> DataTable:
    """One row per strategy, one column per case, the last one the mean over the cases."""
    cases = [c for c in benchmark.cases if any(c == case for case, _ in values)]
    columns = [_STRATEGY, *(Column(f"case:{c}", c, form) for c in cases)]
    cells: dict[str, Mapping[str, Cell]] = {
        f"case:{c}": {s: over_seeds(values, c, s) for s in benchmark.strategies} for c in cases
    }
    if len(cases) > 1:
        columns.append(Column("mean", "Mean", form))
        cells["mean"] = {s: over_cases(values, cases, s) for s in benchmark.strategies}
        if any(
            cells["mean"][s] is None and over_seeds(values, c, s)
            for s in benchmark.strategies
            for c in cases
        ):
            notes = [*notes, "No mean where a strategy was not run on every dataset."]
    return DataTable(
        key,
        title,
        tuple(columns),
        strategy_rows(benchmark.strategies, cells),
        notes=tuple(notes),
        best="high" if best else "",
    )


def _other_readings(
    benchmark: Benchmark, findings: Mapping[tuple[str, str, int], Finding]
) -> DataTable:
    readings: dict[str, tuple[str, Form, Callable[[Run], float | None]]] = {
        "rare_images": ("Rare images, %", "percent", lambda r: findings[r.key].rare_images),
        "area": ("Area under curve", "score", lambda r: area_under_curve(benchmark, r)),
        "balance": ("Balance", "score", lambda r: findings[r.key].balance),
        "entropy": ("Entropy, nats", "score", lambda r: findings[r.key].entropy),
        "boxes": ("Boxes labelled", "seconds", lambda r: findings[r.key].boxes),
    }
    cells: dict[str, Mapping[str, Cell]] = {}
    columns = [_STRATEGY]
    for key, (label, form, measure) in readings.items():
        values = values_of(benchmark, measure)
        if values:
            columns.append(Column(key, label, form))
            cells[key] = {s: over_cases(values, benchmark.cases, s) for s in benchmark.strategies}
    where = "" if len(benchmark.cases) == 1 else ", mean over the datasets"
    return DataTable(
        "other_readings",
        f"What else was found, for the same number of images{where}",
        tuple(columns),
        strategy_rows(benchmark.strategies, cells),
        notes=(
            "Rare images: share of the images with a rare class beyond the initial ones that were "
            "labelled. Area under the curve of rare boxes over images: near 1 = all found at "
            "once, .5 = all found, evenly.",
            "Balance: entropy of the classes of all labelled boxes over its maximum; 1 = equally "
            "many boxes of each class.",
        ),
    )


def separation_table(benchmark: Benchmark) -> DataTable | None:
    """AUROC of the scores, for pixels and images of rare classes; None where none was measured."""
    readings = {"pixel_auroc": "pixels", "image_auroc": "images"}
    moments = {"first batch": slice(0, 1), "all batches": slice(None)}
    measured = {
        (key, moment): values_of(
            benchmark,
            partial(_mean_score, key=key, moment=place),
        )
        for key in readings
        for moment, place in moments.items()
    }
    cases = [c for c in benchmark.cases if any(c == k[0] for v in measured.values() for k in v)]
    if not cases:
        return None
    rows: list[Mapping[str, Cell]] = []
    for name in benchmark.strategies:
        start = len(rows)
        for (key, moment), values in measured.items():
            found: dict[str, Cell] = {c: over_seeds(values, c, name) for c in cases}
            if any(cell is not None for cell in found.values()):
                row: dict[str, Cell] = {f"case:{c}": cell for c, cell in found.items()}
                row["strategy"] = name if len(rows) == start else ""
                row["reading"] = f"{readings[key]}, {moment}"
                row["mean"] = over_cases(values, cases, name)
                rows.append(row)
    columns = [
        _STRATEGY,
        Column("reading", "Of"),
        *(Column(f"case:{c}", c, "score") for c in cases),
    ]
    if len(cases) > 1:
        columns.append(Column("mean", "Mean", "score"))
    return DataTable(
        "separation",
        "How well the score separates rare classes (AUROC)",
        tuple(columns),
        tuple(rows),
        text_columns=2,
        notes=(
            ".5 = not at all, 1 = perfectly. Pixels: of boxes of rare classes against all others; "
            "images: those that hold a rare class against the others of the pool. Once a class has "
            "been labelled it is no longer unseen: the first batch says most.",
        ),
        group=True,
    )


def cost_table(benchmark: Benchmark) -> DataTable | None:
    """Seconds per iteration; None where none was measured."""
    cells: dict[str, dict[str, Cell]] = {}
    for key in _COSTS:
        for name in benchmark.strategies:
            runs = [r for r in benchmark.runs if r.strategy == name]
            entries = [entry for r in runs for entry in r.iterations]
            found = spread([s for e in entries if (s := _seconds(e, key)) is not None])
            if found is not None:
                cells.setdefault(key, {})[name] = found.mean
    if not cells:
        return None
    machines = list(dict.fromkeys(r.machine for r in benchmark.runs if r.machine))
    notes = [f"Measured on {'; '.join(machines)}."] if machines else []
    if len(machines) > 1:
        notes.append("Times of different machines are in one mean.")
    return DataTable(
        "cost",
        "Seconds per iteration",
        (_STRATEGY, *(Column(key, _COSTS[key], "seconds") for key in cells)),
        strategy_rows(benchmark.strategies, cells),
        notes=tuple(notes),
    )


def _mean_score(run: Run, key: str, moment: slice) -> float | None:
    scores = [e.get("score") for e in run.iterations][moment]
    found = [v for s in scores if s and (v := defined(s.get(key))) is not None]
    return float(np.mean(found)) if found else None


def _seconds(entry: Mapping[str, object], key: str) -> float | None:
    seconds = entry.get("seconds")
    if isinstance(seconds, Mapping) and key in ("epochs", "steps"):
        seconds = seconds.get("train_detector")
    value = seconds.get(key) if isinstance(seconds, Mapping) else None
    return defined(float(value)) if isinstance(value, (int, float)) else None
