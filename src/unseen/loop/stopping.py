"""When to stop labelling: one rule, and the numbers behind it in sentences.

The rule is written down in docs/method.md, "When to stop".
"""

from __future__ import annotations

from unseen.loop.overview_data import Advice, Interval, Now, Ranking, images_text
from unseen.loop.progress_data import ClassPoint, Gain, Point, Progress

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
    last = measured[-1] if measured else None
    recommendation, sentence, class_name = _decide(points, measured, ranking, now)
    return Advice(
        recommendation=recommendation,
        sentence=sentence,
        class_name=class_name,
        details=_details(last, ranking) if last else [],
    )


def _decide(
    points: list[Point], measured: list[Point], ranking: Ranking, now: Now
) -> tuple[str, str, str | None]:
    """Recommendation, sentence, and the class to look at."""
    if not measured:
        sentence = "No detector has been measured on the test split yet."
        if now.counts.test <= now.counts.test_unlabelled:
            what = "has no labels" if now.counts.test else "does not exist"
            sentence = f"The test split {what}, so no gain can be measured."
        return "measure first", sentence, None
    last = measured[-1]
    if last.iteration < max(now.iteration, points[-1].iteration):
        sentence = (
            f"The newest labels (iteration {now.iteration}) are not measured yet; the last "
            f"measurement is that of iteration {last.iteration}."
        )
        return "measure first", sentence, None
    if not now.counts.pool and not now.counts.out:
        sentence = "The pool is empty: every image is labelled, in the test split or excluded."
        return "stop", sentence, None
    if last.gain is None:
        sentence = (
            f"Only one detector was measured: mean F1 {_f1(last.macro_f1, last.macro_interval)} with "
            f"{images_text(last.images)} labelled. The next one will show what labelling gains."
        )
        return "go on", sentence, None
    if last.gain_two is None:
        return "go on", f"{_gain(last.gain)}. One batch is too little to see a trend.", None
    for gain in (last.gain, last.gain_two):
        if is_gain(gain):
            return "go on", f"{_gain(gain)}: labelling still pays off.", None
    return _after_the_rise(last, last.gain_two, ranking)


def _after_the_rise(last: Point, gain: Gain, ranking: Ranking) -> tuple[str, str, str | None]:
    """Is there a weak class or novelty left to label on for?"""
    is_loss = gain.interval is not None and gain.interval.high < 0
    level = f"{_gain(gain)}: {'a significant loss' if is_loss else 'no significant gain'}."
    if (name := weakest(last)) is not None:
        cell = last.per_class[name]
        sentence = (
            f"{level} {name} is behind with F1 {_f1(cell.f1, cell.interval)}, learned from "
            f"{last.class_counts.get(name, 0)} boxes: look at its missed and false boxes, and "
            "label images that show it."
        )
        return "look at class", sentence, name
    novelty, is_useless = ranking.novelty, ranking.trust.verdict == "no better than random"
    if novelty is None or is_useless:
        return "stop", f"{level} Nor does the ranking point to anything new: stop here.", None
    if novelty.share < MIN_NOVELTY:
        sentence = f"{level} Little in the pool is as novel as the last labelled batch: stop here."
        return "stop", sentence, None
    sentence = (
        f"{level} But {_percent(novelty.share)} of the pool is as novel as {novelty.batch} was: "
        "one more batch will show whether it matters."
    )
    return "go on", sentence, None


def is_gain(gain: Gain) -> bool:
    """Whether a rise is significant: all of its interval is above 0."""
    return gain.interval.low > 0 if gain.interval else gain.macro_f1 >= MIN_GAIN


def weakest(point: Point) -> str | None:
    """The class with the lowest F1 among those that are clearly behind, or None.

    Behind means: F1 lower than the mean by BEHIND, and either few boxes to learn from or an
    interval that ends below the mean.
    """
    mean = point.macro_f1 or 0.0

    def is_certain(name: str, cell: ClassPoint) -> bool:
        is_below = cell.interval is not None and cell.interval.high < mean
        return is_below or point.class_counts.get(name, 0) < FEW_BOXES

    behind = [
        (cell.f1, name)
        for name, cell in point.per_class.items()
        if cell.support and cell.f1 < mean - BEHIND and is_certain(name, cell)
    ]
    return min(behind)[1] if behind else None


# --- details ---------------------------------------------------------------------------------------
def _details(last: Point, ranking: Ranking) -> list[str]:
    labelled = images_text(last.images)
    lines = [f"Mean F1 {_f1(last.macro_f1, last.macro_interval)} with {labelled} labelled."]
    lines += [f"{_gain(gain)}." for gain in (last.gain, last.gain_two) if gain is not None]
    if last.gain and last.gain.images > 0:
        lines.append(f"The newest images held {last.gain.boxes / last.gain.images:.1f} boxes each.")
    if ranking.novelty is not None:
        lines.append(
            f"{_percent(ranking.novelty.share)} of the pool is as novel as the median image of "
            f"{ranking.novelty.batch} was."
        )
    for name, cell in sorted(last.per_class.items(), key=lambda item: item[1].f1):
        boxes = last.class_counts.get(name, 0)
        if not cell.support:
            lines.append(f"{name} has no box in the test split: it cannot be measured.")
        elif boxes < FEW_BOXES or cell.f1 < (last.macro_f1 or 0) - BEHIND:
            f1 = _f1(cell.f1, cell.interval)
            lines.append(f"{name}: F1 {f1}, {boxes} labelled boxes, {cell.support} test boxes.")
    return lines


def _gain(gain: Gain) -> str:
    interval = gain.interval
    between = f" (95 % {interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    per = f", {100 * gain.macro_f1 / gain.images:+.2f} per 100 images" if gain.images > 0 else ""
    change = f"{gain.macro_f1:+.2f}{between}{per}"
    return f"The last {images_text(gain.images)} changed the mean F1 by {change}"


def _f1(value: float | None, interval: Interval | None) -> str:
    text = "-" if value is None else f"{value:.2f}"
    return f"{text} ({interval.low:.2f} to {interval.high:.2f})" if interval else text


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
