"""What is left to label, one image after the other, in FiftyOne's Annotate tab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from bson import ObjectId

from unseen.annotation import truth
from unseen.dataset import labelling, reading, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError


@dataclass(frozen=True)
class Queue:
    """A batch or a split in the order in which it is labelled."""

    tag: str
    ids: list[str]  #: its images, without removed and excluded ones
    waiting: list[str]  #: those without labels, in the same order

    def after(self, sample_id: str | None) -> str | None:
        """The next unlabelled image behind `sample_id`, else the first one; None = all are done."""
        done = self.ids.index(sample_id) + 1 if sample_id in self.ids else 0
        left = set(self.waiting)
        return next((i for i in [*self.ids[done:], *self.ids[:done]] if i in left), None)


def read_queue(loop: Loop, tag: str) -> Queue:
    """The queue of the images with a tag: by rank, where they have one, then by path."""
    images = truth.awaited(loop, tag)
    ids = rank_order(images, loop.names, tag)
    left = set(loop.without_labels(images).values("id"))
    return Queue(tag, ids, [i for i in ids if i in left])


def rank_order(images: Any, names: Names, tag: str) -> list[str]:
    """The ids of images with a tag: of a batch by rank, where they have one, then by path."""
    images = images.sort_by("filepath")
    if not names.batch_number(tag) or images.get_field(names.rank) is None:
        return list(images.values("id"))
    ids, ranks = images.values(["id", names.rank])
    order = sorted(range(len(ids)), key=lambda i: (ranks[i] is None, ranks[i] or 0))
    return [ids[i] for i in order]


def in_order(loop: Loop, tag: str) -> Any:
    """The view of a batch or a split, in the order of its queue."""
    if tag in writing.own_views(loop):
        return loop.dataset.load_saved_view(tag)
    return loop.dataset.select(read_queue(loop, tag).ids, ordered=True)


def save_split_views(loop: Loop) -> None:
    """Save the views of the test split and of the initial images; views of others stay."""
    for tag, text in (
        (loop.names.initial_tag, "The initial images, which are labelled first"),
        (loop.names.test_tag, "The fixed test split, which measures the detector"),
    ):
        if not loop.dataset.has_saved_view(tag) and loop.whole.tagged(tag).limit(1):
            view = loop.dataset.match_tags(tag).sort_by("filepath")
            writing.save_own_view(loop, tag, view, text)


def mark_empty(loop: Loop, ids: Sequence[str]) -> int:
    """Record that somebody looked at these images and there is nothing; returns how many are new.

    Raises `DatasetError` for no images, and `LabelError`, before anything is written, if one of them
    holds a box.
    """
    dataset, names = loop.dataset, loop.names
    if not ids:
        raise DatasetError("no image is open or selected; open one, or select some in the grid")
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    writing.set_labels(dataset, names.label_field, {})  # makes the field
    labelling.declare(loop)
    boxes, new = f"{names.label_field}.detections", [str(i) for i in ids]
    among = {"_id": {"$in": [ObjectId(i) for i in new]}}
    if held := dataset.select(new).match({f"{boxes}.0": {"$exists": True}}).values("filepath"):
        raise LabelError(
            f"{len(held)} of {len(new)} images have labels in {names.label_field!r} "
            f"({held[0]}); delete their boxes first if nothing is there"
        )
    # Not under the lock: people go on labelling while a step runs. Not over a box drawn meanwhile.
    values: dict[str, Any] = {
        names.label_field: {"_cls": "Detections", "detections": []},
        "last_modified_at": datetime.now(timezone.utc),
    }
    query: dict[str, Any] = {**among, boxes: {"$in": [None, []]}, names.labelled: None}
    changed = dataset._sample_collection.update_many(query, {"$set": values}).modified_count
    labelling.record(loop, new, "mark_empty")
    return int(changed)


def tag_of(names: Names, tags: Sequence[str], newest: str | None) -> str | None:
    """The queue that an image with these tags is part of, else the newest one."""
    if newest in tags or names.test_tag not in tags:
        return newest
    return names.test_tag
