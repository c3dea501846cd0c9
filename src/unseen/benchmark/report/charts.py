"""Charts of a benchmark: rare boxes over images, paired differences, F1 over iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from unseen.benchmark.report.detectors import detector_of, last_iteration
from unseen.benchmark.report.differences import Difference
from unseen.benchmark.report.figures import found_over_images
from unseen.benchmark.report.runs import FULL, SCHEDULES, Benchmark, Run
from unseen.benchmark.report.svg import INK, Axes, legend, looks, nice_ticks
from unseen.loop.curves import defined

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Numbers of images below an axis, at most.
_TICKS = 6
#: px between the ranges of two strategies.
_APART = 5.0


def finding_chart(benchmark: Benchmark) -> str:
    """Share of the rare boxes found over labelled images, one panel per case; "" without any."""
    styles = looks(benchmark.strategies)
    panels = []
    for case in benchmark.cases:
        runs = [r for r in benchmark.runs if r.case == case and not r.is_full]
        if not runs or all(found_over_images(r) is None for r in runs):
            continue
        start = min(r.initial for r in runs)
        end = max(benchmark.images[r.case, r.seed] for r in runs)
        # Room on the right for the ranges.
        room = 0.04 * len(benchmark.strategies) * max(1, end - start)
        axes = Axes(
            case,
            (start, end + room),
            (0.0, 1.0),
            _image_ticks(runs, end),
            _SHARES,
            "labelled images",
            percent=True,
        )
        for name in reversed(benchmark.strategies):
            low, mean, high = _curve(benchmark, case, name)
            if not mean:
                continue
            is_first, color = name == benchmark.first, styles[name].color
            if is_first and low != high:
                axes.band(low, high, color)
            axes.line(mean, styles[name], bold=is_first)
            shift = (8 + _APART * benchmark.strategies.index(name), 0.0)
            axes.span(low[-1], high[-1], color, shift=shift)
            tip = f"{name}: {100 * mean[-1][1]:.1f} %"
            axes.dot(mean[-1], color, shift=shift, radius=3, tip=tip)
        panels.append(axes.svg())
    if not panels:
        return ""
    note = "Lines: mean over seeds; band and strokes on the right: lowest to highest seed."
    return _charts(legend(benchmark.strategies, styles, note), panels)


def difference_chart(
    found: Mapping[str, Sequence[Difference]], first: str, label: str, scale: float = 1.0
) -> str:
    """The paired differences with their intervals, one panel per reading; "" without any.

    Args:
        found: reading, such as "equal images" -> differences.
        first: the judged strategy.
        label: of the axis.
        scale: 100 for shares that are shown in points.
    """
    shown = {reading: items for reading, items in found.items() if items}
    numbers = [0.0]
    for items in shown.values():
        for item in items:
            numbers += [item.overall.mean, *(item.overall.interval or ())]
            numbers += [d.mean for d in item.cases.values()]
    low, high = scale * min(numbers), scale * max(numbers)
    margin = 0.06 * ((high - low) or 1.0)
    panels = []
    for reading, items in shown.items():
        peers = [item.peer for item in items]
        axes = Axes(
            f"{first} less ..., {reading}",
            (low - margin, high + margin),
            (-0.6, len(peers) - 0.4),
            nice_ticks(low - margin, high + margin),
            range(len(peers)),
            label,
            y_names=list(reversed(peers)),
            width=560,
            height=86 + 34 * len(peers),
            left=40 + 7 * max(map(len, peers)),
        )
        axes.span((0, -0.6), (0, len(peers) - 0.4), INK, width=1.2)
        for row, item in enumerate(reversed(items)):
            for case, difference in item.cases.items() if len(item.cases) > 1 else ():
                tip = f"{case}: {scale * difference.mean:+.2f}"
                point = (scale * difference.mean, row)
                axes.dot(point, "var(--soft)", shift=(0, 8), radius=3, hollow=True, tip=tip)
            color = _color(item.overall.verdict)
            if item.overall.interval is not None:
                a, b = (scale * v for v in item.overall.interval)
                axes.span((a, row), (b, row), color, width=3)
            tip = f"{item.peer}: {scale * item.overall.mean:+.2f}"
            axes.dot((scale * item.overall.mean, row), color, radius=5.5, tip=tip)
        panels.append(axes.svg())
    if not panels:
        return ""
    several = any(len(i.cases) > 1 for items in shown.values() for i in items)
    note = "Right of 0: ahead. Dot and stroke: mean and 95 % interval"
    note += ", over all datasets; rings: single datasets." if several else "."
    return _charts(f"<p class=note>{note}</p>", panels)


def quality_chart(benchmark: Benchmark) -> str:
    """Mean F1 over the iterations, a panel per case and schedule; "" with one iteration only."""
    styles = looks(benchmark.strategies)
    panels = []
    for schedule in SCHEDULES:
        for case in benchmark.cases:
            series = {s: _f1_points(benchmark, case, s, schedule) for s in benchmark.strategies}
            if max((len(points) for points in series.values()), default=0) < 2:
                continue
            xs = sorted({x for points in series.values() for x in points})
            axes = Axes(
                f"{case}, {SCHEDULES[schedule]}",
                (xs[0] - 0.04 * (xs[-1] - xs[0]), xs[-1] + 0.12 * (xs[-1] - xs[0])),
                (0.0, 1.0),
                _thinned(xs),
                _SHARES,
                "labelled images",
            )
            full = [
                v
                for r in benchmark.of(case, FULL)
                if (v := _f1(r, schedule, len(r.iterations) - 1)) is not None
            ]
            if full:
                level = float(np.mean(full))
                axes.span(
                    (axes.x_range[0], level), (axes.x_range[1], level), "var(--soft)", dash="dash"
                )
                axes.note((axes.x_range[0], level), "full set", anchor="start")
            for name in reversed(benchmark.strategies):
                points, style = series[name], styles[name]
                mean = [(x, float(np.mean(points[x]))) for x in sorted(points)]
                shift = (_APART * (benchmark.strategies.index(name) - len(series) / 2) / 2, 0.0)
                for x, values in points.items():
                    axes.span(
                        (x, min(values)), (x, max(values)), style.color, shift=shift, width=1.4
                    )
                axes.line(mean, style, bold=name == benchmark.first)
                for x, value in mean:
                    axes.dot((x, value), style.color, radius=3.5, tip=f"{name}: {value:.2f}")
            panels.append(axes.svg())
    if not panels:
        return ""
    note = "Lines: mean F1 over seeds; strokes: lowest to highest seed."
    return _charts(legend(benchmark.strategies, styles, note), panels)


Points = list[tuple[float, float]]


def _curve(benchmark: Benchmark, case: str, strategy: str) -> tuple[Points, Points, Points]:
    """Lowest, mean and highest share over the seeds, as far as every seed reaches."""
    curves, start = [], 0
    for run in benchmark.of(case, strategy):
        curve = found_over_images(run)
        if curve is not None:
            curves.append(curve[: benchmark.images[case, run.seed] - run.initial + 1])
            start = run.initial
    if not curves:
        return [], [], []
    length = min(map(len, curves))
    values = np.stack([curve[:length] for curve in curves])
    low, mean, high = (
        [(float(start + k), float(v)) for k, v in enumerate(row)]
        for row in (values.min(axis=0), values.mean(axis=0), values.max(axis=0))
    )
    return low, mean, high


def _f1_points(
    benchmark: Benchmark, case: str, strategy: str, schedule: str
) -> dict[int, list[float]]:
    """Labelled images -> mean F1 of every seed."""
    points: dict[int, list[float]] = {}
    for run in benchmark.of(case, strategy):
        for k in range(last_iteration(benchmark, run) + 1):
            value = _f1(run, schedule, k)
            if value is not None:
                points.setdefault(int(run.iterations[k]["images"]), []).append(value)
    return points


def _f1(run: Run, schedule: str, iteration: int) -> float | None:
    found = detector_of(run, schedule, iteration)
    return defined(found["macro_f1"]) if found else None


def _image_ticks(runs: Sequence[Run], end: int) -> list[float]:
    """The numbers of images after each batch."""
    numbers = sorted({int(e["images"]) for r in runs for e in r.iterations if e["images"] <= end})
    return _thinned(numbers)


def _thinned(numbers: Sequence[int]) -> list[float]:
    if len(numbers) <= _TICKS:
        return [float(n) for n in numbers]
    return nice_ticks(numbers[0], numbers[-1])


def _color(verdict: str) -> str:
    return {"above": "var(--good)", "below": "var(--bad)"}.get(verdict, "var(--even)")


def _charts(above: str, panels: Sequence[str]) -> str:
    return f"{above}<div class=charts>{''.join(panels)}</div>"
