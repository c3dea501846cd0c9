"""Charts of a benchmark: rare boxes over images, paired differences, F1 over iterations."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from unseen.benchmark.report.detectors import detector_of, last_iteration
from unseen.benchmark.report.differences import Difference
from unseen.benchmark.report.measures import found_over_images
from unseen.benchmark.report.runs import SCHEDULES, Benchmark, Run
from unseen.loop.curves import FULL, defined
from unseen.report.figures import (
    SHARES,
    Line,
    Panel,
    error_bars,
    few_ticks,
    line_chart,
    looks,
    styled,
)

#: Panels side by side, and their height in px.
_COLUMNS, _HEIGHT = 3, 300
#: Room for the range of one strategy beside the curves, as a share of the horizontal axis.
_APART = 0.04
_COLORS = {"above": "#009E73", "below": "#D55E00"}
_EVEN = "#7F7F7F"


def finding_chart(benchmark: Benchmark) -> list[go.Figure]:
    """Share of the rare boxes found over labelled images, one panel per case; none without any."""
    panels = []
    styles = looks(benchmark.strategies)
    for case in benchmark.cases:
        lines, ends = [], []
        for k, name in enumerate(benchmark.strategies, 1):
            runs = benchmark.of(case, name)
            curves = _curves(benchmark, runs)
            if not curves.size:
                continue
            x = [runs[0].initial + i for i in range(curves.shape[1])]
            mean = curves.mean(axis=0).tolist()
            is_first = name == benchmark.first
            lines.append(
                Line(name=name, look=styles[name], x=x, y=mean, is_bold=is_first, mode="lines")
            )
            ends.append(
                Line(
                    name=name,
                    look=styles[name],
                    x=[x[-1] + _APART * k * max(1, len(x) - 1)],
                    y=mean[-1:],
                    bounds=[(curves[:, -1].min(), curves[:, -1].max())],
                    mode="markers",
                )
            )
        if lines:
            runs = [r for r in benchmark.choosing() if r.case == case]
            sizes = [int(e["images"]) for r in runs for e in r.iterations]
            panels.append(Panel(lines=[*lines, *ends], title=case, ticks=few_ticks(sizes)))
    if not panels:
        return []
    return [
        line_chart(
            panels,
            "Labelled images",
            y_range=SHARES,
            y_format=".0%",
            columns=_COLUMNS,
            height=_HEIGHT,
        )
    ]


def quality_chart(benchmark: Benchmark) -> list[go.Figure]:
    """Mean F1 over the iterations, a panel per case and schedule; none with one iteration only."""
    styles = looks(benchmark.strategies)
    panels = []
    for schedule in SCHEDULES:
        for case in benchmark.cases:
            lines = []
            for name in benchmark.strategies:
                points = _f1_points(benchmark, benchmark.of(case, name), schedule)
                lines.append(
                    Line(
                        name=name,
                        look=styles[name],
                        x=list(points),
                        y=[float(np.mean(values)) for values in points.values()],
                        bounds=[(min(values), max(values)) for values in points.values()],
                        is_bold=name == benchmark.first,
                    )
                )
            if max((len(line.x) for line in lines), default=0) < 2:
                continue
            full = _f1_points(benchmark, benchmark.of(case, FULL), schedule).values()
            panels.append(
                Panel(
                    lines=lines,
                    title=f"{case}, {SCHEDULES[schedule]}",
                    level=float(np.mean([v[-1] for v in full])) if full else None,
                    level_name="full set",
                    ticks=few_ticks([int(x) for line in lines for x in line.x]),
                )
            )
    if not panels:
        return []
    return [line_chart(panels, "Labelled images", y_range=SHARES, columns=_COLUMNS, height=_HEIGHT)]


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
        cases = [(d.peer, c, e.mean) for d in compared for c, e in d.cases.items()]
        if any(len(d.cases) > 1 for d in compared):
            rings = {"symbol": "circle-open", "size": 7, "color": _EVEN}
            _add_points(figure, k, cases, scale, marker=rings)
        points = [(d.peer, d.peer, d.overall.mean) for d in compared]
        bounds = [
            i and (scale * i[0], scale * i[1]) for i in (d.overall.interval for d in compared)
        ]
        values = [scale * d.overall.mean for d in compared]
        colors = [_COLORS.get(d.overall.verdict, _EVEN) for d in compared]
        bars = error_bars(values, bounds, thickness=3, width=0, color=_EVEN)
        _add_points(figure, k, points, scale, marker={"size": 11, "color": colors}, error_x=bars)
    figure.add_vline(x=0, line={"color": _EVEN, "width": 1})
    figure.update_xaxes(title_text=label)
    figure.update_yaxes(autorange="reversed", type="category")
    most = max(map(len, shown.values()))
    return [styled(figure, 140 + 34 * most, showlegend=False, margin={"l": 140})]


def _add_points(
    figure: go.Figure,
    column: int,
    points: Sequence[tuple[str, str, float]],
    scale: float,
    **style: object,
) -> None:
    """(row, name, value) as marks."""
    figure.add_trace(
        go.Scatter(
            x=[scale * value for _, _, value in points],
            y=[html.escape(row) for row, _, _ in points],
            customdata=[html.escape(name) for _, name, _ in points],
            mode="markers",
            hovertemplate="%{customdata}: %{x:+.2f}<extra></extra>",
            **style,
        ),
        row=1,
        col=column,
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


def _f1_points(
    benchmark: Benchmark, runs: Sequence[Run], schedule: str
) -> dict[float, list[float]]:
    """Labelled images, ascending -> mean F1 of every seed."""
    points: dict[float, list[float]] = {}
    for run in runs:
        for k in range(last_iteration(benchmark, run) + 1):
            detector = detector_of(run, schedule, k)
            value = defined(detector["macro_f1"]) if detector else None
            if value is not None:
                points.setdefault(run.iterations[k]["images"], []).append(value)
    return dict(sorted(points.items()))
