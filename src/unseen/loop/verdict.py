"""Did the ranking earn its keep? The answer in sentences, made from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from unseen.loop.curves import Curves, Series, defined, metrics_of, read_curves
from unseen.loop.facts import fact
from unseen.loop.iteration import IterationSummary

#: Differences of mean F1 below this are called level: on one run with a test split of tens of
#: images, the seed and a handful of boxes move it by several hundredths.
LEVEL = 0.05
#: Classes with fewer test boxes are named with a warning.
FEW_BOXES = 20


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
    """The opening of the report.

    Attributes:
        outcome: win, mixed, level, loss, or unknown (something to compare is missing).
        headline: a few words.
        sentence: the numbers behind them.
        details: per-class gain and loss, labelling effort, rare boxes; one sentence each.
        bars: mean F1 of the judged series and of what it is compared with.
    """

    outcome: str
    headline: str
    sentence: str
    details: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class _Rival:
    """Another series at the compared number of images."""

    series: Series
    point: IterationSummary

    @property
    def f1(self) -> float:
        assert self.point.macro_f1 is not None
        return self.point.macro_f1


def judge(
    iterations: Sequence[IterationSummary],
    classes: Sequence[str],
    facts: Mapping[str, object] | None = None,
) -> Verdict:
    """Compare the ranked series with its baselines at the same number of images."""
    curves = read_curves(iterations)
    facts = facts or {}
    if curves.judged is None:
        return Verdict("unknown", "Nothing to report yet.", "No iteration has been recorded.")
    rare = _rare_boxes(curves, classes)
    measured = [p for p in curves.judged.points if _f1(p) is not None]
    if not measured:
        n = len(curves.judged.points)
        what = f"The {n} recorded iterations" if n > 1 else "The recorded iteration"
        sentence = f"{what} can be compared by what was labelled only."
        return Verdict("unknown", "No detector was evaluated.", sentence, rare)

    images, rivals = _compared(curves)
    if not rivals:
        return _alone(curves, measured, facts, rare)
    ours = curves.judged.at(images)
    assert ours is not None
    # Another ranking is a rival in the numbers, but says nothing about ranking as such.
    baselines = [r for r in rivals if not r.series.is_ranked]
    gaps = {r.series.label: _f1_of(ours) - r.f1 for r in baselines}
    outcome, headline = _outcome(gaps, curves.judged)
    name = "the ranked loop" if curves.judged.is_ranked else f"the {_lower(curves.judged)} loop"
    scores = ", ".join(f"{_lower(r.series)} {short(r.f1)}" for r in rivals)
    sentence = (
        f"With {images} labelled images {name} reaches mean F1 {short(_f1_of(ours))}, {scores} "
        f"({_split(facts)}one run: differences of a few hundredths are noise)."
    )
    absent = [s for s in curves.others if all(r.series is not s for r in rivals)]
    if absent:
        names = " and ".join(_lower(s) for s in absent)
        sentence += f" {names[:1].upper()}{names[1:]} was not measured with {images} images."
    details = (
        *_per_class(ours, baselines or rivals, classes),
        *_effort(curves.judged, ours, baselines or rivals),
        *_against_full(ours, curves.full),
        *rare,
    )
    bars = [_bar(curves.judged, ours), *(_bar(r.series, r.point) for r in rivals)]
    if curves.full is not None and _f1(curves.full) is not None:
        full = curves.full
        bars.append(Bar("Full set", full.strategy, _f1(full), full.images, full.boxes))
    return Verdict(outcome, headline, sentence, details, tuple(bars))


def short(value: float | None) -> str:
    """Two decimals without the leading zero, as in ".68"; "-" where undefined."""
    value = defined(value)
    if value is None:
        return "-"
    text = f"{value:.2f}"
    return text[1:] if text.startswith("0") else text


# --- which points are compared -------------------------------------------------------------------
def _compared(curves: Curves) -> tuple[int, list[_Rival]]:
    """The largest number of images at which the judged series and a rival were both measured.

    A number with an unranked rival goes before a larger one with rankings only. The initial images are the same for all series, so they do not count as a comparison.
    """
    assert curves.judged is not None
    best: tuple[int, list[_Rival]] = (0, [])
    for point in curves.judged.points:
        if point.iteration == 0 or _f1(point) is None:
            continue
        rivals = []
        for series in curves.others:
            other = series.at(point.images)
            if other is not None and other.iteration > 0 and _f1(other) is not None:
                rivals.append(_Rival(series, other))
        if rivals and (_has_baseline(rivals) or not _has_baseline(best[1])):
            best = (point.images, rivals)
    return best


def _has_baseline(rivals: Sequence[_Rival]) -> bool:
    return any(not r.series.is_ranked for r in rivals)


def _alone(
    curves: Curves,
    measured: Sequence[IterationSummary],
    facts: Mapping[str, object],
    rare: tuple[str, ...],
) -> Verdict:
    """The judged series has no baseline to be compared with."""
    assert curves.judged is not None
    first, last = measured[0], measured[-1]
    bars = [_bar(curves.judged, last)]
    if last.iteration == 0:
        sentence = (
            f"The detector of the {last.images} initial images reaches mean F1 "
            f"{short(_f1(last))}{_parenthesis(facts)}. Label the first batch and compare again."
        )
        return Verdict("unknown", "Only the initial images so far.", sentence, rare, tuple(bars))
    sentence = (
        f"No baseline was measured with as many images. The loop went from mean F1 "
        f"{short(_f1(first))} with {first.images} images to {short(_f1(last))} with {last.images}"
        f"{_parenthesis(facts)}; more images of any kind would have raised it too. Run the "
        "strategies sequential and random beside it to find out what the ranking adds."
    )
    details = (*_against_full(last, curves.full), *rare)
    return Verdict("unknown", "No baseline to compare with.", sentence, details, tuple(bars))


def _outcome(gaps: Mapping[str, float], judged: Series) -> tuple[str, str]:
    if not gaps:
        return "unknown", "Compared with other rankings only."
    won = [label for label, gap in gaps.items() if gap >= LEVEL]
    lost = [label for label, gap in gaps.items() if gap <= -LEVEL]
    level = [label for label in gaps if label not in won and label not in lost]
    what = "The ranking" if judged.is_ranked else f"{judged.label} labelling"
    if lost:
        if not judged.is_ranked:
            return "loss", f"{what} lost to {_names(lost)}."
        return "loss", f"The ranking did not earn its keep: {_names(lost)} labelling did better."
    if level and not won:
        return "level", f"No clear difference: {what.lower()} is level with {_names(level)}."
    if level:
        return "mixed", f"{what} beat {_names(won)} but is level with {_names(level)}."
    if not judged.is_ranked:
        return "win", f"{what} did better than {_names(won)}."
    return "win", "The ranking earned its keep."


# --- details -------------------------------------------------------------------------------------
def _per_class(
    ours: IterationSummary, rivals: Sequence[_Rival], classes: Sequence[str]
) -> tuple[str, ...]:
    """The classes with the biggest gain and the biggest loss against the best rival of each."""
    gaps: list[tuple[float, str, str]] = []
    for label in classes:
        mine = metrics_of(ours, label)
        theirs = [(m.f1, r) for r in rivals if (m := metrics_of(r.point, label)) is not None]
        if mine is None or defined(mine.f1) is None or not theirs:
            continue
        best, rival = max(theirs, key=lambda pair: pair[0])
        few = f", only {mine.support} test boxes" if mine.support < FEW_BOXES else ""
        text = (
            f"{label} {mine.f1 - best:+.2f} (F1 {short(mine.f1)}, "
            f"{_lower(rival.series)} {short(best)}{few})"
        )
        gaps.append((mine.f1 - best, label, text))
    if len(gaps) < 2:
        return ()
    top, bottom = max(gaps), min(gaps)
    sentences = []
    if top[0] >= LEVEL:
        sentences.append(f"Biggest gain over the best baseline: {top[2]}.")
    if bottom[0] <= -LEVEL:
        sentences.append(f"Biggest loss: {bottom[2]}.")
    if not sentences:
        return (f"No class differs from the best baseline by {LEVEL:.2f} or more.",)
    if top[0] < LEVEL:
        sentences.append("No class gained.")
    if bottom[0] > -LEVEL:
        sentences.append("No class lost.")
    return (" ".join(sentences),)


def _effort(judged: Series, ours: IterationSummary, rivals: Sequence[_Rival]) -> tuple[str, ...]:
    """Equal images are not equal work: say so where the number of boxes differs much."""
    most = max(rivals, key=lambda r: r.point.boxes)
    if ours.boxes > 0 and most.point.boxes >= 1.15 * ours.boxes:
        return (
            f"Equal images are not equal work: its images hold {ours.boxes} boxes, "
            f"{_lower(most.series)}'s {most.point.boxes}. See the figure against labelled boxes.",
        )
    fewest = min(rivals, key=lambda r: r.point.boxes)
    if fewest.point.boxes <= 0 or ours.boxes < 1.15 * fewest.point.boxes:
        return ()
    sentence = (
        f"Equal images are not equal work: its images hold {ours.boxes} boxes, "
        f"{_lower(fewest.series)}'s {fewest.point.boxes}."
    )
    at_equal = _interpolated(judged, fewest.point.boxes)
    if at_equal is not None:
        sentence += (
            f" With {fewest.point.boxes} boxes it stands at about {short(at_equal)} (between two "
            f"iterations), {_lower(fewest.series)} at {short(fewest.f1)}."
        )
    return (sentence,)


def _interpolated(series: Series, boxes: int) -> float | None:
    """Mean F1 of a series at a number of boxes, linear between its iterations; None outside."""
    points = [p for p in series.points if _f1(p) is not None]
    for left, right in pairwise(points):
        if left.boxes <= boxes <= right.boxes and left.boxes < right.boxes:
            share = (boxes - left.boxes) / (right.boxes - left.boxes)
            return _f1_of(left) + share * (_f1_of(right) - _f1_of(left))
    return None


def _against_full(ours: IterationSummary, full: IterationSummary | None) -> tuple[str, ...]:
    if full is None or _f1(full) is None or full.images <= 0:
        return ()
    share = 100 * ours.images / full.images
    schedule = f" ({full.schedule})" if full.schedule else ""
    return (
        f"Trained on all {full.images} images{schedule}, the detector reaches "
        f"{short(_f1(full))}; the loop labelled {share:.0f} % of them.",
    )


def _rare_boxes(curves: Curves, classes: Sequence[str]) -> tuple[str, ...]:
    """Boxes of the rarest class that each series found.

    The rarest class is the one with the fewest boxes in the full set, or else, where nobody knows
    that, with the smallest share in any series.
    """
    if curves.judged is None or len(classes) < 2 or len(curves.judged.points) < 2:
        return ()
    images = curves.judged.last.images
    ends = [(s, p) for s in curves.series if (p := s.at(images)) is not None]
    known = [curves.full] if curves.full else [p for _, p in ends]
    rarest = min(classes, key=lambda c: (sum(p.class_counts.get(c, 0) for p in known), c))
    if not any(p.class_counts.get(rarest, 0) for _, p in ends) and not curves.full:
        return (f"No example of {rarest} has been labelled yet.",)
    counts = ", ".join(f"{_lower(s)} {p.class_counts.get(rarest, 0)}" for s, p in ends)
    pool = f" ({curves.full.class_counts.get(rarest, 0)} in the full set)" if curves.full else ""
    return (f"Boxes of the rarest class, {rarest}{pool}, within {images} images: {counts}.",)


# --- words ---------------------------------------------------------------------------------------
def _f1(point: IterationSummary) -> float | None:
    return defined(point.macro_f1)


def _f1_of(point: IterationSummary) -> float:
    value = _f1(point)
    assert value is not None
    return value


def _bar(series: Series, point: IterationSummary) -> Bar:
    return Bar(series.label, series.strategy, _f1(point), point.images, point.boxes)


def _lower(series: Series) -> str:
    return series.label[:1].lower() + series.label[1:]


def _names(labels: Sequence[str]) -> str:
    return " and ".join(label[:1].lower() + label[1:] for label in labels)


def _split(facts: Mapping[str, object]) -> str:
    images = fact(facts, "test_images")
    return f"test split of {images} images, " if images else ""


def _parenthesis(facts: Mapping[str, object]) -> str:
    return f" ({_split(facts).rstrip(', ')})" if _split(facts) else ""
