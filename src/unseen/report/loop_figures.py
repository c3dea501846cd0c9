"""The figures of a loop's report."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unseen.loop.curves import Curves, Series, balance, defined, metrics_of, read_curves
from unseen.loop.iteration import IterationSummary
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
from unseen.report.tables import iteration_name

#: Nobody reads a figure with more classes than this; the rarest are drawn.
MAX_CLASSES = 23

_Value = Callable[[IterationSummary], float | None]


@dataclass(frozen=True)
class LoopFigure:
    """One figure with what to say about it."""

    key: str
    title: str
    caption: str
    figure: go.Figure


def loop_figures(
    iterations: Sequence[IterationSummary], classes: Sequence[str]
) -> list[LoopFigure]:
    """The figures for which there is data, in the order of the report."""
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
        for axis, caption in (
            ("images", "What the detector gains per labelled image."),
            ("boxes", "The same, per labelled box: what the labelling work buys."),
        ):
            panels = [
                _panel(curves, name, value, axis, has_level=True) for name, value in values.items()
            ]
            figure = line_chart(panels, f"Labelled {axis}", y_range=SHARES)
            title = f"Detection quality against labelled {axis}"
            figures.append(LoopFigure(f"quality-{axis}", title, caption + limited, figure))
    if shown and any(len(s.points) > 1 for s in curves.series):
        panels = [_panel(curves, label, _count_of(label)) for label in shown]
        figure = line_chart(panels, "Labelled images", y_format=".0f")
        caption = f"Labelled boxes of each class, rarest first.{limited}"
        figures.append(LoopFigure("discovery", "Boxes found per class", caption, figure))
    if len(classes) > 1:
        caption = (
            "Left: normalised entropy of the labelled boxes, 1 = as many of each class. Right: the "
            f"boxes per class.{limited}"
        )
        figure = _balance_figure(curves, curves.judged, classes, shown)
        figures.append(LoopFigure("balance", "Class balance", caption, figure))
    if any(point.seconds for point in curves.judged.points):
        caption = f"Wall time of the {curves.judged.label.lower()} loop."
        figures.append(LoopFigure("time", "Time per step", caption, _time_figure(curves.judged)))
    return figures


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
    """One line per series, and the level of the full set if wanted."""
    styles = looks([s.strategy for s in curves.series])
    lines = [
        Line(
            name=series.label,
            look=styles[series.strategy],
            x=[getattr(p, axis) for p in series.points],
            y=[defined(value(p)) for p in series.points],
            tips=[f"<br>{p.images} images, {p.boxes} boxes" for p in series.points],
            is_bold=series is curves.judged,
        )
        for series in curves.series
    ]
    images = [p.images for s in curves.series for p in s.points]
    full = curves.full if has_level else None
    return Panel(
        lines=lines,
        title=title,
        level=defined(value(full)) if full else None,
        level_name=f"full ({full.images} images)" if full else "",
        ticks=few_ticks(images) if axis == "images" else None,
    )


def _balance_figure(
    curves: Curves, judged: Series, classes: Sequence[str], shown: Sequence[str]
) -> go.Figure:
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.4, 0.6],
        horizontal_spacing=0.1,
        subplot_titles=["<b>Balance</b>", "<b>Labelled boxes per class</b>"],
    )
    panel = _panel(curves, "", lambda p: balance(p.class_counts, classes))
    left = line_chart([panel], "")
    figure.add_traces(list(left.data), rows=1, cols=1)
    figure.update_xaxes(title_text="Labelled images", tickvals=panel.ticks, row=1, col=1)
    figure.update_yaxes(range=SHARES, dtick=0.25, tickformat=".2f", row=1, col=1)
    styles = looks([s.strategy for s in curves.series])
    for series in curves.series:
        point = series.at(judged.last.images) or series.last
        if point.iteration == 0 and series is not judged:
            continue
        counts = [point.class_counts.get(c, 0) for c in shown]
        bar = bars(
            series.label,
            [*map(html.escape, shown)],
            counts,
            styles[series.strategy].color,
            f"%{{y}} boxes of %{{x}} in {point.images} images",
            legendgroup=series.label,
            showlegend=False,
            text=counts if len(shown) <= 8 else None,
            textposition="outside",
            cliponaxis=False,
        )
        figure.add_trace(bar, row=1, col=2)
    return styled(figure, 360, barmode="group", bargap=0.25, bargroupgap=0.05)


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
