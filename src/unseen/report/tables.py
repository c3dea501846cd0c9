"""Precision, recall and F1 in the form of the paper's Tables I-III, and what was labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from unseen.annotation import Agreement
from unseen.loop.curves import Curves, IterationSummary, balance, metrics_of, read_curves
from unseen.report.table import Cell, Column, Table, group_starts

#: More iterations than this are thinned out evenly, so that a table fits a page.
MAX_ITERATIONS = 8
#: Heading -> attribute, of one class and of all classes.
METRICS = {"Precision": "precision", "Recall": "recall", "F1 score": "f1"}
MEANS = {"Mean F1": "macro_f1", "AP": "mean_ap"}

#: The columns of a table: heading -> one iteration of one series.
_Points = Mapping[str, IterationSummary]


def build_tables(iterations: Sequence[IterationSummary], classes: Sequence[str]) -> list[Table]:
    """Performance on the test split, if a detector was evaluated, then the labelled boxes.

    Baselines may lack iteration 0, which all series share.
    """
    curves = read_curves(iterations)
    full = {} if curves.full is None else {"Full": curves.full}
    loop = {**_iterations(curves), **full}
    baselines = _baselines(curves)
    points = [p for s in curves.series for p in s.points] + list(full.values())
    if not points:
        return []
    tables = []
    if any(p.per_class for p in points):
        unequal = _unequal(curves)
        if len(classes) == 1:
            title = f"Performance on the test split, one class ({classes[0]})"
            tables.append(_performance(title, classes, loop))
            if curves.judged is not None and baselines:
                last = curves.judged.last
                title = f"The same number of images ({last.images}), chosen in different ways"
                compared = {curves.judged.label: last, **baselines}
                tables.append(_performance(title, classes, compared, unequal))
        else:
            title = "Performance on the test split"
            tables.append(_performance(title, classes, {**loop, **baselines}, unequal))
        notes = [*tables[-1].notes, *_gaps(curves, points, classes)]
        tables[-1] = replace(tables[-1], notes=notes)
    return [*tables, _labelled(classes, {**loop, **baselines})]


def agreement_tables(rows: Sequence[Agreement]) -> list[Table]:
    """How well each person agrees with labels that are known, if any were compared."""
    kinds = {"golden": "labelled test images", "second": "another person"}
    cells: list[Sequence[Cell]] = [
        (
            r.annotator,
            kinds[r.compared_with],
            r.label,
            *(str(n) for n in (r.images, r.agreed, r.missed, r.extra)),
            r.share,
        )
        for r in rows
    ]
    texts = [Column(name) for name in ("Person", "Compared with", "Class")]
    counts = [Column(name) for name in ("Images", "Agreed", "Missed", "More")]
    note = "Boxes of one class agree from an IoU of 0.5; agreement is Dice, as F1."
    table = Table(
        title="How well people label",
        columns=[*texts, *counts, Column("Agreement", "percent")],
        rows=cells,
        text_columns=3,
        notes=[note],
    )
    return [table] if rows else []


def performance_table(
    title: str,
    classes: Sequence[str],
    columns: Sequence[Column],
    value: Callable[[int, str | None, str], Cell],
    counts: Mapping[str, Sequence[Cell]] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """The form of Tables I (one class) and III: class x metric x column, then all classes.

    `value` gives the cell of the n-th column for a class (None: all) and a metric's name in records;
    `counts` are further rows.
    """
    blocks: dict[str | None, dict[str, str]] = {label: METRICS for label in classes}
    blocks[None] = MEANS
    rows: list[list[Cell]] = []
    for label, metrics in blocks.items():
        for i, (name, metric) in enumerate(metrics.items()):
            cells = [value(n, label, metric) for n, _ in enumerate(columns)]
            rows.append(["" if i else label or "All", name, *cells])
    rows += [["", name, *cells] for name, cells in (counts or {}).items()]
    texts = [Column("Class"), Column("Metric")]
    skipped = 1 if len(classes) == 1 else 0  # the column of the class
    return Table(
        title=title,
        columns=[*texts[skipped:], *columns],
        rows=[row[skipped:] for row in rows],
        text_columns=2 - skipped,
        notes=notes,
        groups=group_starts(rows),
    )


def _performance(
    title: str, classes: Sequence[str], points: _Points, notes: Sequence[str] = ()
) -> Table:
    each = list(points.values())

    def value(n: int, label: str | None, metric: str) -> Cell:
        cell: Cell = getattr(each[n] if label is None else metrics_of(each[n], label), metric, None)
        return cell

    counts = {"Images": [str(p.images) for p in each], "Boxes": [str(p.boxes) for p in each]}
    return performance_table(title, classes, _columns(points), value, counts, notes=notes)


def _labelled(classes: Sequence[str], points: _Points) -> Table:
    """Labelled boxes per class, and how balanced they are."""

    def row(name: str, value: Callable[[IterationSummary], Cell]) -> tuple[Cell, ...]:
        return (name, *map(value, points.values()))

    counts = [p.class_counts for p in points.values()]
    rows: list[tuple[Cell, ...]]
    rows = [(label, *(str(of.get(label, 0)) for of in counts)) for label in classes]
    rows += [row("All boxes", lambda p: str(p.boxes)), row("Images", lambda p: str(p.images))]
    notes = []
    if len(classes) > 1:
        rows.append(row("Balance", lambda p: balance(p.class_counts, classes)))
        notes = ["Balance: normalised entropy of the classes; 1 = equally many boxes of each."]
    return Table(
        title="Labelled boxes per class",
        columns=[Column("Class"), *_columns(points)],
        rows=rows,
        notes=notes,
        groups=frozenset({len(classes)}),
    )


def _columns(points: _Points) -> list[Column]:
    return [Column(name, "score") for name in points]


def _iterations(curves: Curves) -> dict[str, IterationSummary]:
    points = curves.judged.points if curves.judged else ()
    if len(points) > MAX_ITERATIONS:
        step = (len(points) - 1) / (MAX_ITERATIONS - 1)
        points = tuple(points[round(i * step)] for i in range(MAX_ITERATIONS))
    return {iteration_name(p.iteration): p for p in points}


def iteration_name(number: int) -> str:
    """As the paper calls it: "Init", "Iter1", ..."""
    return f"Iter{number}" if number else "Init"


def _baselines(curves: Curves) -> dict[str, IterationSummary]:
    """Each baseline at the judged loop's number of images, or else its newest iteration."""
    if curves.judged is None:
        return {}
    images = curves.judged.last.images
    return {s.label: s.at(images) or s.last for s in curves.others}


def _unequal(curves: Curves) -> list[str]:
    images = curves.judged.last.images if curves.judged else 0
    return [
        f"{s.label} was not run with {images} images; its column shows {s.last.images}."
        for s in curves.others
        if s.at(images) is None
    ]


def _gaps(curves: Curves, points: Sequence[IterationSummary], classes: Sequence[str]) -> list[str]:
    measured = [p.per_class for p in points if p.per_class]
    empty = [c for c in classes if not any(m[c].support for m in measured if c in m)]
    notes = [f"No boxes in the test split, so undefined (-): {', '.join(empty)}."] if empty else []
    n = len(curves.judged.points) if curves.judged else 0
    if n > MAX_ITERATIONS:
        notes.append(f"{MAX_ITERATIONS} of {n} iterations are shown.")
    return notes
