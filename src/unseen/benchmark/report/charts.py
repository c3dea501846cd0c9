"""Charts of a benchmark: rare boxes found over images, and paired differences."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unseen.benchmark.report.differences import Difference
from unseen.benchmark.report.measures import found_over_images
from unseen.benchmark.report.runs import Benchmark, Run
from unseen.report import figures

#: Distance between the markers beside the curves, as a share of the horizontal axis.
_APART = 0.04
_COLORS = {"above": "#009E73", "below": "#D55E00"}
_EVEN = "#7F7F7F"


def finding_chart(benchmark: Benchmark) -> list[go.Figure]:
    """Share of the rare boxes found over labelled images, one panel per case; none without any."""
    names = benchmark.strategies
    styles = dict(zip(names, figures.looks(names), strict=True))
    panels = []
    for case in benchmark.cases:
        lines, ends = [], []
        for k, name in enumerate(names, 1):
            curves = _curves(benchmark, runs := benchmark.of(case, name))
            if curves.size:
                x = [runs[0].initial + i for i in range(curves.shape[1])]
                y, last = curves.mean(axis=0).tolist(), curves[:, -1]
                line = figures.Line(
                    name=name,
                    look=styles[name],
                    x=x,
                    y=y,
                    is_bold=name == benchmark.first,
                    mode="lines",
                )
                beside = [x[-1] + _APART * k * max(1, len(x) - 1)]
                span = [(last.min(), last.max())]
                lines.append(line)
                ends.append(replace(line, x=beside, y=y[-1:], bounds=span, mode="markers"))
        if lines:
            entries = [e for r in benchmark.choosing() if r.case == case for e in r.iterations]
            ticks = figures.few_ticks([e["images"] for e in entries])
            panels.append(figures.Panel(lines=[*lines, *ends], title=case, ticks=ticks))
    if not panels:
        return []
    return [
        figures.line_chart(
            panels,
            "Labelled images",
            y_range=figures.SHARES,
            y_format=".0%",
            columns=3,
            height=300,
        )
    ]


def difference_chart(
    readings: Mapping[str, Sequence[Difference]], first: str, label: str, scale: float = 1.0
) -> list[go.Figure]:
    """Paired differences with their intervals, one panel per reading; none without any.

    `readings` are named, such as "equal images"; `label` names the axis; `scale` 100 gives points.
    """
    shown = {reading: compared for reading, compared in readings.items() if compared}
    if not shown:
        return []
    titles = [f"<b>{html.escape(f'{first} less ..., {reading}')}</b>" for reading in shown]
    figure = make_subplots(rows=1, cols=len(shown), subplot_titles=titles, shared_yaxes=True)
    for k, compared in enumerate(shown.values(), 1):
        overall = [d.overall for d in compared]
        rings = [(d.peer, c, e.mean) for d in compared for c, e in d.cases.items()]
        if any(len(d.cases) > 1 for d in compared):
            look = {"symbol": "circle-open", "size": 7, "color": _EVEN}
            figure.add_trace(_points(rings, scale, marker=look), row=1, col=k)
        bounds = [d.interval and (scale * d.interval[0], scale * d.interval[1]) for d in overall]
        values = [scale * d.mean for d in overall]
        bars = figures.error_bars(values, bounds, thickness=3, width=0, color=_EVEN)
        look = {"size": 11, "color": [_COLORS.get(d.verdict, _EVEN) for d in overall]}
        points = [(d.peer, d.peer, d.overall.mean) for d in compared]
        figure.add_trace(_points(points, scale, marker=look, error_x=bars), row=1, col=k)
    figure.add_vline(x=0, line={"color": _EVEN, "width": 1})
    figure.update_xaxes(title_text=label)
    figure.update_yaxes(autorange="reversed", type="category")
    height = 140 + 34 * max(map(len, shown.values()))
    return [figures.styled(figure, height, showlegend=False, margin={"l": 140})]


def _points(points: Sequence[tuple[str, str, float]], scale: float, **style: object) -> go.Scatter:
    """(row, name, value) as marks."""
    return go.Scatter(
        x=[scale * value for _, _, value in points],
        y=[html.escape(row) for row, _, _ in points],
        customdata=[html.escape(name) for _, name, _ in points],
        mode="markers",
        hovertemplate="%{customdata}: %{x:+.2f}<extra></extra>",
        **style,
    )


def _curves(benchmark: Benchmark, runs: Sequence[Run]) -> np.ndarray:
    """(seeds, images + 1) share of the rare boxes found, as far as every seed reaches."""
    curves = [
        curve[: benchmark.images[run.case, run.seed] - run.initial + 1]
        for run in runs
        if (curve := found_over_images(run)) is not None
    ]
    length = min(map(len, curves), default=0)
    return np.asarray([curve[:length] for curve in curves])
