"""Images that are shown for comparison only: golden ones, and those that a second person labels too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unseen.annotation.agreement import SECOND
from unseen.annotation.sendings import Sending
from unseen.dataset import reading
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError

if TYPE_CHECKING:
    from unseen.annotation.cvat.plan import Outgoing
    from unseen.steps.request_annotations import RequestConfig


def pick_golden(loop: Loop, config: RequestConfig, images: int, sending: Sending) -> list[str]:
    """Labelled images of the test split, at random, in the wanted share of the `images` to send.

    Those that the request has shown already are left out. Raises AnnotationError if none is left.
    """
    if not config.golden or not images:
        return []
    test = loop.whole.test
    test = test.match_tags(loop.names.excluded_tag, bool=False)
    labelled = set(test.values("id")) - set(loop.without_labels(test).values("id"))
    seen = {i for task in sending.tasks for i in task.sample_ids}
    if not labelled:
        raise AnnotationError(
            f"golden={config.golden:g}, but no image of the test split (tag {loop.names.test_tag!r}) "
            "is labelled; label it first, or leave golden out"
        )
    left = sorted(labelled - seen)
    count = min(len(left), max(1, round(config.golden * images)))
    return [str(i) for i in _random(sending).permutation(left)[:count]]


def pick_second(loop: Loop, config: RequestConfig, ids: Sequence[str]) -> list[str]:
    """The images that most likely hold a new or rare class, in the wanted share of `ids`.

    That is the expected number of examples (`expected_counts`), each weighted by 1 / (1 + labelled
    boxes of its class); without scores the first in rank. A single image has none: it is all of
    its task.
    """
    if not config.second_opinions or len(ids) < 2:
        return []
    names, newest = loop.names, loop.newest_with("train_unet")
    counts = loop.label_facts()["class_counts"]
    classes = [] if newest is None else loop.entry(newest, "train_unet").get("classes") or []
    weights = np.array([*(1 / (1 + counts.get(c, 0)) for c in classes), 1.0])
    found, values = reading.raw_values(loop.dataset.select(list(ids)), [names.expected_counts])
    expected = dict(zip(found, values[names.expected_counts], strict=True))

    def rarity(sample_id: str) -> float:
        numbers = np.asarray(expected.get(sample_id) or (), float)
        return float(weights @ numbers) if len(numbers) == len(weights) else 0.0

    count = max(1, round(config.second_opinions * len(ids)))
    return sorted(ids, key=lambda i: -rarity(i))[:count]


def mix(
    parts: Sequence[Sequence[Outgoing]],
    golden: Sequence[Outgoing],
    seconds: Collection[str],
    sending: Sending,
) -> list[list[Outgoing]]:
    """Each task with its golden images and with images of a neighbour, at random places.

    People take turns from task to task, so that a neighbour's images come from somebody else; the
    last task's go to the one before, because the first may have the same person.
    """
    extra: list[list[Outgoing]] = [list(golden[n :: len(parts)]) for n in range(len(parts))]
    for n, part in enumerate(parts):
        other = n + 1 if n + 1 < len(parts) else n - 1
        if other >= 0:
            extra[other] += [replace(i, repeat=SECOND) for i in part if i.sample_id in seconds]
    rng, mixed = _random(sending), []
    for part, more in zip(parts, extra, strict=True):
        task = list(part)
        for image in more:
            place = int(rng.integers(1, len(task) + 1))
            task.insert(place, replace(image, rank=task[place - 1].rank))
        mixed.append(task)
    return mixed


def _random(sending: Sending) -> np.random.Generator:
    """Of its own for each request."""
    return np.random.default_rng(int(sending.token, 16))
