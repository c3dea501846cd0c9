"""What is known of the people who label: their time, what the ranking saved of it, their agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from unseen.annotation import describe, truth
from unseen.annotation.agreement import read_agreement
from unseen.annotation.sendings import read_sendings
from unseen.annotation.working_time import hours_until, worked
from unseen.dataset.loop import Loop
from unseen.loop.curves import IterationSummary
from unseen.loop.facts import Records
from unseen.loop.overview_data import Control


def read_people(loop: Loop, records: Records, control: Callable[[], Control | None]) -> list[str]:
    """Sentences; none where no server tells times and nothing was shown for comparison."""
    lines = []
    known = [worked(loop, record) for record in records.sendings.values()]
    ids = [i for of_record in known for i in of_record.ids]
    images, boxes = truth.count_boxes(loop, ids) if ids else (0, 0)
    if images:
        seconds = sum(of_record.seconds for of_record in known)
        per_box = f", {seconds / boxes:.0f} s per box" if boxes else ""
        lines.append(
            f"{seconds / 3600:.1f} hours of labelling are known: {seconds / images:.0f} s per image"
            f"{per_box}."
        )
        if saved := hours_saved(control(), seconds / images):
            lines.append(saved)
    return [*lines, *describe(read_agreement(loop, list(records.sendings.values())))]


def with_hours(loop: Loop, summaries: Sequence[IterationSummary]) -> list[IterationSummary]:
    """The points of all series with the hours of labelling, where they are known."""
    series = {i.series: Loop(loop.dataset, replace(loop.names, series=i.series)) for i in summaries}
    hours = {name: hours_until(of, read_sendings(of)) for name, of in series.items()}
    return [replace(i, hours=hours[i.series].get(i.iteration)) for i in summaries]


def hours_saved(control: Control | None, seconds_per_image: float) -> str | None:
    """What ranking saved of the labelling; None where the control group gives no interval.

    As many boxes of rare classes as in n ranked images, r each, are in n * r / q random ones, q each.
    """
    if control is None or control.interval is None or control.random_per_image <= 0:
        return None
    ranked = sum(batch.ranked_images for batch in control.batches)
    hours = ranked / control.random_per_image * seconds_per_image / 3600
    low, high = control.interval.low * hours, control.interval.high * hours
    return (
        f"{control.gain * hours:.1f} hours saved against random images so far (95 %: {low:.1f} to "
        f"{high:.1f}): with random ones it would take so much longer to find as many boxes of rare or "
        "new classes. How many the random images of the batches hold is taken as exact."
    )
