"""The figures of the panel, for a notebook: plain data in, Plotly figures out.

::

    from unseen import overview, plots

    plots.learning_curve(overview.progress("wafers")).show()
"""

from __future__ import annotations

import math

import plotly.graph_objects as go

from unseen.loop.overview_data import Interval, Ranking
from unseen.loop.progress_data import Mistakes, Progress
from unseen.report.figures import (
    PALETTE,
    SHARES,
    Line,
    Look,
    Panel,
    bars,
    few_ticks,
    line_chart,
    looks,
    styled,
)

#: The batch stands out of the pool.
BATCH, POOL = "#ff6d04", "#8a9bb0"
#: Images in the tallest bar of a histogram up to which one image is still seen beside it.
MOST_LINEAR = 40


def ranking_histogram(ranking: Ranking) -> go.Figure:
    """Images of the pool and of the batch per value of the ranking metric.

    The `customdata` of a bar are the bounds of its bin; outliers are gathered in the last one.
    """
    figure = go.Figure()
    shown, count = ranking.histogram, "Images"
    if shown is not None:
        lows, ends = shown.edges[:-1], shown.edges[1:]
        highs = [*ends[:-1], max(shown.maximum, ends[-1])]
        for name, counts, colour in (("Pool", shown.pool, POOL), ("Batch", shown.batch, BATCH)):
            bar = bars(
                name,
                [(low + end) / 2 for low, end in zip(lows, ends, strict=True)],
                counts,
                colour,
                "%{customdata[0]:.4g} to %{customdata[1]:.4g}: %{y} images",
                width=[end - low for low, end in zip(lows, ends, strict=True)],
                customdata=list(zip(lows, highs, strict=True)),
            )
            figure.add_trace(bar)
        tallest = max((p + b for p, b in zip(shown.pool, shown.batch, strict=True)), default=1)
        if tallest > MOST_LINEAR:  # from below 1, so that a bar of one image is seen
            count = "Images (log)"
            powers = [10**k for k in range(math.ceil(math.log10(tallest)) + 1)]
            steps = (1, 2, 5) if len(powers) < 4 else (1,)
            ticks = [step * power for power in powers for step in steps]
            limits = [-0.4, math.log10(tallest) + 0.15]
            figure.update_yaxes(type="log", tickvals=ticks, tickformat=",d", range=limits)
        else:
            figure.update_yaxes(tickformat="d", nticks=min(tallest + 1, 6))
    _panel_style(figure, f"{ranking.metric}: higher = label sooner", count)
    return figure.update_layout(barmode="stack", bargap=0.02)


def learning_curve(progress: Progress, *, against: str = "images", metric: str = "f1") -> go.Figure:
    """Quality of the detector over the labelling effort, one line per loop, with 95 % intervals.

    `against` is what was labelled, "images" or "boxes", or the "hours" that it took, of which points
    may know none; `metric` is "f1" (macro F1) or "ap" (mean
    average precision, without intervals).
    """
    lines = [
        Line(
            name=curve.label,
            look=look,
            x=[getattr(p, against) for p in points],
            y=[p.macro_f1 if metric == "f1" else p.mean_ap for p in points],
            bounds=[_bounds(p.macro_interval) if metric == "f1" else None for p in points],
            tips=[f"<br>{p.images} images, {p.boxes} boxes" for p in points],
            is_bold=curve.is_main,
        )
        for curve, look in zip(
            progress.curves, looks([c.strategy for c in progress.curves]), strict=True
        )
        if (points := [p for p in curve.points if getattr(p, against) is not None])
    ]
    return _curves(lines, "Macro F1" if metric == "f1" else "AP", against)


def class_curves(progress: Progress, *, against: str = "images") -> go.Figure:
    """F1 per class of the main loop over the labelling effort, with 95 % intervals."""
    points = [p for p in progress.main.points if p.per_class] if progress.main else []
    points = [p for p in points if getattr(p, against) is not None]
    lines = []
    for number, label in enumerate(progress.classes):
        measured = [(p, p.per_class[label]) for p in points if label in p.per_class]
        lines.append(
            Line(
                name=label,
                look=Look(PALETTE[number % len(PALETTE)]),
                x=[getattr(p, against) for p, _ in measured],
                y=[cell.f1 for _, cell in measured],
                bounds=[_bounds(cell.interval) for _, cell in measured],
            )
        )
    return _curves(lines, "F1", against)


def class_balance(progress: Progress) -> go.Figure:
    """Labelled boxes per class and iteration of the main loop."""
    figure = go.Figure()
    points = progress.main.points if progress.main else []
    others = {label for p in points for label in p.class_counts} - set(progress.classes)
    for number, label in enumerate([*progress.classes, *sorted(others)]):
        numbers = [str(p.iteration) for p in points]
        counts = [p.class_counts.get(label, 0) for p in points]
        colour = PALETTE[number % len(PALETTE)]
        hover = "%{fullData.name}: %{y} boxes<extra></extra>"
        figure.add_trace(bars(label, numbers, counts, colour, hover))
    return _panel_style(figure, "Iteration", "Labelled boxes").update_layout(barmode="stack")


def mistakes(progress: Progress) -> dict[str, go.Figure]:
    """What is wrong with the newest detector: "errors" and "calibration", where it is on record."""
    known = progress.mistakes
    return {"errors": error_costs(known), "calibration": calibration(known)} if known else {}


def error_costs(mistakes: Mistakes) -> go.Figure:
    """What each kind of errors costs, in AP, the costliest on top."""
    kinds = mistakes.kinds[::-1]
    boxes = [", ".join(f"{n} {label}" for label, n in k.classes.items()) or "none" for k in kinds]
    names, costs = [k.name for k in kinds], [k.cost for k in kinds]
    hover = "%{y}: %{x:.3f} of AP; %{customdata}<extra></extra>"
    figure = go.Figure(
        bars("cost", costs, names, PALETTE[4], hover, customdata=boxes, orientation="h")
    )
    figure = _panel_style(figure, "AP lost", "")
    return figure.update_layout(showlegend=False, height=240)


def calibration(mistakes: Mistakes) -> go.Figure:
    """The share of predictions that is right over their confidence, with 95 % intervals."""
    bins = mistakes.reliability
    own = Line(
        name="Detector",
        look=Look(PALETTE[0]),
        x=[b.confidence for b in bins],
        y=[b.share for b in bins],
        bounds=[_bounds(b.interval) for b in bins],
        tips=[f"<br>{b.predictions} predictions" for b in bins],
    )
    ideal = Line(name="Ideal", look=Look(POOL, "dot"), x=[0, 1], y=[0, 1], mode="lines")
    figure = line_chart([Panel(lines=[own, ideal])], "", y_range=SHARES)
    figure.update_xaxes(range=SHARES)
    return _panel_style(figure, "Confidence", "Share that is right").update_layout(height=240)


def _curves(lines: list[Line], y: str, against: str) -> go.Figure:
    # Between two numbers of images there are no labelled ones.
    ticks = few_ticks([x for line in lines for x in line.x]) if against == "images" else None
    figure = line_chart([Panel(lines=lines, ticks=ticks)], "", y_range=SHARES)
    what = "Hours of labelling" if against == "hours" else f"Labelled {against}"
    return _panel_style(figure, what, y)


def _panel_style(figure: go.Figure, x: str, y: str) -> go.Figure:
    """Half the App's width, with the legend above."""
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "yref": "paper", "x": 0}
    margin = {"l": 52, "r": 12, "t": 12, "b": 44}
    styled(figure, 280, margin=margin, legend=legend, showlegend=True)
    figure.update_xaxes(title_text=x)
    return figure.update_yaxes(title_text=y)


def _bounds(interval: Interval | None) -> tuple[float, float] | None:
    return (interval.low, interval.high) if interval else None
