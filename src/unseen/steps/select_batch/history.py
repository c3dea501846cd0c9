"""What the strategy `mixed` reads of earlier batches: labels, and which criterion made a find."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.dataset.loop import Loop
from unseen.ranking.mixed import CRITERIA, History


@dataclass(frozen=True)
class LabelledBoxes:
    """The classes of all labelled boxes, by image."""

    labels: dict[str, list[str]]  #: sample id -> class of each box
    initial: frozenset[str]  #: ids of the images that were labelled before any batch


def labelled_boxes(loop: Loop) -> LabelledBoxes:
    """Read the labels outside the test split.

    If no labelled image has the initial tag, those in no batch are the initial ones.
    """
    if not loop.has_labels:
        return LabelledBoxes({}, frozenset())
    names = loop.names
    columns = ["id", "tags", f"{names.label_field}.detections.label"]
    rows = list(zip(*loop.whole.labelled.values(columns), strict=True))
    initial = {i for i, tags, _ in rows if names.initial_tag in tags}
    if not initial:
        batches = set(loop.batches().values())
        initial = {i for i, tags, _ in rows if batches.isdisjoint(tags)}
    labels = {i: [c for c in of_image or [] if c] for i, _, of_image in rows}
    return LabelledBoxes(labels, frozenset(initial))


def found_and_tried(loop: Loop, labelled: LabelledBoxes) -> History:
    """What the images of earlier batches hold, by the criterion that chose them.

    A find is a box of a class that was sought, or that nobody had labelled, when its batch was
    chosen. Images drawn at random and unlabelled images do not count.
    """
    history = History.none()
    criteria = {name: k for k, name in enumerate(CRITERIA)}
    for record in loop.records().values():
        entry = record["steps"].get("select_batch") or {}
        sources = entry.get("sources") or {}
        before, sought = set(entry.get("known", ())), set(entry.get("sought", ()))
        for sample_id in sources.keys() & labelled.labels.keys():
            criterion = criteria.get(sources[sample_id])
            if criterion is None:  # an earlier version had another list
                continue
            shown = set(labelled.labels[sample_id])
            history.tried[criterion] += 1
            history.found[criterion] += bool(shown & sought or shown - before)
    return history
