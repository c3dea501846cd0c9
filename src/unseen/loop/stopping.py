"""When to stop labelling: one rule, its figures, and the sentence that follows from them.

The rule is written down in docs/method.md, "When to stop"; each branch of it is one function here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unseen.loop.overview_data import (
    Advice,
    ClassPoint,
    Gain,
    Interval,
    Now,
    Point,
    Progress,
    Ranking,
)

#: A class with fewer labelled boxes has hardly been learned from.
FEW_BOXES = 25
#: A class is weak when its F1 is this much below the mean.
BEHIND = 0.05
#: Without an interval (FiftyOne's evaluation is gone), a gain counts from here on.
MIN_GAIN = 0.02
#: With less of the pool as novel as the last batch, novelty is spent.
MIN_NOVELTY = 0.05


def advise(progress: Progress, ranking: Ranking, now: Now) -> Advice:
    """Go on, look at a class, stop, or measure first: the first branch that applies."""
    points = [p for p in (progress.main.points if progress.main else []) if p.images]
    measured = [p for p in points if p.macro_f1 is not None]
    figures = _figures(measured, ranking, now)
    details = _details(measured, ranking)
    for branch in (_measure_first, _all_labelled, _too_early, _still_rising):
        found = branch(points, measured, now)
        if found is not None:
            return _advice(*found, figures=figures, details=details)
    last = measured[-1]
    level = f"{_gain(_longest(last), last)}: no gain that can be told from chance."
    weak = weakest(last)
    if weak is not None:
        name, cell = weak
        boxes = last.class_counts.get(name, 0)
        sentence = (
            f"{level} {name} is behind with F1 {_f1(cell.f1, cell.interval)}, learned from "
            f"{boxes} boxes: look at its missed and false boxes, and label images that show it."
        )
        return _advice("look at class", sentence, name, figures=figures, details=details)
    if novelty_left(ranking):
        assert ranking.novelty is not None
        sentence = (
            f"{level} Yet {_percent(ranking.novelty.share)} of the pool is as novel as "
            f"{ranking.novelty.batch} was: one more batch will show whether it matters."
        )
        return _advice("go on", sentence, figures=figures, details=details)
    sentence = f"{level} Little in the pool is as novel as what was labelled last: stop here."
    if ranking.novelty is None or ranking.trust.verdict == "no better than random":
        sentence = f"{level} The ranking does not point to anything new either: stop here."
    return _advice("stop", sentence, figures=figures, details=details)


# --- branches --------------------------------------------------------------------------------------
Found = tuple[str, str]


def _measure_first(points: list[Point], measured: list[Point], now: Now) -> Found | None:
    """Without a figure for the labels as they are, nothing can be said."""
    if now.counts.test <= now.counts.test_unlabelled and not measured:
        what = "has no labels" if now.counts.test else "does not exist"
        return "measure first", f"The test split {what}, so no gain can be measured."
    if not measured:
        return "measure first", "No detector has been measured on the test split yet."
    if measured[-1].iteration < max(now.iteration, points[-1].iteration):
        return (
            "measure first",
            f"The newest labels (iteration {now.iteration}) are not measured yet; the last figure "
            f"is that of iteration {measured[-1].iteration}.",
        )
    return None


def _all_labelled(points: list[Point], measured: list[Point], now: Now) -> Found | None:
    if now.counts.pool or now.counts.out:
        return None
    return "stop", "The pool is empty: every image is labelled, in the test split or excluded."


def _too_early(points: list[Point], measured: list[Point], now: Now) -> Found | None:
    """Two batches are the least that can show a trend."""
    if len(measured) > 2:
        return None
    last = measured[-1]
    if last.gain is None:
        return "go on", (
            f"Only {_images(last.images)} were measured (mean F1 "
            f"{_f1(last.macro_f1, last.macro_interval)}); the first batch will show what "
            "labelling brings."
        )
    return "go on", f"{_gain(last.gain, last)}. One batch is too little to see a trend."


def _still_rising(points: list[Point], measured: list[Point], now: Now) -> Found | None:
    last = measured[-1]
    for gain in (last.gain, last.gain_two):
        if gain is not None and is_gain(gain):
            return "go on", f"{_gain(gain, last)}: labelling still pays."
    return None


# --- figures ---------------------------------------------------------------------------------------
def is_gain(gain: Gain) -> bool:
    """A rise that can be told from chance: all of its interval is above 0."""
    if gain.interval is None:
        return gain.macro_f1 >= MIN_GAIN
    return gain.interval.low > 0


def weakest(point: Point) -> tuple[str, ClassPoint] | None:
    """The class with the lowest F1 among those that are clearly behind, or None.

    Behind means: F1 lower than the mean by BEHIND, and either few boxes to learn from or an
    interval that ends below the mean.
    """
    mean = point.macro_f1 or 0.0
    behind = [
        (cell.f1, name)
        for name, cell in point.per_class.items()
        if cell.support
        and cell.f1 < mean - BEHIND
        and (
            point.class_counts.get(name, 0) < FEW_BOXES
            or (cell.interval is not None and cell.interval.high < mean)
        )
    ]
    if not behind:
        return None
    name = min(behind)[1]
    return name, point.per_class[name]


def novelty_left(ranking: Ranking) -> bool:
    """Enough of the pool is as novel as the last batch, by a ranking that means something."""
    return (
        ranking.novelty is not None
        and ranking.novelty.share >= MIN_NOVELTY
        and ranking.trust.verdict != "no better than random"
    )


def _longest(last: Point) -> Gain | None:
    return last.gain_two or last.gain


def _figures(measured: list[Point], ranking: Ranking, now: Now) -> dict[str, Any]:
    last = measured[-1] if measured else None
    return {
        "macro_f1": last.macro_f1 if last else None,
        "macro_interval": _pair(last.macro_interval) if last else None,
        "gain_one": _per_image(last.gain) if last else None,
        "gain_two": _per_image(last.gain_two) if last else None,
        "boxes_per_image": last.gain.boxes / last.gain.images
        if last and last.gain and last.gain.images
        else None,
        "novelty_left": ranking.novelty.share if ranking.novelty else None,
        "novelty_batch": ranking.novelty.batch if ranking.novelty else None,
        "trust": ranking.trust.verdict,
        "pool": now.counts.pool,
        "classes": _classes(last) if last else {},
    }


def _per_image(gain: Gain | None) -> dict[str, Any] | None:
    if gain is None or gain.images <= 0:
        return None
    interval = gain.interval
    return {
        "gain": gain.macro_f1,
        "interval": _pair(interval),
        "images": gain.images,
        "boxes": gain.boxes,
        "since": gain.since,
        "per_image": gain.macro_f1 / gain.images,
        "per_image_interval": [interval.low / gain.images, interval.high / gain.images]
        if interval
        else None,
    }


def _classes(point: Point) -> dict[str, Any]:
    return {
        name: {
            "f1": cell.f1,
            "interval": _pair(cell.interval),
            "support": cell.support,
            "boxes": point.class_counts.get(name, 0),
        }
        for name, cell in point.per_class.items()
    }


def _details(measured: list[Point], ranking: Ranking) -> list[str]:
    if not measured:
        return []
    last = measured[-1]
    found = [f"Mean F1 {_f1(last.macro_f1, last.macro_interval)} with {_images(last.images)}."]
    found += [f"{_gain(g, last)}." for g in (last.gain, last.gain_two) if g is not None]
    if last.gain and last.gain.images > 0:
        boxes = last.gain.boxes / last.gain.images
        found.append(f"The newest images held {boxes:.1f} boxes each.")
    if ranking.novelty is not None:
        found.append(
            f"{_percent(ranking.novelty.share)} of the pool is as novel as the typical image of "
            f"{ranking.novelty.batch} was."
        )
    for name, cell in sorted(last.per_class.items(), key=lambda item: item[1].f1):
        boxes = last.class_counts.get(name, 0)
        if not cell.support:
            found.append(f"{name} has no box in the test split: it cannot be measured.")
        elif boxes < FEW_BOXES or cell.f1 < (last.macro_f1 or 0) - BEHIND:
            f1 = _f1(cell.f1, cell.interval)
            found.append(f"{name}: F1 {f1}, {boxes} labelled boxes, {cell.support} test boxes.")
    return found


# --- words -----------------------------------------------------------------------------------------
def _advice(
    recommendation: str,
    sentence: str,
    class_name: str | None = None,
    *,
    figures: Mapping[str, Any],
    details: list[str],
) -> Advice:
    return Advice(
        recommendation=recommendation,
        sentence=sentence,
        class_name=class_name,
        figures=dict(figures),
        details=details,
    )


def _gain(gain: Gain | None, last: Point) -> str:
    if gain is None:
        return f"Mean F1 {last.macro_f1:.2f}"
    between = (
        f" (95 % {gain.interval.low:+.2f} to {gain.interval.high:+.2f})" if gain.interval else ""
    )
    per = f", {100 * gain.macro_f1 / gain.images:+.2f} per 100 images" if gain.images > 0 else ""
    return (
        f"The last {_images(gain.images)} changed the mean F1 by {gain.macro_f1:+.2f}{between}{per}"
    )


def _f1(value: float | None, interval: Interval | None) -> str:
    text = "-" if value is None else f"{value:.2f}"
    return f"{text} ({interval.low:.2f} to {interval.high:.2f})" if interval else text


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
