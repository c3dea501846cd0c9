"""What the strategy `mixed` reads: which criterion found something, and the pool's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from unseen.dataset.loop import Loop
from unseen.ranking.mixed import CRITERIA, History


@dataclass(frozen=True)
class LabelledBoxes:
    """The classes of all labelled boxes, by image."""

    labels: dict[str, list[str]]  #: sample id -> class of each box
    initial: frozenset[str]  #: ids of the images that were labelled before any batch

    @property
    def counts(self) -> dict[str, int]:
        """Boxes per class."""
        return _counts(self.labels.values())

    @property
    def initial_counts(self) -> dict[str, int]:
        """Those of them in the initial images."""
        return _counts(self.labels[i] for i in self.initial)


def labelled_boxes(loop: Loop) -> LabelledBoxes:
    """Read the labels outside the test split.

    Where no labelled image has the initial tag, those in no batch are the initial ones.
    """
    if loop.dataset.get_field(loop.names.label_field) is None:
        return LabelledBoxes({}, frozenset())
    view = loop.whole.labelled
    ids, tags, labels = view.values(["id", "tags", f"{loop.names.label_field}.detections.label"])
    initial = {
        i for i, of_sample in zip(ids, tags, strict=True) if loop.names.initial_tag in of_sample
    }
    if not initial:
        initial = {
            i
            for i, of_sample in zip(ids, tags, strict=True)
            if not any(loop.names.batch_number(tag) for tag in of_sample)
        }
    found = {i: [c for c in of_image or [] if c] for i, of_image in zip(ids, labels, strict=True)}
    return LabelledBoxes(found, frozenset(initial))


def found_and_tried(loop: Loop, labelled: LabelledBoxes) -> History:
    """What the earlier batches' images hold, by what they were chosen for.

    A find is a box of a class that was sought, or that nobody had labelled, when its batch was chosen.
    Images drawn at random, and those that nobody has labelled, do not count.
    """
    history = History.none()
    criteria = list(CRITERIA)
    for record in loop.records().values():
        entry = record["steps"].get("select_batch") or {}
        sources = entry.get("sources") or {}
        before, sought = set(entry.get("known", ())), set(entry.get("sought", ()))
        for sample_id in sources.keys() & labelled.labels.keys():
            if sources[sample_id] not in CRITERIA:
                continue  # of a version with other criteria
            criterion = criteria.index(sources[sample_id])
            shown = set(labelled.labels[sample_id])
            history.tried[criterion] += 1
            history.found[criterion] += bool(shown & sought or shown - before)
    return history


def _counts(labels: Any) -> dict[str, int]:
    found: Counter[str] = Counter()
    for of_image in labels:
        found.update(of_image)
    return {c: found[c] for c in sorted(found)}
