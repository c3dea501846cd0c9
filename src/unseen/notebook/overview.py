"""What is shown of the answers of `unseen.overview`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

from unseen import overview_data as o
from unseen.notebook.card import Card, Link, Table, as_html, as_text, cell, table


def answer_text(answer: o.Plain) -> str:
    """A few lines for a terminal."""
    return as_text(answer_card(answer))


def answer_html(answer: o.Plain) -> str:
    """Sentence and tables for a notebook; everything is escaped."""
    return as_html(answer_card(answer))


def answer_card(answer: o.Plain) -> Card:
    """What matters of an answer, the sentence first."""
    card = _CARDS.get(type(answer), _plain)(answer)
    return replace(card, name=type(answer).__name__)


# --- now -------------------------------------------------------------------------------------------
def _now(now: o.Now) -> Card:
    best = now.next_action
    lines = [f"Next: {best.label}. {best.reason}", *now.hints]
    if now.batch:
        lines.append(_batch_text(now.batch))
    tables = [
        *_counts(now.counts).tables,
        *table([(a.label, a.reason) for a in now.other_actions], title="Or", text_columns=2),
    ]
    where = f"{now.dataset}, iteration {now.iteration}: "
    return _card(where + (now.empty_state or _counts(now.counts).heading), lines, tables)


def _counts(counts: o.Counts) -> Card:
    rows = [
        ("Labelled", f"{counts.labelled:,} images, {counts.boxes:,} boxes"),
        ("Pool", _with(counts.pool, counts.unscored, "not scored by the newest UNet")),
        ("Test split", _with(counts.test, counts.test_unlabelled, "without labels")),
        ("Out for labelling", cell(counts.out)),
        ("Excluded", cell(counts.excluded)),
    ]
    heading = (
        f"{counts.labelled:,} images labelled, {counts.pool:,} in the pool, "
        f"{counts.test:,} in the test split."
    )
    return _card(heading, tables=table(rows, text_columns=2))


def _batch(batch: o.Batch) -> Card:
    return _card(_batch_text(batch), [batch.problem] if batch.problem else [])


def _batch_text(batch: o.Batch) -> str:
    parts = [f"{batch.labelled:,} of {batch.images:,} images labelled"]
    if batch.backend and not batch.closed:
        parts.append(f"with the annotators ({batch.backend})")
    if batch.waiting_to_load:
        parts.append(f"{batch.waiting_to_load:,} done and waiting to be loaded")
    chosen = f" (chosen by {batch.strategy})" if batch.strategy else ""
    return f"{batch.name}{chosen}: {', '.join(parts)}."


def _facts(facts: o.Facts) -> Card:
    states = [("UNet", facts.unet), ("Scores", facts.scores), ("Detector", facts.detector)]
    lines = [_batch_text(facts.batch)] if facts.batch else []
    counts = _counts(facts.counts)
    return _card(
        f"Iteration {facts.iteration}: {counts.heading}",
        lines,
        [*counts.tables, *table(states, text_columns=2)],
    )


# --- ranking ---------------------------------------------------------------------------------------
def _ranking(ranking: o.Ranking) -> Card:
    where = f"{ranking.dataset}, ranked by {ranking.metric}: "
    if ranking.empty_state:
        return _card(where + ranking.empty_state)
    trust = _trust(ranking.trust)
    lines = [trust.heading, *trust.lines]
    if ranking.novelty:
        lines.append(_novelty_text(ranking.novelty))
    name = ranking.batch.name if ranking.batch else ""
    return _card(
        f"{where}{ranking.scored:,} images.", lines, _rows(ranking.rows, ranking.metric, name)
    )


def _rows(rows: Iterable[o.BatchRow], metric: str, title: str) -> list[Table]:
    shown = (
        (Link(row.filename, row.url), row.rank, row.value, row.regions, row.is_labelled)
        for row in rows
    )
    return table(shown, ("Image", "Rank", metric.capitalize(), "Regions", "Labelled"), title)


def _row(row: o.BatchRow) -> Card:
    state = "labelled" if row.is_labelled else "not labelled"
    return _card(f"{cell(row.rank)}. {row.filename}, {cell(row.value)}, {state}")


def _trust(trust: o.Trust) -> Card:
    return _card(f"How far to trust it: {trust.verdict}. {trust.sentence}", trust.details)


def _novelty(novelty: o.Novelty) -> Card:
    return _card(_novelty_text(novelty))


def _novelty_text(novelty: o.Novelty) -> str:
    return f"{novelty.share:.0%} of the pool is as novel as the median image of {novelty.batch}."


def _histogram(shown: o.Histogram) -> Card:
    return _card(
        f"{sum(shown.pool):,} images of the pool and {sum(shown.batch):,} of the batch in "
        f"{len(shown.pool)} bins, the highest value {cell(shown.maximum)}"
    )


# --- progress --------------------------------------------------------------------------------------
def _progress(progress: o.Progress) -> Card:
    if progress.empty_state:
        return _card(f"{progress.dataset}: {progress.empty_state}")
    heading = f"{progress.dataset}: measured on {cell(progress.test_images)} test images"
    heading += f" at IoU {progress.iou:g}." if progress.iou is not None else "."
    return _card(heading, tables=_points(progress.curves, progress.classes))


def _curve(curve: o.Curve) -> Card:
    measured = [p for p in curve.points if p.macro_f1 is not None]
    last = f", mean F1 {_two(measured[-1].macro_f1)}" if measured else ""
    classes = list(dict.fromkeys(label for p in curve.points for label in p.per_class))
    heading = f"{curve.label}: {len(curve.points)} iterations{last}"
    return _card(heading, tables=_points([curve], classes))


def _points(curves: Iterable[o.Curve], classes: Iterable[str]) -> list[Table]:
    classes = list(classes)
    rows = (
        (
            curve.label,
            p.iteration,
            p.images,
            p.boxes,
            _with_interval(p.macro_f1, p.macro_interval),
            _two(p.mean_ap),
            *(_two(p.per_class[k].f1) if k in p.per_class else None for k in classes),
        )
        for curve in curves
        for p in curve.points
    )
    header = ("Loop", "Iteration", "Images", "Boxes", "Mean F1 (95 %)", "AP")
    return table(rows, (*header, *(f"F1 {k}" for k in classes)), most=40)


def _point(point: o.Point) -> Card:
    heading = (
        f"Iteration {point.iteration}, {point.images:,} images, {point.boxes:,} boxes: mean F1 "
        f"{_with_interval(point.macro_f1, point.macro_interval)}, AP {_two(point.mean_ap)}"
    )
    return _card(heading, [_gain_text(point.gain)] if point.gain else [], _cells(point.per_class))


def _table_row(row: o.TableRow) -> Card:
    heading = (
        f"{row.label}, iteration {row.iteration}, {row.images:,} images: mean F1 "
        f"{_two(row.macro_f1)}, AP {_two(row.mean_ap)}"
    )
    return _card(heading, tables=_cells(row.cells))


def _cells(cells: dict[str, o.ClassPoint]) -> list[Table]:
    rows = [
        (
            label,
            c.support,
            _two(c.precision),
            _two(c.recall),
            _with_interval(c.f1, c.interval),
            _two(c.ap),
        )
        for label, c in cells.items()
    ]
    header = ("Class", "Test boxes", "Precision", "Recall", "F1 (95 %)", "AP")
    return table(rows, header, most=len(rows))


def _class_point(point: o.ClassPoint) -> Card:
    return _card(
        f"precision {_two(point.precision)}, recall {_two(point.recall)}, F1 "
        f"{_with_interval(point.f1, point.interval)} on {point.support:,} boxes"
    )


def _interval(interval: o.Interval) -> Card:
    return _card(_interval_text(interval))


def _gain(gain: o.Gain) -> Card:
    return _card(_gain_text(gain))


def _gain_text(gain: o.Gain) -> str:
    bounds = f" ({_interval_text(gain.interval, sign='+')})" if gain.interval else ""
    return (
        f"mean F1 {gain.macro_f1:+.2f}{bounds} since iteration {gain.since}, for {gain.images:,} "
        f"images with {gain.boxes:,} boxes"
    )


# --- the rest --------------------------------------------------------------------------------------
def _advice(advice: o.Advice) -> Card:
    about = f" {advice.class_name}" if advice.class_name else ""
    heading = f"{advice.recommendation.capitalize()}{about}: {advice.sentence}"
    return _card(heading, advice.details)


def _action(action: o.Action) -> Card:
    return _card(f"{action.label}. {action.reason}")


def _plain(answer: o.Plain) -> Card:
    """Every field, for answers without a function of their own."""
    rows = [(f.name.replace("_", " "), cell(getattr(answer, f.name))) for f in fields(answer)]
    return _card(", ".join(f"{k} {v}" for k, v in rows), tables=table(rows, text_columns=2))


_CARDS: dict[type[o.Plain], Callable[[Any], Card]] = {
    o.Action: _action,
    o.Counts: _counts,
    o.Batch: _batch,
    o.Facts: _facts,
    o.Now: _now,
    o.Histogram: _histogram,
    o.BatchRow: _row,
    o.Trust: _trust,
    o.Novelty: _novelty,
    o.Ranking: _ranking,
    o.Interval: _interval,
    o.Gain: _gain,
    o.ClassPoint: _class_point,
    o.Point: _point,
    o.Curve: _curve,
    o.TableRow: _table_row,
    o.Progress: _progress,
    o.Advice: _advice,
}


def _card(heading: str, lines: Iterable[str] = (), tables: Iterable[Table] = ()) -> Card:
    return Card(heading, list(lines), list(tables))


def _with(count: int, part: int, what: str) -> str:
    return f"{count:,}, {part:,} {what}" if part else f"{count:,}"


def _with_interval(value: float | None, interval: o.Interval | None) -> str:
    bounds = f" ({_interval_text(interval)})" if interval else ""
    return _two(value) + bounds


def _interval_text(interval: o.Interval, sign: str = "") -> str:
    return f"{interval.low:{sign}.2f} to {interval.high:{sign}.2f}"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
