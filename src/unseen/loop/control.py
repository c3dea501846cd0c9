"""What ranking was worth on the user's own data: ranked images against the random ones of the same batches.

A share of each batch can be drawn at random. Both parts are labelled by the same people at the same
time, so their difference is the gain over random, without any assumption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unseen.arrays.bootstrap import mean_difference_interval
from unseen.loop.overview_data import Control, ControlBatch, Interval
from unseen.loop.trust import rare_classes


@dataclass(frozen=True, kw_only=True)
class LabelledParts:
    """The two parts of one batch; each image is the list of its boxes' classes."""

    batch: str
    ranked: Sequence[Sequence[str]]
    random: Sequence[Sequence[str]]
    counts_before: Mapping[str, int]  #: labelled boxes per class when the batch was chosen


def control_group(batches: Sequence[LabelledParts], classes: Sequence[str]) -> Control | None:
    """The gain over random in boxes of rare or new classes per image, over all batches.

    Which classes are rare is judged for each batch by itself, by the labels that there were when it
    was chosen. The mean of each part is weighted by the batch's ranked images.

    Args:
        batches: with a random part, in the order of the loop.
        classes: the fixed class list.

    Returns:
        None where no batch has labelled images of both parts.
    """
    rows, strata = [], []
    for parts in batches:
        if not parts.ranked or not parts.random:
            continue
        rare = rare_classes([*parts.ranked, *parts.random], parts.counts_before, classes)
        ranked, random = (_boxes(images, rare) for images in (parts.ranked, parts.random))
        strata.append((ranked, random))
        rows.append(
            ControlBatch(
                batch=parts.batch,
                rare_classes=rare,
                ranked_images=len(ranked),
                ranked_boxes=int(ranked.sum()),
                random_images=len(random),
                random_boxes=int(random.sum()),
            )
        )
    if not rows:
        return None
    weights = np.asarray([row.ranked_images for row in rows], np.float64)
    weights /= weights.sum()
    per_ranked, per_random = (
        float(sum(w * part.mean() for w, part in zip(weights, column, strict=True)))
        for column in zip(*strata, strict=True)
    )
    bounds = mean_difference_interval(strata, weights)
    # An interval without width would claim a certainty that few images do not give.
    is_wide = bounds is not None and bounds[0] < bounds[1]
    interval = Interval(low=bounds[0], high=bounds[1]) if bounds and is_wide else None
    return Control(
        batches=rows,
        ranked_per_image=per_ranked,
        random_per_image=per_random,
        gain=per_ranked - per_random,
        interval=interval,
        sentence=_sentence(rows, per_ranked, per_random, interval),
    )


def _boxes(images: Sequence[Sequence[str]], rare: Sequence[str]) -> np.ndarray:
    """(n,) boxes of rare classes in each image."""
    wanted = set(rare)
    return np.asarray([sum(label in wanted for label in image) for image in images], np.float64)


def _sentence(
    rows: Sequence[ControlBatch], ranked: float, random: float, interval: Interval | None
) -> str:
    images = sum(row.random_images for row in rows)
    count = f"{len(rows)} batch" + ("" if len(rows) == 1 else "es")
    facts = (
        f"Over {count}, a ranked image held {ranked:.2f} boxes of rare or new classes, one of the "
        f"{images} random ones {random:.2f}"
    )
    if not any(row.rare_classes for row in rows):
        return f"{facts}: no class was rare, so there was nothing to gain."
    gain = f"a gain of {ranked - random:+.2f} per image"
    if interval is None:
        return f"{facts}: {gain}, from too few random images for an interval."
    sure = (
        "it is real"
        if interval.low > 0
        else "it is a loss"
        if interval.high < 0
        else "it cannot be told from chance yet"
    )
    return f"{facts}: {gain} (95 % interval {interval.low:+.2f} to {interval.high:+.2f}); {sure}."
