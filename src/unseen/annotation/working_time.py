"""How long people worked on the images of a request: by CVAT's analytics, or by clicks in the App."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import fiftyone as fo
from bson import ObjectId

from unseen.annotation import truth
from unseen.annotation.sendings import Sending
from unseen.dataset import writing
from unseen.dataset.loop import Loop

#: Seconds that an image open in the App counts at most: whoever is away does not work.
LONGEST = 300.0


@dataclass(frozen=True)
class Worked:
    """The images of a request of which it is known how long people worked on them."""

    seconds: float
    ids: list[str]
    is_whole: bool  #: they are all that came back


def worked(loop: Loop, sending: Sending) -> Worked:
    """What is known of a request."""
    if sending.backend == "app":
        return _clicked(loop, sending.sample_ids)
    timed = [
        t
        for t in sending.tasks
        if t.loaded and all(j.get("seconds") is not None for j in t.loaded.values())
    ]
    return Worked(
        seconds=float(sum(job["seconds"] for task in timed for job in task.loaded.values())),
        ids=[i for task in timed for i in task.own.values()],
        is_whole=0 < len(timed) == len(sending.tasks),
    )


def hours_until(loop: Loop, records: Sequence[Sending]) -> dict[int, float]:
    """Iteration -> hours that people worked on its images and all before, without the test split.

    It ends at the first batch of which the time is not known for all that came back. Initial images
    that nobody was sent cost nothing.
    """
    batches = {record.iteration: record for record in records if record.images != "test"}
    hours = {} if 0 in batches else {0: 0.0}
    for number, record in sorted(batches.items()):
        known = worked(loop, record)
        if not known.is_whole:
            break
        hours[number] = max(hours.values(), default=0.0) + known.seconds / 3600
    return hours


def note_click(loop: Loop, left: str | None, opened: str | None) -> None:
    """In the App somebody went from one image to the next: the first one's time ends here.

    An image can be open several times; each time counts from the click that opened it.
    """
    field, now = loop.names.working_time, datetime.now(timezone.utc)
    if loop.dataset.get_field(field) is None:
        writing.declare(loop, field, fo.DictField, "Seconds that the image was open to be labelled")
    samples = loop.dataset._sample_collection
    for sample_id, is_open in ((left, False), (opened, True)):
        found = samples.find_one({"_id": ObjectId(sample_id)}, {field: 1}) if sample_id else None
        if found is None:
            continue
        before = found.get(field) or {}
        seconds = float(before.get("seconds") or 0.0)
        if not is_open and before.get("since"):
            since = datetime.fromisoformat(before["since"])
            seconds += min(max((now - since).total_seconds(), 0.0), LONGEST)
        value = {"seconds": seconds, "since": now.isoformat() if is_open else None}
        # The panel need not draw anew: `last_modified_at` stays.
        samples.update_one({"_id": found["_id"]}, {"$set": {field: value}})


def _clicked(loop: Loop, ids: Sequence[str]) -> Worked:
    path = f"{loop.names.working_time}.seconds"
    among = {"_id": {"$in": [ObjectId(i) for i in ids]}, path: {"$gt": 0}}
    rows = list(loop.dataset._sample_collection.find(among, {path: 1}))
    seconds = sum(row[loop.names.working_time]["seconds"] for row in rows)
    labelled, _ = truth.count_boxes(loop, ids)
    timed = [str(row["_id"]) for row in rows]
    return Worked(seconds, timed, is_whole=0 < labelled <= len(timed))
