"""Did the ranking earn its keep? The answer in sentences, made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from unseen.loop.curves import (
    Curves,
    IterationSummary,
    Series,
    defined,
    metrics_of,
    read_curves,
)

#: Differences of mean F1 below this are called level: in one run with tens of test images, the seed
#: and a handful of boxes move it by several hundredths.
LEVEL = 0.05
#: Classes with fewer test boxes are named with a warning.
FEW_BOXES = 20
#: Series whose boxes differ by more than this factor took unequal work.
UNEQUAL_WORK = 1.15

Lines = tuple[str, ...]


@dataclass(frozen=True)
class Bar:
    """One bar under the verdict."""

    label: str
    strategy: str
    value: float | None
    images: int
    boxes: int


@dataclass(frozen=True)
class Verdict:
    """The opening of the report."""

    outcome: str  #: win, mixed, level, loss, or unknown (something to compare is missing)
    headline: str  #: a few words
    sentence: str  #: the numbers behind them
    details: Lines = ()  #: gain and loss per class, labelling effort, rare boxes
    bars: tuple[Bar, ...] = ()  #: mean F1 of the judged series and of what it is compared with


@dataclass(frozen=True)
class _Measured:
    """A series at a number of images at which its detector was measured."""

    series: Series
    point: IterationSummary

    @property
    def f1(self) -> float:
        return _f1_of(self.point)

    @property
    def name(self) -> str:
        return _lower(self.series.label)

    @property
    def bar(self) -> Bar:
        point = self.point
        return Bar(self.series.label, self.series.strategy, self.f1, point.images, point.boxes)


def judge(
    iterations: Sequence[IterationSummary],
    classes: Sequence[str],
    facts: Mapping[str, object] | None = None,
) -> Verdict:
    """Compare the ranked series with its baselines at the same number of images."""
    curves = read_curves(iterations)
    if curves.judged is None:
        return Verdict("unknown", "Nothing to report yet.", "No iteration has been recorded.")
    rare = _rarest_class(curves, classes)
    if not _measured(curves.judged):
        count = len(curves.judged.points)
        what = f"The {count} recorded iterations" if count > 1 else "The recorded iteration"
        sentence = f"{what} can only be compared by what was labelled."
        return Verdict("unknown", "No detector was evaluated.", sentence, rare)
    test_images = (facts or {}).get("test_images")
    split = f"test split of {test_images} images" if test_images else ""
    ours, rivals = _compared(curves)
    if ours is None:
        return _alone(curves.judged, curves.full, split, rare)

    # Another ranking is a rival in the numbers, but says nothing about ranking as such.
    baselines = [r for r in rivals if not r.series.is_ranked]
    outcome, headline = _outcome(ours, baselines)
    name = "the ranked loop" if ours.series.is_ranked else f"the {ours.name} loop"
    scores = ", ".join(f"{r.name} {short(r.f1)}" for r in rivals)
    images = ours.point.images
    sentence = (
        f"With {images} labelled images {name} reaches mean F1 {short(ours.f1)}, {scores} "
        f"({split}{', ' if split else ''}one run: differences of a few hundredths are noise)."
    )
    absent = [s.label for s in curves.others if all(r.series is not s for r in rivals)]
    if absent:
        names = _names(absent)
        sentence += f" {names[:1].upper()}{names[1:]} was not measured with {images} images."
    details = (
        *_per_class(ours, baselines or rivals, classes),
        *_effort(ours, baselines or rivals),
        *_against_full(ours.point, curves.full),
        *rare,
    )
    bars = [ours.bar, *(r.bar for r in rivals)]
    if (full := curves.full) is not None and defined(full.macro_f1) is not None:
        bars.append(Bar("Full set", full.strategy, full.macro_f1, full.images, full.boxes))
    return Verdict(outcome, headline, sentence, details, tuple(bars))


def short(value: float | None) -> str:
    """Two decimals without the leading zero, as in ".68"; "-" where undefined."""
    value = defined(value)
    return "-" if value is None else f"{value:.2f}".removeprefix("0")


# --- which points are compared ---------------------------------------------------------------------
def _measured(series: Series) -> list[IterationSummary]:
    return [p for p in series.points if defined(p.macro_f1) is not None]


def _compared(curves: Curves) -> tuple[_Measured | None, list[_Measured]]:
    """The judged series and its rivals at the largest number of images at which both were measured.

    Numbers with an unranked rival take precedence. The initial images are the same for all series,
    so they do not count.
    """
    assert curves.judged is not None
    best: tuple[_Measured | None, list[_Measured]] = (None, [])
    for point in _measured(curves.judged):
        at_equal_images = [(s, s.at(point.images)) for s in curves.others]
        rivals = [
            _Measured(series, other)
            for series, other in at_equal_images
            if other is not None and other.iteration > 0 and defined(other.macro_f1) is not None
        ]
        is_better = _has_baseline(rivals) or not _has_baseline(best[1])
        if point.iteration > 0 and rivals and is_better:
            best = (_Measured(curves.judged, point), rivals)
    return best


def _has_baseline(rivals: Sequence[_Measured]) -> bool:
    return any(not r.series.is_ranked for r in rivals)


def _alone(judged: Series, full: IterationSummary | None, split: str, rare: Lines) -> Verdict:
    """There is no baseline to compare with."""
    points = _measured(judged)
    first, last = points[0], points[-1]
    bars = (_Measured(judged, last).bar,)
    split = f" ({split})" if split else ""
    if last.iteration == 0:
        sentence = (
            f"The detector of the {last.images} initial images reaches mean F1 "
            f"{short(last.macro_f1)}{split}. Label the first batch and compare again."
        )
        return Verdict("unknown", "Only the initial images so far.", sentence, rare, bars)
    sentence = (
        f"No baseline was measured with as many images. The loop went from mean F1 "
        f"{short(first.macro_f1)} with {first.images} images to {short(last.macro_f1)} with "
        f"{last.images}{split}; more images of any kind would have raised it too. Run the "
        "strategies sequential and random beside it to find out what the ranking adds."
    )
    details = (*_against_full(last, full), *rare)
    return Verdict("unknown", "No baseline to compare with.", sentence, details, bars)


def _outcome(ours: _Measured, baselines: Sequence[_Measured]) -> tuple[str, str]:
    if not baselines:
        return "unknown", "Compared with other rankings only."
    gaps = {r.series.label: ours.f1 - r.f1 for r in baselines}
    won = [label for label, gap in gaps.items() if gap >= LEVEL]
    lost = [label for label, gap in gaps.items() if gap <= -LEVEL]
    level = [label for label in gaps if label not in won and label not in lost]
    is_ranked = ours.series.is_ranked
    what = "The ranking" if is_ranked else f"{ours.series.label} labelling"
    if lost and is_ranked:
        return "loss", f"The ranking did not earn its keep: {_names(lost)} labelling did better."
    if lost:
        return "loss", f"{what} lost to {_names(lost)}."
    if level and not won:
        return "level", f"No clear difference: {what.lower()} is level with {_names(level)}."
    if level:
        return "mixed", f"{what} beat {_names(won)} but is level with {_names(level)}."
    if is_ranked:
        return "win", "The ranking earned its keep."
    return "win", f"{what} did better than {_names(won)}."


# --- details ---------------------------------------------------------------------------------------
def _per_class(ours: _Measured, rivals: Sequence[_Measured], classes: Sequence[str]) -> Lines:
    """The classes with the biggest gain and the biggest loss against the best rival of each."""
    gaps: list[tuple[float, str, str]] = []
    for label in classes:
        mine = metrics_of(ours.point, label)
        theirs = [(m.f1, r) for r in rivals if (m := metrics_of(r.point, label)) is not None]
        if mine is None or defined(mine.f1) is None or not theirs:
            continue
        best, rival = max(theirs, key=lambda pair: pair[0])
        few = f", only {mine.support} test boxes" if mine.support < FEW_BOXES else ""
        numbers = f"F1 {short(mine.f1)}, {rival.name} {short(best)}{few}"
        gaps.append((mine.f1 - best, label, f"{label} {mine.f1 - best:+.2f} ({numbers})"))
    if len(gaps) < 2:
        return ()
    (gain, _, best_class), (loss, _, worst_class) = max(gaps), min(gaps)
    if gain < LEVEL and loss > -LEVEL:
        return (f"No class differs from the best baseline by {LEVEL:.2f} or more.",)
    if gain < LEVEL:
        return (f"Biggest loss: {worst_class}. No class gained.",)
    lost = f"Biggest loss: {worst_class}." if loss <= -LEVEL else "No class lost."
    return (f"Biggest gain over the best baseline: {best_class}. {lost}",)


def _effort(ours: _Measured, rivals: Sequence[_Measured]) -> Lines:
    """Equal images are not equal work: say so where the number of boxes differs much."""
    boxes = ours.point.boxes
    most = max(rivals, key=lambda r: r.point.boxes)
    fewest = min(rivals, key=lambda r: r.point.boxes)
    if boxes > 0 and most.point.boxes >= UNEQUAL_WORK * boxes:
        return (f"{_unequal(ours, most)} See the figure against labelled boxes.",)
    if fewest.point.boxes <= 0 or boxes < UNEQUAL_WORK * fewest.point.boxes:
        return ()
    sentence = _unequal(ours, fewest)
    at_equal = _interpolated(ours.series, fewest.point.boxes)
    if at_equal is not None:
        sentence += (
            f" With {fewest.point.boxes} boxes it stands at about {short(at_equal)} (between two "
            f"iterations), {fewest.name} at {short(fewest.f1)}."
        )
    return (sentence,)


def _unequal(ours: _Measured, rival: _Measured) -> str:
    return (
        f"Equal images are not equal work: its images hold {ours.point.boxes} boxes, "
        f"{rival.name}'s {rival.point.boxes}."
    )


def _interpolated(series: Series, boxes: int) -> float | None:
    """Mean F1 of a series at a number of boxes, linear between its iterations; None outside."""
    for left, right in pairwise(_measured(series)):
        if left.boxes <= boxes <= right.boxes and left.boxes < right.boxes:
            share = (boxes - left.boxes) / (right.boxes - left.boxes)
            return _f1_of(left) + share * (_f1_of(right) - _f1_of(left))
    return None


def _against_full(ours: IterationSummary, full: IterationSummary | None) -> Lines:
    if full is None or defined(full.macro_f1) is None:
        return ()
    schedule = f" ({full.schedule})" if full.schedule else ""
    return (
        f"Trained on all {full.images} images{schedule}, the detector reaches "
        f"{short(full.macro_f1)}; the loop labelled {100 * ours.images / full.images:.0f} % of "
        "them.",
    )


def _rarest_class(curves: Curves, classes: Sequence[str]) -> Lines:
    """The boxes of the class with the fewest boxes in the full set (else in any series), by series."""
    if curves.judged is None or len(classes) < 2 or len(curves.judged.points) < 2:
        return ()
    images, full = curves.judged.last.images, curves.full
    ends = [(s, p) for s in curves.series if (p := s.at(images)) is not None]
    counted = [full] if full else [p for _, p in ends]
    rarest = min(classes, key=lambda c: (sum(p.class_counts.get(c, 0) for p in counted), c))
    if not full and not any(p.class_counts.get(rarest, 0) for p in counted):
        return (f"No example of {rarest} has been labelled yet.",)
    counts = ", ".join(f"{_lower(s.label)} {p.class_counts.get(rarest, 0)}" for s, p in ends)
    pool = f" ({full.class_counts.get(rarest, 0)} in the full set)" if full else ""
    return (f"Boxes of the rarest class, {rarest}{pool}, within {images} images: {counts}.",)


# --- words -----------------------------------------------------------------------------------------
def _f1_of(point: IterationSummary) -> float:
    assert point.macro_f1 is not None
    return point.macro_f1


def _lower(label: str) -> str:
    return label[:1].lower() + label[1:]


def _names(labels: Sequence[str]) -> str:
    return " and ".join(map(_lower, labels))
