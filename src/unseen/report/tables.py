"""Precision, recall and F1 in the form of the paper's Tables I-III, and what was labelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from unseen.detector import detectors
from unseen.loop.curves import Curves, balance, metrics_of, read_curves
from unseen.loop.facts import fact
from unseen.loop.iteration import IterationSummary
from unseen.report.table import Cell, Column, Table, group_starts

#: More iterations than this are thinned out evenly; a table must fit a page.
MAX_ITERATIONS = 8
#: Metrics of a class and of all classes: how the tables call them -> attribute.
METRICS = {"Precision": "precision", "Recall": "recall", "F1 score": "f1"}
MEANS = {"Mean F1": "macro_f1", "AP": "mean_ap"}

#: The columns of a table: heading -> one iteration of one series.
_Points = Mapping[str, IterationSummary]
_Rows = list[tuple[Cell, ...]]


def build_tables(
    iterations: Sequence[IterationSummary],
    classes: Sequence[str],
    facts: Mapping[str, object] | None = None,
) -> list[Table]:
    """Performance on the test split where a detector was evaluated, then the labelled boxes.

    Baselines may lack the shared iteration 0. The facts IoU, min_confidence, schedule and architecture
    are stated below the tables.
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
        if len(classes) == 1:
            (label,) = classes
            title = f"Performance on the test split, one class ({label})"
            tables.append(_single_class(title, label, loop))
            if curves.judged is not None and baselines:
                last = curves.judged.last
                title = f"The same number of images ({last.images}), chosen in different ways"
                compared = {curves.judged.label: last, **baselines}
                tables.append(_single_class(title, label, compared, _unequal(curves)))
        else:
            tables.append(_multi_class(classes, {**loop, **baselines}, _unequal(curves)))
        notes = [*_conditions(points, facts or {}), *_gaps(curves, points, classes)]
        tables[-1] = replace(tables[-1], notes=[*tables[-1].notes, *notes])
    return [*tables, _labelled(classes, {**loop, **baselines})]


def _single_class(title: str, label: str, points: _Points, notes: Sequence[str] = ()) -> Table:
    """Tables I and II: over the iterations, and against the baselines."""
    return Table(
        title=title,
        columns=_columns([""], points),
        rows=[*_metric_rows(label, points), *_total_rows(points)],
        notes=notes,
        groups=frozenset({len(METRICS)}),
    )


def _multi_class(classes: Sequence[str], points: _Points, notes: Sequence[str]) -> Table:
    """Table III, with the baselines beside it."""
    blocks = {label: _metric_rows(label, points) for label in classes}
    blocks["All"] = _total_rows(points)
    rows: _Rows = [
        ("" if i else label, *row) for label, block in blocks.items() for i, row in enumerate(block)
    ]
    return Table(
        title="Performance on the test split",
        columns=_columns(["Class", "Metric"], points),
        rows=rows,
        text_columns=2,
        notes=notes,
        groups=group_starts(rows),
    )


def _labelled(classes: Sequence[str], points: _Points) -> Table:
    """Labelled boxes per class, and how balanced they are."""

    def row(name: str, value: Callable[[IterationSummary], Cell]) -> tuple[Cell, ...]:
        return (name, *map(value, points.values()))

    rows = [row(label, lambda p, c=label: str(p.class_counts.get(c, 0))) for label in classes]  # type: ignore[misc]
    rows += [row("All boxes", lambda p: str(p.boxes)), row("Images", lambda p: str(p.images))]
    notes = []
    if len(classes) > 1:
        rows.append(row("Balance", lambda p: balance(p.class_counts, classes)))
        notes = ["Balance: normalised entropy of the classes; 1 = equally many boxes of each."]
    return Table(
        title="Labelled boxes per class",
        columns=_columns(["Class"], points),
        rows=rows,
        notes=notes,
        groups=frozenset({len(classes)}),
    )


# --- columns and rows ----------------------------------------------------------------------------
def _columns(texts: Sequence[str], points: _Points) -> list[Column]:
    return [*(Column(t, t) for t in texts), *(Column(name, name, "score") for name in points)]


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


def _metric_rows(label: str, points: _Points) -> _Rows:
    measured = [metrics_of(p, label) for p in points.values()]
    return [(name, *(getattr(m, key, None) for m in measured)) for name, key in METRICS.items()]


def _total_rows(points: _Points) -> _Rows:
    each = points.values()
    means: _Rows = [(name, *(getattr(p, key) for p in each)) for name, key in MEANS.items()]
    counts = {"Images": "images", "Boxes": "boxes"}
    return means + [(name, *(str(getattr(p, key)) for p in each)) for name, key in counts.items()]


# --- notes ---------------------------------------------------------------------------------------
def _unequal(curves: Curves) -> list[str]:
    images = curves.judged.last.images if curves.judged else 0
    return [
        f"{s.label} was not run with {images} images; its column shows {s.last.images}."
        for s in curves.others
        if s.at(images) is None
    ]


def _conditions(points: Sequence[IterationSummary], facts: Mapping[str, object]) -> list[str]:
    """What the figures depend on: overlap, confidence, detector and its schedule."""
    texts = {
        "iou": "IoU {}",
        "min_confidence": "predictions from confidence {} on (AP: all)",
        "test_images": "{} test images",
    }
    parts = [t.format(known) for key, t in texts.items() if (known := fact(facts, key)) is not None]
    notes = ["Found: " + ", ".join(parts) + "."] if parts else []
    architecture = _distinct([p.architecture for p in points]) or fact(facts, "architecture")
    schedule = _distinct([p.schedule for p in points]) or fact(facts, "schedule")
    if architecture or schedule:
        names = sorted({detectors()[p.detector or "faster_rcnn"].label for p in points})
        pretrained = {p.pretrained for p in points} - {None}
        weights = "pretrained" if True in pretrained else "from scratch"
        weights = weights if len(pretrained) == 1 else ""
        parts = [f"{' and '.join(names)} ({architecture})"] if architecture else []
        parts += [weights, f"schedule: {schedule}" if schedule else ""]
        notes.append("Detector: " + ", ".join(filter(None, parts)) + ".")
    return notes


def _gaps(curves: Curves, points: Sequence[IterationSummary], classes: Sequence[str]) -> list[str]:
    measured = [p.per_class for p in points if p.per_class]
    empty = [c for c in classes if not any(m[c].support for m in measured if c in m)]
    notes = [f"No boxes in the test split, so undefined (-): {', '.join(empty)}."] if empty else []
    n = len(curves.judged.points) if curves.judged else 0
    if n > MAX_ITERATIONS:
        notes.append(f"{MAX_ITERATIONS} of {n} iterations are shown.")
    return notes


def _distinct(values: Sequence[str | None]) -> str:
    texts = list(dict.fromkeys(filter(None, values)))
    return "; ".join(texts if len(texts) <= 3 else [texts[0], "...", texts[-1]])
