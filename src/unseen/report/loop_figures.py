"""The figures of a loop's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from unseen.loop.curves import (
    Curves,
    IterationSummary,
    Series,
    balance,
    defined,
    metrics_of,
    read_curves,
)
from unseen.loop.mistakes import read_mistakes
from unseen.report.figures import (
    PALETTE,
    SHARES,
    Line,
    Panel,
    bars,
    few_ticks,
    line_chart,
    looks,
    styled,
)
from unseen.report.page import Section
from unseen.report.plots import calibration, error_costs
from unseen.report.tables import iteration_name

#: Only the rarest classes are drawn.
MAX_CLASSES = 23

_Value = Callable[[IterationSummary], float | None]


def loop_figures(iterations: Sequence[IterationSummary], classes: Sequence[str]) -> list[Section]:
    """A section per figure, for those with data, in the order of the report."""
    curves = read_curves(iterations)
    if curves.judged is None:
        return []
    shown = _shown_classes(curves, classes)
    limited = ""
    if len(shown) < len(classes):
        limited = f" The {len(shown)} rarest of {len(classes)} classes."
    points = [p for s in curves.series for p in s.points]
    figures = []
    if any(p.per_class is not None or p.macro_f1 is not None for p in points):
        values: dict[str, _Value] = {"Mean F1": lambda p: p.macro_f1, "AP": lambda p: p.mean_ap}
        if len(shown) > 1:  # of a single class the mean is the class
            values |= {f"F1 {label}": _f1_of(label) for label in shown}
        axes = {
            "images": "The detector on the test split, per labelled image.",
            "boxes": "The same, per labelled box.",
            "hours": "The same, per hour that people worked in CVAT, without the test split.",
        }
        if not any(p.hours for p in points):
            del axes["hours"]
        for axis, caption in axes.items():
            panels = [
                _panel(curves, name, value, axis, has_level=True) for name, value in values.items()
            ]
            what = "Hours of labelling" if axis == "hours" else f"Labelled {axis}"
            figure = line_chart(panels, what, y_range=SHARES)
            title = f"Detection quality against {what.lower()}"
            figures.append(_section(f"quality-{axis}", title, caption + limited, figure))
    measured = [p for p in curves.judged.points if p.macro_f1 is not None]
    if mistakes := read_mistakes(measured[-1] if measured else None):
        title = f"Errors of the detector of {iteration_name(mistakes.iteration)}"
        caption = f"{mistakes.sentence} {mistakes.confidence_sentence}"
        drawn = [error_costs(mistakes), calibration(mistakes)]
        figures.append(Section(key="errors", title=title, caption=caption, figures=drawn))
    if shown and any(len(s.points) > 1 for s in curves.series):
        panels = [_panel(curves, label, _count_of(label)) for label in shown]
        caption = f"Labelled boxes of each class, rarest first.{limited}"
        if len(classes) > 1:
            panels.insert(0, _panel(curves, "Balance", lambda p: balance(p.class_counts, classes)))
            caption += " Balance: normalised entropy of the boxes, 1 = as many of each class."
        figure = line_chart(panels, "Labelled images")
        figures.append(_section("discovery", "Boxes per class", caption, figure))
    if any(point.seconds for point in curves.judged.points):
        caption = f"Wall time of the {curves.judged.label.lower()} loop."
        figures.append(_section("time", "Time per step", caption, _time_figure(curves.judged)))
    return figures


def _section(key: str, title: str, caption: str, figure: go.Figure) -> Section:
    return Section(key=key, title=title, caption=caption, figures=[figure])


def _shown_classes(curves: Curves, classes: Sequence[str]) -> list[str]:
    """The classes to draw, rarest first by the boxes of the largest labelled set."""
    points = [p for s in curves.series for p in s.points] + ([curves.full] if curves.full else [])
    largest = max(points, key=lambda p: p.boxes)
    return sorted(classes, key=lambda c: largest.class_counts.get(c, 0))[:MAX_CLASSES]


def _f1_of(label: str) -> _Value:
    return lambda p: getattr(metrics_of(p, label), "f1", None)


def _count_of(label: str) -> _Value:
    return lambda p: float(p.class_counts.get(label, 0))


def _panel(
    curves: Curves, title: str, value: _Value, axis: str = "images", *, has_level: bool = False
) -> Panel:
    """One line per series, and the level of the full set if wanted; points without an x are left out."""
    lines = []
    for series, look in zip(curves.series, looks([s.strategy for s in curves.series]), strict=True):
        points = [p for p in series.points if getattr(p, axis) is not None]
        line = Line(
            name=series.label,
            look=look,
            x=[getattr(p, axis) for p in points],
            y=[defined(value(p)) for p in points],
            tips=[f"<br>{p.images} images, {p.boxes} boxes" for p in points],
            is_bold=series is curves.judged,
        )
        lines += [line] if points else []
    images = [p.images for s in curves.series for p in s.points]
    full = curves.full if has_level else None
    return Panel(
        lines=lines,
        title=title,
        level=defined(value(full)) if full else None,
        level_name=f"full ({full.images} images)" if full else "",
        ticks=few_ticks(images) if axis == "images" else None,
    )


def _time_figure(series: Series) -> go.Figure:
    points = [p for p in series.points if p.seconds]
    figure = go.Figure()
    for i, step in enumerate(dict.fromkeys(step for p in points for step in p.seconds)):
        seconds = [defined(p.seconds.get(step)) or 0.0 for p in points]
        names = [iteration_name(p.iteration) for p in points]
        color = PALETTE[i % len(PALETTE)]
        name = step.replace("_", " ")
        figure.add_trace(bars(name, seconds, names, color, "%{x:.1f} s", orientation="h"))
    figure.update_xaxes(title_text="Seconds")
    figure.update_yaxes(autorange="reversed")
    height = 150 + 34 * len(points)
    return styled(figure, height, barmode="stack", bargap=0.35, legend_traceorder="normal")
