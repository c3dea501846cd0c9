"""Learning curves with intervals, from the records and the counts per test image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from unseen.arrays.bootstrap import Bounds, F1Intervals, f1_intervals, gain_interval
from unseen.loop.curves import IterationSummary, balance, defined
from unseen.loop.overview_data import ClassPoint, Curve, Gain, Interval, Point, Progress, TableRow


class Counted(Protocol):
    """True positives, false positives and misses of one evaluation."""

    @property
    def ids(self) -> Sequence[str]:
        """The test images."""

    @property
    def counts(self) -> np.ndarray:
        """(images, classes, 3)."""


#: Series, strategy, label for people, iterations in order.
Drawn = tuple[str, str, str, Sequence[IterationSummary]]


def build_progress(
    dataset: str,
    classes: Sequence[str],
    drawn: Sequence[Drawn],
    counts: Mapping[str, Counted],
    *,
    main: str,
    evaluations: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Any],
    empty_state: str | None,
) -> Progress:
    """Curves, table and intervals.

    Args:
        dataset: its name.
        classes: the fixed class list, the order of the classes in `counts`.
        drawn: the loops, the judged one first.
        counts: evaluation key -> counts per test image, where FiftyOne still has the evaluation.
        main: the series that the overview is about.
        evaluations: evaluation key -> FiftyOne's config, of those that it can open, oldest first.
        settings: test_images, iou and min_confidence of the evaluations.
        empty_state: what to do first, where nothing was measured.
    """
    intervals: dict[str, F1Intervals] = {}
    curves = []
    for series, strategy, label, points in sorted(drawn, key=lambda d: d[0] != main):
        made: list[Point] = []
        for summary in points:
            key = summary.eval_key or ""
            if key in counts and key not in intervals:
                intervals[key] = f1_intervals(counts[key].counts)
            point = _point(summary, classes, counts.get(key), intervals.get(key))
            config = evaluations.get(key, {})
            point = replace(
                point, predictions=config.get("pred_field"), gt_field=config.get("gt_field")
            )
            made.append(point)
        made = _with_gains(made, counts)
        is_main = series == main and strategy != "full"
        curves.append(
            Curve(series=series, strategy=strategy, label=label, is_main=is_main, points=made)
        )
    rows = [
        TableRow(
            series=curve.series,
            label=curve.label,
            iteration=point.iteration,
            images=point.images,
            boxes=point.boxes,
            macro_f1=point.macro_f1,
            mean_ap=point.mean_ap,
            cells=point.per_class,
            eval_key=point.eval_key,
        )
        for curve in curves
        for point in curve.points
        if point.per_class
    ]
    return Progress(
        dataset=dataset,
        classes=list(classes),
        curves=curves,
        rows=rows,
        eval_keys=[key for key in evaluations if key in counts],
        empty_state=empty_state,
        **settings,
    )


def _point(
    summary: IterationSummary,
    classes: Sequence[str],
    counted: Counted | None,
    found: F1Intervals | None,
) -> Point:
    cells = {}
    for name, metrics in (summary.per_class or {}).items():
        tp = fp = fn = bounds = None
        if counted is not None and found is not None and name in classes:
            k = list(classes).index(name)
            tp, fp, fn = (int(n) for n in counted.counts[:, k].sum(axis=0))
            bounds = found.per_class[k]
        cells[name] = ClassPoint(
            precision=metrics.precision,
            recall=metrics.recall,
            f1=metrics.f1,
            support=metrics.support,
            ap=defined(metrics.ap),
            interval=_interval(bounds),
            tp=tp,
            fp=fp,
            fn=fn,
        )
    return Point(
        iteration=summary.iteration,
        images=summary.images,
        boxes=summary.boxes,
        class_counts=dict(summary.class_counts),
        balance=balance(summary.class_counts, classes),
        macro_f1=defined(summary.macro_f1),
        macro_interval=_interval(found.macro if found else None),
        mean_ap=defined(summary.mean_ap),
        per_class=cells,
        eval_key=summary.eval_key if counted is not None else None,
    )


def _with_gains(points: Sequence[Point], counts: Mapping[str, Counted]) -> list[Point]:
    """Every measured point with what it gained over the one and the two measured before it."""
    made: list[Point] = []
    measured: list[Point] = []
    for point in points:
        if point.macro_f1 is not None:
            one = _gain(measured[-1], point, counts) if measured else None
            two = _gain(measured[-2], point, counts) if len(measured) > 1 else None
            point = replace(point, gain=one, gain_two=two)
            measured.append(point)
        made.append(point)
    return made


def _gain(before: Point, after: Point, counts: Mapping[str, Counted]) -> Gain:
    assert before.macro_f1 is not None
    assert after.macro_f1 is not None
    bounds = None
    if before.eval_key and after.eval_key:
        bounds = gain_interval(*_common(counts[before.eval_key], counts[after.eval_key]))
    return Gain(
        macro_f1=after.macro_f1 - before.macro_f1,
        interval=_interval(bounds),
        images=after.images - before.images,
        boxes=after.boxes - before.boxes,
        since=before.iteration,
    )


def _common(first: Counted, second: Counted) -> tuple[np.ndarray, np.ndarray]:
    """The counts of the images that both evaluations saw, in the same order."""
    shared = sorted(set(first.ids) & set(second.ids))
    rows = []
    for part in (first, second):
        where = {sample_id: n for n, sample_id in enumerate(part.ids)}
        rows.append(part.counts[[where[i] for i in shared]])
    return rows[0], rows[1]


def _interval(bounds: Bounds | None) -> Interval | None:
    return None if bounds is None else Interval(low=bounds[0], high=bounds[1])
