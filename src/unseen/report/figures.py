"""Plotly figures of a report: small multiples, one fixed colour per strategy."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unseen.loop.curves import Curves, Series, balance, defined, metrics_of, read_curves
from unseen.loop.iteration import IterationSummary
from unseen.report.style import FULL_COLOR, STEP_COLORS, look

#: More classes than this make a figure that nobody reads; the rarest are drawn.
MAX_CLASSES = 23
_COLUMNS = 5
_PANEL = 215  # px
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_GRID = "rgba(128,128,128,0.25)"


@dataclass(frozen=True)
class ReportFigure:
    """One figure of the report with what to say about it."""

    key: str
    title: str
    caption: str
    figure: go.Figure


@dataclass(frozen=True)
class _Panel:
    title: str
    value: Callable[[IterationSummary], float | None]
    full: float | None = None


def report_figures(
    iterations: Sequence[IterationSummary], classes: Sequence[str]
) -> list[ReportFigure]:
    """The figures for which there is data, in the order of the report."""
    curves = read_curves(iterations)
    if curves.judged is None:
        return []
    found = []
    shown = shown_classes(curves, classes)
    cut = len(shown) < len(classes)
    limited = f" The {len(shown)} rarest of {len(classes)} classes." if cut else ""
    panels = _quality_panels(curves, shown)
    if panels:
        for axis, title in (("images", "Labelled images"), ("boxes", "Labelled boxes")):
            caption = (
                "What the detector gains per labelled image."
                if axis == "images"
                else "The same, per labelled box: what the labelling work buys."
            )
            figure = _multiples(curves, panels, axis, title, (-0.03, 1.03))
            name = f"Detection quality against {title.lower()}"
            found.append(ReportFigure(f"quality-{axis}", name, caption + limited, figure))
    counts = [
        _Panel(label, lambda p, c=label: float(p.class_counts.get(c, 0)))  # type: ignore[misc]
        for label in shown
    ]
    if counts and any(len(s.points) > 1 for s in curves.series):
        found.append(
            ReportFigure(
                "discovery",
                "Boxes found per class",
                (
                    "Labelled boxes of each class, rarest first: how early a strategy meets rare "
                    f"examples.{limited}"
                )
                if len(counts) > 1
                else "Labelled boxes.",
                _multiples(curves, counts, "images", "Labelled images", None),
            )
        )
    if len(classes) > 1:
        found.append(
            ReportFigure(
                "balance",
                "Class balance",
                "Left: normalised entropy of the labelled boxes, 1 = as many of each class. "
                f"Right: where that comes from.{limited}",
                _balance_figure(curves, classes, shown),
            )
        )
    if any(point.seconds for point in curves.judged.points):
        found.append(
            ReportFigure(
                "time",
                "Time per step",
                f"Wall time of the {curves.judged.label.lower()} loop.",
                _time_figure(curves.judged),
            )
        )
    return found


def shown_classes(curves: Curves, classes: Sequence[str]) -> list[str]:
    """The classes to draw, rarest first by the boxes of the largest labelled set."""
    points = [p for s in curves.series for p in s.points] + ([curves.full] if curves.full else [])
    largest = max(points, key=lambda p: p.boxes)
    order = sorted(classes, key=lambda c: largest.class_counts.get(c, 0))
    return order[:MAX_CLASSES]


def _quality_panels(curves: Curves, shown: Sequence[str]) -> list[_Panel]:
    points = [p for s in curves.series for p in s.points]
    if all(p.per_class is None and p.macro_f1 is None for p in points):
        return []
    full = curves.full
    panels = [
        _Panel("Mean F1", lambda p: defined(p.macro_f1), full.macro_f1 if full else None),
        _Panel("AP", lambda p: defined(p.mean_ap), full.mean_ap if full else None),
    ]
    for label in shown:
        if len(shown) == 1:
            break  # the mean is the class
        metrics = metrics_of(full, label)
        panels.append(
            _Panel(f"F1 {label}", lambda p, c=label: _f1(p, c), metrics.f1 if metrics else None)  # type: ignore[misc]
        )
    return panels


def _f1(point: IterationSummary, label: str) -> float | None:
    metrics = metrics_of(point, label)
    return defined(metrics.f1) if metrics else None


def _multiples(
    curves: Curves,
    panels: Sequence[_Panel],
    axis: str,
    axis_title: str,
    y_range: tuple[float, float] | None,
) -> go.Figure:
    """One panel per quantity, one line per series."""
    # As few rows as possible, then as few empty places as possible.
    rows = math.ceil(len(panels) / _COLUMNS)
    columns = math.ceil(len(panels) / rows)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[f"<b>{html.escape(p.title)}</b>" for p in panels],
        horizontal_spacing=0.05,
        vertical_spacing=0.34 / rows if rows > 1 else 0.1,
    )
    for i, panel in enumerate(panels):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for series in reversed(curves.series):  # the judged series is drawn last, on top
            points = [(getattr(p, axis), panel.value(p), p) for p in series.points]
            points = [p for p in points if p[1] is not None]
            if points:
                trace = _line(series, points, curves, legend=i == 0)
                figure.add_trace(trace, **place)
        if (full := defined(panel.full)) is not None and curves.full is not None:
            figure.add_hline(
                y=full,
                line={"color": FULL_COLOR, "width": 1.5, "dash": "dash"},
                annotation_text=f"full ({curves.full.images} images)",
                annotation_font_size=11,
                annotation_position="top left" if full < 0.88 else "bottom left",
                **place,
            )
        last_in_column = i + columns >= len(panels)
        figure.update_xaxes(title_text=axis_title if last_in_column else None, **place)
    if axis == "images":
        figure.update_xaxes(tickvals=_image_ticks(curves))
    if y_range:
        figure.update_yaxes(range=list(y_range), dtick=0.25, tickformat=".2f")
    else:  # room below zero, so that marks there do not cover the numbers of the other axis
        for i, panel in enumerate(panels):
            values = [panel.value(p) or 0.0 for s in curves.series for p in s.points]
            top = max([*values, 1.0])
            place = {"row": i // columns + 1, "col": i % columns + 1}
            figure.update_yaxes(range=[-0.05 * top, 1.08 * top], **place)
    return _styled(figure, height=70 + _PANEL * rows + 40)


def _image_ticks(curves: Curves) -> list[int] | None:
    """The numbers of images that were labelled, where they are few; None leaves it to plotly."""
    numbers = sorted({p.images for s in curves.series for p in s.points})
    return numbers if len(numbers) <= 6 else None


def _line(
    series: Series,
    points: Sequence[tuple[int, float | None, IterationSummary]],
    curves: Curves,
    *,
    legend: bool,
) -> go.Scatter:
    style, bold = look(series.strategy), series is curves.judged
    return go.Scatter(
        x=[p[0] for p in points],
        y=[p[1] for p in points],
        customdata=[[p[2].images, p[2].boxes] for p in points],
        name=html.escape(series.label),
        legendgroup=series.name or "main",
        showlegend=legend,
        legendrank=1 + curves.series.index(series),
        mode="lines+markers",
        line={"color": style.color, "width": 4 if bold else 2, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 10 if bold else 8, "color": style.color},
        hovertemplate="%{y:.3~f}<br>%{customdata[0]} images, %{customdata[1]} boxes",
        cliponaxis=False,
    )


def _balance_figure(curves: Curves, classes: Sequence[str], shown: Sequence[str]) -> go.Figure:
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.4, 0.6],
        horizontal_spacing=0.1,
        subplot_titles=["<b>Balance</b>", "<b>Labelled boxes per class</b>"],
    )
    assert curves.judged is not None
    images = curves.judged.last.images
    for series in reversed(curves.series):
        points = [(p.images, balance(p.class_counts, classes), p) for p in series.points]
        points = [p for p in points if p[1] is not None]
        if points:
            figure.add_trace(_line(series, points, curves, legend=False), row=1, col=1)
    for series in curves.series:
        point = series.at(images) or series.last
        at_initial = point.iteration == 0 and series is not curves.judged
        if at_initial:
            continue
        figure.add_trace(
            go.Bar(
                x=[html.escape(c) for c in shown],
                y=[point.class_counts.get(c, 0) for c in shown],
                name=html.escape(series.label),
                legendgroup=series.name or "main",
                marker={"color": look(series.strategy).color},
                hovertemplate=f"%{{y}} boxes of %{{x}} in {point.images} images",
                text=[point.class_counts.get(c, 0) for c in shown] if len(shown) <= 8 else None,
                textposition="outside",
                cliponaxis=False,
            ),
            row=1,
            col=2,
        )
    figure.update_xaxes(title_text="Labelled images", row=1, col=1)
    figure.update_xaxes(tickvals=_image_ticks(curves), row=1, col=1)
    figure.update_yaxes(range=[-0.03, 1.03], dtick=0.25, tickformat=".2f", row=1, col=1)
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0.05)
    return _styled(figure, height=360)


def _time_figure(series: Series) -> go.Figure:
    points = [p for p in series.points if p.seconds]
    steps = list(dict.fromkeys(step for p in points for step in p.seconds))
    names = [f"Iter{p.iteration}" if p.iteration else "Init" for p in points]
    figure = go.Figure()
    for i, step in enumerate(steps):
        seconds = [defined(p.seconds.get(step)) or 0.0 for p in points]
        figure.add_trace(
            go.Bar(
                y=names,
                x=seconds,
                name=html.escape(step.replace("_", " ")),
                orientation="h",
                marker={"color": STEP_COLORS[i % len(STEP_COLORS)]},
                hovertemplate="%{x:.1f} s",
            )
        )
    figure.update_layout(barmode="stack", bargap=0.35, legend_traceorder="normal")
    figure.update_xaxes(title_text="Seconds")
    figure.update_yaxes(autorange="reversed")
    return _styled(figure, height=150 + 34 * len(points))


def _styled(figure: go.Figure, height: int) -> go.Figure:
    """No background, no frame: the page's own colours show, light or dark."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 48, "r": 16, "t": 70, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": _FONT, "size": 13},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "yref": "container", "x": 0},
        hovermode="closest",
    )
    figure.update_layout(legend={"y": 0.995, "yanchor": "top"})
    figure.update_xaxes(
        showgrid=False, zeroline=False, linecolor=_GRID, showline=True, automargin=True
    )
    figure.update_yaxes(gridcolor=_GRID, zeroline=False, nticks=6, automargin=True)
    return figure
