"""The learning curve and the class balance as PNG, for slides and chats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from unseen.loop.curves import Curves, Series, balance, defined, read_curves
from unseen.loop.iteration import IterationSummary
from unseen.report.figures import shown_classes
from unseen.report.png import new_figure, save_png
from unseen.report.style import FULL_COLOR, look


def learning_curve(iterations: Sequence[IterationSummary], path: Path) -> Path | None:
    """Mean F1 against labelled images and boxes; None where no detector was evaluated."""
    curves = read_curves(iterations)
    if all(defined(p.macro_f1) is None for s in curves.series for p in s.points):
        return None
    figure = new_figure(1200, 460)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, name in ((left, "images"), (right, "boxes")):
        for series in reversed(curves.series):
            points = [(getattr(p, name), defined(p.macro_f1)) for p in series.points]
            _line(axes, curves, series, points)
        if curves.full is not None and (f1 := defined(curves.full.macro_f1)) is not None:
            label = f"Full set ({curves.full.images} images)"
            axes.axhline(f1, color=FULL_COLOR, lw=1.2, ls="--", label=label)
        axes.set_xlabel(f"Labelled {name}")
        axes.set_ylim(0, 1.02)
        _plain(axes)
    left.set_ylabel("Mean F1 on the test split")
    handles, labels = left.get_legend_handles_labels()
    names = [_escaped(s.label) for s in curves.series]
    order = sorted(range(len(labels)), key=lambda i: [*names, labels[i]].index(labels[i]))
    left.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        frameon=False,
        loc="lower right",
    )
    figure.tight_layout()
    return save_png(figure, path)


def class_balance(
    iterations: Sequence[IterationSummary], classes: Sequence[str], path: Path
) -> Path | None:
    """Normalised entropy against images, and boxes per class; None with fewer than two classes."""
    curves = read_curves(iterations)
    if curves.judged is None or len(classes) < 2:
        return None
    figure = new_figure(1200, 460)
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    for series in reversed(curves.series):
        points = [(p.images, balance(p.class_counts, classes)) for p in series.points]
        _line(left, curves, series, points)
    left.set_ylim(0, 1.02)
    left.set_xlabel("Labelled images")
    left.set_title("Balance (normalised entropy, 1 = even)", fontsize=11, loc="left")
    shown = shown_classes(curves, classes)
    images = curves.judged.last.images
    compared = [(s, p) for s in curves.series if (p := s.at(images)) is not None]
    width = 0.8 / len(compared)
    for i, (series, point) in enumerate(compared):
        xs = [k - 0.4 + (i + 0.5) * width for k in range(len(shown))]
        heights = [point.class_counts.get(c, 0) for c in shown]
        color = look(series.strategy).color
        bars = right.bar(xs, heights, width * 0.94, color=color, label=_escaped(series.label))
        if len(shown) <= 6:
            right.bar_label(bars, fontsize=8, padding=1)
    right.set_xticks(range(len(shown)), [_escaped(c) for c in shown])
    if len(shown) > 6:
        right.tick_params(axis="x", rotation=60)
    right.set_title(f"Labelled boxes per class with {images} images", fontsize=11, loc="left")
    right.legend(frameon=False)
    for axes in (left, right):
        _plain(axes)
    right.grid(visible=False, axis="x")
    figure.tight_layout()
    return save_png(figure, path)


def _line(
    axes: Axes, curves: Curves, series: Series, points: Sequence[tuple[int, float | None]]
) -> None:
    known = [(x, y) for x, y in points if y is not None]
    style, bold = look(series.strategy), series is curves.judged
    axes.plot(
        [x for x, _ in known],
        [y for _, y in known],
        color=style.color,
        linestyle=style.mpl_dash,
        marker=style.mpl_marker,
        linewidth=3.2 if bold else 1.7,
        markersize=8 if bold else 6,
        label=_escaped(series.label),
        clip_on=False,
        zorder=3 if bold else 2,
    )


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="0.9")
    axes.set_axisbelow(True)
    if not axes.get_xticklabels() or axes.get_xlabel():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _escaped(text: str) -> str:
    """Dollar signs would start a formula; an underscore in front would hide a legend entry."""
    return text.replace("$", r"\$").lstrip("_") or text
