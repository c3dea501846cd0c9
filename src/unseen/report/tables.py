"""Precision, recall and F1 in the form of the paper's Tables I-III, as text, Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from unseen.detector import DETECTOR_NAMES
from unseen.loop.curves import Curves, balance, defined, metrics_of, read_curves
from unseen.loop.facts import fact
from unseen.loop.iteration import IterationSummary

#: More iterations than this are thinned out evenly; a table must fit a page.
MAX_ITERATIONS = 8
_METRICS = (("Precision", "precision"), ("Recall", "recall"), ("F1 score", "f1"))


@dataclass(frozen=True)
class Table:
    """One table, ready to be written in any form."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1  #: how many columns from the left are text; the rest are numbers
    notes: tuple[str, ...] = ()
    #: indices of rows that start a new group
    groups: frozenset[int] = field(default_factory=frozenset)
    #: (row, column) of cells in bold, in HTML and Markdown
    best: frozenset[tuple[int, int]] = field(default_factory=frozenset)


@dataclass(frozen=True)
class _Column:
    name: str
    point: IterationSummary | None


def comparison_table(
    iterations: Sequence[IterationSummary],
    classes: Sequence[str],
    facts: Mapping[str, object] | None = None,
) -> str:
    """The tables as plain text, to print.

    Args:
        iterations: all series; baselines may lack the shared iteration 0.
        classes: the fixed class list.
        facts: IoU, min_confidence, schedule and architecture are stated below the tables.

    Returns:
        Text; undefined values are "-".
    """
    tables = build_tables(iterations, classes, facts)
    return "\n\n".join(as_text(t) for t in tables) or "No iteration has been recorded yet."


def build_tables(
    iterations: Sequence[IterationSummary],
    classes: Sequence[str],
    facts: Mapping[str, object] | None = None,
) -> list[Table]:
    """The tables of a report: performance (where a detector was evaluated), then labelled boxes."""
    curves = read_curves(iterations)
    if curves.judged is None and curves.full is None:
        return []
    tables = []
    points = [p for s in curves.series for p in s.points] + [curves.full]
    if any(p is not None and p.per_class for p in points):
        if len(classes) == 1:
            tables += _single_class(curves, classes[0])
        else:
            tables.append(_multi_class(curves, classes))
        notes = _conditions(points, facts or {}) + _gaps(curves, points, classes)
        tables[-1] = Table(**{**vars(tables[-1]), "notes": (*tables[-1].notes, *notes)})
    tables.append(_labelled(curves, classes))
    return tables


def as_text(table: Table) -> str:
    """Columns padded with spaces."""
    lines = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in lines) for i in range(len(table.header))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.ljust(width) if i < table.text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    out = [table.title, rule, line(table.header), rule]
    for i, row in enumerate(table.rows):
        if i in table.groups and i:
            out.append("")
        out.append(line(row))
    return "\n".join([*out, rule, *table.notes])


def as_markdown(table: Table) -> str:
    """A pipe table."""

    def line(row: tuple[str, ...], index: int = -1) -> str:
        cells = map(_markdown_cell, row)
        bold = (f"**{c}**" if (index, i) in table.best else c for i, c in enumerate(cells))
        return "| " + " | ".join(bold) + " |"

    n = len(table.header)
    marks = [" --- " if i < table.text_columns else " ---: " for i in range(n)]
    parts = [f"**{_markdown_cell(table.title)}**", ""]
    parts += [line(table.header), "|" + "|".join(marks) + "|"]
    parts += [line(row, index) for index, row in enumerate(table.rows)]
    if table.notes:
        parts += ["", "  \n".join(_markdown_cell(note) for note in table.notes)]
    return "\n".join(parts)


def as_html(table: Table) -> str:
    """A `<table>` with a caption; all text is escaped."""

    def cells(row: tuple[str, ...], tag: str, index: int = -1) -> str:
        texts = [html.escape(cell) for cell in row]
        texts = [f"<b>{t}</b>" if (index, i) in table.best else t for i, t in enumerate(texts)]
        return "".join(
            f"<{tag}{'' if i < table.text_columns else ' class=n'}>{text}</{tag}>"
            for i, text in enumerate(texts)
        )

    body = "".join(
        f"<tr{' class=g' if i in table.groups else ''}>{cells(row, 'td', i)}</tr>"
        for i, row in enumerate(table.rows)
    )
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in table.notes)
    return (
        f"<div class=table><table><caption>{html.escape(table.title)}</caption>"
        f"<thead><tr>{cells(table.header, 'th')}</tr></thead><tbody>{body}</tbody></table></div>"
        f"{notes}"
    )


def number(value: float | None) -> str:
    """Two decimals, or "-" where undefined."""
    value = defined(value)
    return "-" if value is None else f"{value:.2f}"


# --- the tables ----------------------------------------------------------------------------------
def _single_class(curves: Curves, label: str) -> list[Table]:
    """Tables I and II: over the iterations, and against the baselines."""
    columns = _iteration_columns(curves) + _full_column(curves)
    tables = [
        Table(
            title=f"Performance on the test split, one class ({label})",
            header=("", *(c.name for c in columns)),
            rows=(*_metric_rows(label, columns), *_total_rows(columns)),
            groups=frozenset({3}),
        )
    ]
    if curves.judged is not None and curves.others:
        last = curves.judged.last
        columns = [_Column(curves.judged.label, last), *_baseline_columns(curves)]
        tables.append(
            Table(
                title=f"The same number of images ({last.images}), chosen in different ways",
                header=("", *(c.name for c in columns)),
                rows=(*_metric_rows(label, columns), *_total_rows(columns)),
                notes=_unequal(curves),
                groups=frozenset({3}),
            )
        )
    return tables


def _multi_class(curves: Curves, classes: Sequence[str]) -> Table:
    """Table III, with the baselines beside it."""
    columns = _iteration_columns(curves) + _full_column(curves) + _baseline_columns(curves)
    rows: list[tuple[str, ...]] = []
    groups = set()
    for label in classes:
        groups.add(len(rows))
        for i, row in enumerate(_metric_rows(label, columns)):
            rows.append(("" if i else label, *row))
    groups.add(len(rows))
    for i, row in enumerate(_total_rows(columns)):
        rows.append(("" if i else "All", *row))
    return Table(
        title="Performance on the test split",
        header=("Class", "Metric", *(c.name for c in columns)),
        rows=tuple(rows),
        text_columns=2,
        notes=_unequal(curves),
        groups=frozenset(groups),
    )


def _labelled(curves: Curves, classes: Sequence[str]) -> Table:
    """What was labelled: boxes per class, and how even they are."""
    columns = _iteration_columns(curves) + _full_column(curves) + _baseline_columns(curves)

    def row(name: str, value: Callable[[IterationSummary], str]) -> tuple[str, ...]:
        return (name, *("-" if c.point is None else value(c.point) for c in columns))

    rows = [row(label, lambda p, c=label: str(p.class_counts.get(c, 0))) for label in classes]  # type: ignore[misc]
    totals = [row("All boxes", lambda p: str(p.boxes)), row("Images", lambda p: str(p.images))]
    notes: tuple[str, ...] = ()
    if len(classes) > 1:
        totals.append(row("Balance", lambda p: number(balance(p.class_counts, classes))))
        notes = ("Balance: normalised entropy of the classes; 1 = equally many boxes of each.",)
    return Table(
        title="Labelled boxes per class",
        header=("Class", *(c.name for c in columns)),
        rows=(*rows, *totals),
        notes=notes,
        groups=frozenset({len(rows)}),
    )


# --- columns and rows ----------------------------------------------------------------------------
def _iteration_columns(curves: Curves) -> list[_Column]:
    points = curves.judged.points if curves.judged else ()
    if len(points) > MAX_ITERATIONS:
        step = (len(points) - 1) / (MAX_ITERATIONS - 1)
        points = tuple(points[round(i * step)] for i in range(MAX_ITERATIONS))
    return [_Column(f"Iter{p.iteration}" if p.iteration else "Init", p) for p in points]


def _full_column(curves: Curves) -> list[_Column]:
    return [_Column("Full", curves.full)] if curves.full else []


def _baseline_columns(curves: Curves) -> list[_Column]:
    """Each baseline at the judged loop's number of images, or else its newest iteration."""
    if curves.judged is None:
        return []
    images = curves.judged.last.images
    return [_Column(s.label, s.at(images) or s.last) for s in curves.others]


def _metric_rows(label: str, columns: Sequence[_Column]) -> list[tuple[str, ...]]:
    rows = []
    for name, attribute in _METRICS:
        found = [metrics_of(c.point, label) for c in columns]
        rows.append((name, *(number(getattr(m, attribute) if m else None) for m in found)))
    return rows


def _total_rows(columns: Sequence[_Column]) -> list[tuple[str, ...]]:
    points = [c.point for c in columns]
    return [
        ("Mean F1", *(number(p.macro_f1 if p else None) for p in points)),
        ("AP", *(number(p.mean_ap if p else None) for p in points)),
        ("Images", *(str(p.images) if p else "-" for p in points)),
        ("Boxes", *(str(p.boxes) if p else "-" for p in points)),
    ]


# --- notes ---------------------------------------------------------------------------------------
def _unequal(curves: Curves) -> tuple[str, ...]:
    if curves.judged is None:
        return ()
    images = curves.judged.last.images
    return tuple(
        f"{s.label} was not run with {images} images; its column shows {s.last.images}."
        for s in curves.others
        if s.at(images) is None
    )


def _conditions(
    points: Sequence[IterationSummary | None], facts: Mapping[str, object]
) -> tuple[str, ...]:
    """What the figures depend on: overlap, confidence, detector and its schedule."""
    parts = []
    if (iou := fact(facts, "iou")) is not None:
        parts.append(f"IoU {iou}")
    if (confidence := fact(facts, "min_confidence")) is not None:
        parts.append(f"predictions from confidence {confidence} on (AP: all)")
    if (images := fact(facts, "test_images")) is not None:
        parts.append(f"{images} test images")
    notes = ["Found: " + ", ".join(parts) + "."] if parts else []
    given = [p for p in points if p is not None]
    architecture = _distinct([p.architecture for p in given]) or fact(facts, "architecture")
    schedule = _distinct([p.schedule for p in given]) or fact(facts, "schedule")
    pretrained = {p.pretrained for p in given if p.pretrained is not None}
    if architecture or schedule:
        weights = {frozenset({True}): "pretrained", frozenset({False}): "from scratch"}
        names = sorted({DETECTOR_NAMES[p.detector or "faster_rcnn"] for p in given})
        what = [
            architecture and f"{' and '.join(names) or 'Detector'} ({architecture})",
            weights.get(frozenset(pretrained)),
        ]
        what += [f"schedule: {schedule}" if schedule else None]
        notes.append("Detector: " + ", ".join(str(w) for w in what if w) + ".")
    return tuple(notes)


def _gaps(
    curves: Curves, points: Sequence[IterationSummary | None], classes: Sequence[str]
) -> tuple[str, ...]:
    measured = [p.per_class for p in points if p is not None and p.per_class]
    empty = [c for c in classes if all(c not in m or m[c].support == 0 for m in measured)]
    notes = []
    if empty:
        notes.append(f"No boxes in the test split, so undefined (-): {', '.join(empty)}.")
    n = len(curves.judged.points) if curves.judged else 0
    if n > MAX_ITERATIONS:
        notes.append(f"{MAX_ITERATIONS} of {n} iterations are shown.")
    return tuple(notes)


def _distinct(values: Sequence[str | None]) -> str:
    found = list(dict.fromkeys(v for v in values if v))
    return "; ".join(found if len(found) <= 3 else [found[0], "...", found[-1]])


def _markdown_cell(text: str) -> str:
    return html.escape(text.replace("\n", " "), quote=False).replace("|", "\\|")
