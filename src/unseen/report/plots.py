"""The figures of the panel, for a notebook: plain data in, Plotly figures out.

::

    from unseen import overview, plots

    plots.learning_curve(overview.progress("wafers")).show()
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unseen.loop.overview_data import Curve, Point, Progress, Ranking

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: The batch and the loop itself; everything else stays in the background.
ACCENT = "#ff6d04"
POOL = "#8a9bb0"
#: Of baselines and classes; readable on light and on dark ground, also without colour vision
#: (Okabe and Ito).
COLOURS = ("#56b4e9", "#009e73", "#cc79a7", "#e69f00", "#0072b2", "#d55e00", "#b8a800")


def ranking_histogram(ranking: Ranking) -> go.Figure:
    """Images of the pool and of the batch per value of the ranking metric.

    Each bar's `customdata` holds the bounds of its bin; the last one is open where outliers were
    gathered in it.
    """
    figure = _figure("Images (log)", f"{ranking.metric}: higher = label sooner")
    shown = ranking.histogram
    if shown is None:
        return figure
    lows, highs = shown.edges[:-1], [*shown.edges[1:-1], max(shown.maximum, shown.edges[-1])]
    widths = [b - a for a, b in zip(shown.edges, shown.edges[1:], strict=False)]
    centres = [low + width / 2 for low, width in zip(lows, widths, strict=True)]
    for name, counts, colour in (("Pool", shown.pool, POOL), ("Batch", shown.batch, ACCENT)):
        figure.add_bar(
            x=centres,
            y=counts,
            width=widths,
            name=name,
            marker_color=colour,
            customdata=list(zip(lows, highs, strict=True)),
            hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}: %{y} images",
        )
    figure.update_layout(barmode="stack", bargap=0.02)
    tallest = max((p + b for p, b in zip(shown.pool, shown.batch, strict=True)), default=1)
    # From below 1, so that a bar of one image is seen.
    figure.update_yaxes(type="log", dtick=1, range=[-0.4, math.log10(max(tallest, 1)) + 0.15])
    return figure


def learning_curve(progress: Progress, *, against: str = "images", metric: str = "f1") -> go.Figure:
    """Quality of the detector over the labelling effort, one line per loop, with 95 % intervals.

    Args:
        progress: of `unseen.loop.overview.progress`.
        against: "images" or "boxes" labelled.
        metric: "f1" (macro F1) or "ap" (mean average precision).
    """
    name = "Macro F1" if metric == "f1" else "AP"
    figure = _figure(name, f"Labelled {against}")
    for number, curve in enumerate(progress.curves):
        points = [p for p in curve.points if _value(p, metric) is not None]
        if not points:
            continue
        colour = ACCENT if curve.is_main else COLOURS[(number - 1) % len(COLOURS)]
        figure.add_scatter(
            x=[getattr(p, against) for p in points],
            y=[_value(p, metric) for p in points],
            error_y=_error(points) if metric == "f1" else None,
            mode="lines+markers",
            name=curve.label,
            line={"color": colour, "width": 3 if curve.is_main else 1.5},
            hovertemplate=f"{curve.label}, %{{x}} {against}: {name} %{{y:.3f}}<extra></extra>",
        )
    figure.update_yaxes(range=[0, 1.02])
    return figure


def class_curves(progress: Progress, *, against: str = "images") -> go.Figure:
    """F1 per class of the main loop over the labelling effort, with 95 % intervals."""
    figure = _figure("F1", f"Labelled {against}")
    points = _measured(progress.main)
    for number, label in enumerate(progress.classes):
        cells = [(getattr(p, against), p.per_class[label]) for p in points if label in p.per_class]
        intervals = [cell.interval for _, cell in cells]
        figure.add_scatter(
            x=[x for x, _ in cells],
            y=[cell.f1 for _, cell in cells],
            error_y=_bars([c.f1 for _, c in cells], intervals),
            mode="lines+markers",
            name=label,
            line={"color": COLOURS[number % len(COLOURS)], "width": 2},
            hovertemplate=f"{label}, %{{x}} {against}: F1 %{{y:.3f}}<extra></extra>",
        )
    figure.update_yaxes(range=[0, 1.02])
    return figure


def class_balance(progress: Progress) -> go.Figure:
    """Labelled boxes per class and iteration of the main loop."""
    figure = _figure("Labelled boxes", "Iteration")
    points = progress.main.points if progress.main else []
    seen = {label for p in points for label in p.class_counts}
    labels = [*progress.classes, *sorted(seen - set(progress.classes))]
    for number, label in enumerate(labels):
        figure.add_bar(
            x=[str(p.iteration) for p in points],
            y=[p.class_counts.get(label, 0) for p in points],
            name=label,
            marker_color=COLOURS[number % len(COLOURS)],
            hovertemplate=f"{label}: %{{y}} boxes<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    return figure


def _figure(y: str, x: str) -> go.Figure:
    """An empty figure for half the App's width; no colour of its own, for light and dark alike."""
    import plotly.graph_objects as go

    return go.Figure(
        layout={
            "template": None,
            "margin": {"l": 52, "r": 12, "t": 12, "b": 44},
            "height": 280,
            "showlegend": True,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {"title": {"text": x}},
            "yaxis": {"title": {"text": y}},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
        }
    )


def _measured(curve: Curve | None) -> list[Point]:
    return [p for p in curve.points if p.macro_f1 is not None] if curve else []


def _value(point: Point, metric: str) -> float | None:
    return point.macro_f1 if metric == "f1" else point.mean_ap


def _error(points: Sequence[Point]) -> dict[str, Any] | None:
    return _bars([p.macro_f1 or 0.0 for p in points], [p.macro_interval for p in points])


def _bars(values: Sequence[float], intervals: Sequence[Any]) -> dict[str, Any] | None:
    """Asymmetric error bars; None where no point has an interval."""
    if not any(intervals):
        return None
    pairs = list(zip(values, intervals, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, i.high - v) if i else 0.0 for v, i in pairs],
        "arrayminus": [max(0.0, v - i.low) if i else 0.0 for v, i in pairs],
        "thickness": 1,
        "width": 3,
    }
