"""What the database and the records say about a loop, in one pass over the samples.

Everything is counted in the database: of 100,000 samples with heatmaps a few rows come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from unseen.annotation.sendings import Sending
from unseen.dataset import reading
from unseen.dataset.fields import REMOVED, SENT, Names
from unseen.dataset.loop import Loop
from unseen.loop import records as overview_records
from unseen.loop.overview_data import Batch, Counts, Facts
from unseen.loop.records import Records


@dataclass(frozen=True)
class _Group:
    """Samples that are alike in everything the loop asks for."""

    tags: frozenset[str]  #: those that mean something here
    is_labelled: bool
    state: str | None  #: of the annotation
    is_scored: bool  #: by the newest UNet
    images: int
    boxes: int


def read_facts(loop: Loop, records: Records) -> Facts:
    """Counts, the newest batch, and how models and scores stand to the labels.

    Args:
        loop: the loop.
        records: of the loop, see `overview_records.read`.
    """
    mark = overview_records.mark(records.steps, records.structure)
    groups = _groups(loop, mark)
    numbers = {n: tag for g in groups for tag in g.tags if (n := loop.names.batch_number(tag))}
    iteration = max(
        (n for n, tag in numbers.items() if any(tag in g.tags and g.is_labelled for g in groups)),
        default=0,
    )
    counts = _counts(groups, loop.names)
    number = max(numbers, default=0)
    tag = numbers.get(number, loop.names.initial_tag)
    key = loop.names.anno_key(number) if number else loop.names.own_anno_key("initial")
    batch = _batch(groups, tag, number, records, records.sendings.get(key))
    labels = (counts.labelled, counts.boxes)
    unet, new_images = overview_records.freshness(records.steps, "train_unet", iteration, labels)
    detector, _ = overview_records.freshness(records.steps, "train_detector", iteration, labels)
    applied, evaluated = overview_records.measured(records.steps, iteration)
    return Facts(
        counts=counts,
        iteration=iteration,
        is_split=counts.test > 0 or counts.initial > 0,
        batch=batch if batch.images or number else None,
        unet=unet,
        new_images=new_images,
        scores=overview_records.scores(records.steps, mark),
        has_new_zone=overview_records.has_new_zone(records.steps, mark),
        detector=detector,
        is_applied=applied,
        is_evaluated=evaluated,
    )


def sort_of(names: Names, mark: str | None) -> dict[str, Any]:
    """MongoDB expressions that say what a sample is to the loop: labelled, state, scored, tags."""
    own = [names.test_tag, names.excluded_tag, names.initial_tag]
    pattern = f"^{names.batch(0)[:-2]}[0-9][0-9]+$"
    is_ours = {
        "$or": [
            {"$in": ["$$tag", own]},
            {"$regexMatch": {"input": "$$tag", "regex": pattern}},
        ]
    }
    return {
        "tags": {"$filter": {"input": {"$ifNull": ["$tags", []]}, "as": "tag", "cond": is_ours}},
        "labelled": {"$gt": [f"${names.label_field}", None]},
        "state": {"$ifNull": [f"${names.annotation}", None]},
        "scored": {"$eq": [f"${names.model}", mark]} if mark else {"$literal": False},
    }


def _groups(loop: Loop, mark: str | None) -> list[_Group]:
    boxes = {"$ifNull": [f"${loop.names.label_field}.detections", []]}
    pipeline = [
        {
            "$group": {
                "_id": sort_of(loop.names, mark),
                "images": {"$sum": 1},
                "boxes": {"$sum": {"$cond": [{"$isArray": boxes}, {"$size": boxes}, 0]}},
            }
        },
    ]
    return [
        _Group(
            frozenset(row["_id"]["tags"]),
            bool(row["_id"]["labelled"]),
            row["_id"]["state"],
            bool(row["_id"]["scored"]),
            row["images"],
            row["boxes"],
        )
        for row in loop.dataset._sample_collection.aggregate(pipeline)
    ]


def place(tags: frozenset[str], is_labelled: bool, state: str | None, names: Names) -> str:
    """The one place of a sample: test, excluded, labelled, out, or pool."""
    if names.test_tag in tags:
        return "test"
    if names.excluded_tag in tags:
        return "excluded"
    if is_labelled:
        return "labelled"
    if state == REMOVED:
        return "excluded"
    return "out" if state == SENT else "pool"


def _counts(groups: list[_Group], names: Names) -> Counts:
    found = dict.fromkeys(("test", "excluded", "labelled", "out", "pool"), 0)
    boxes = unscored = test_unlabelled = initial = initial_unlabelled = 0
    for group in groups:
        where = place(group.tags, group.is_labelled, group.state, names)
        found[where] += group.images
        boxes += group.boxes if where == "labelled" else 0
        unscored += group.images if where == "pool" and not group.is_scored else 0
        test_unlabelled += group.images if where == "test" and not group.is_labelled else 0
        if names.initial_tag in group.tags:
            initial += group.images
            initial_unlabelled += 0 if group.is_labelled else group.images
    return Counts(
        images=sum(found.values()),
        **found,
        boxes=boxes,
        unscored=unscored,
        test_unlabelled=test_unlabelled,
        initial=initial,
        initial_unlabelled=initial_unlabelled,
    )


def _batch(
    groups: list[_Group], tag: str, number: int, records: Records, sending: Sending | None
) -> Batch:
    own = [g for g in groups if tag in g.tags]
    entry: dict[str, Any] = next(
        (
            steps["select_batch"]
            for _, steps in sorted(records.steps.items(), reverse=True)
            if steps.get("select_batch", {}).get("batch") == tag
        ),
        {},
    )
    tasks = sending.live_tasks if sending else []
    return Batch(
        name=tag,
        number=number,
        images=sum(g.images for g in own),
        labelled=sum(g.images for g in own if g.is_labelled),
        removed=sum(g.images for g in own if g.state == REMOVED and not g.is_labelled),
        sent=len(sending.sent_ids()) if sending else 0,
        backend=sending.backend if sending else None,
        complete=bool(sending and sending.complete),
        closed=bool(sending and sending.closed),
        strategy=(entry.get("parameters") or {}).get("strategy"),
        url=next((task.url for task in tasks), sending.url if sending else None),
        age_days=_age(sending.started_at) if sending else None,
    )


def _age(started_at: str) -> float | None:
    try:
        age = datetime.now(timezone.utc) - datetime.fromisoformat(started_at)
    except (TypeError, ValueError):
        return None
    return round(age.total_seconds() / 86400, 2)


def why_unreadable(loop: Loop) -> str | None:
    """Why the labels of a dataset cannot be read, or None."""
    found = loop.dataset.get_field(loop.names.label_field)
    kind = getattr(found, "document_type", None)
    if found is None or (kind is not None and kind.__name__ == "Detections"):
        return None
    known = ", ".join(reading.detection_fields(loop.dataset)) or "none"
    what = kind.__name__ if kind else type(found).__name__
    return (
        f"Field {loop.names.label_field!r} holds {what}, not Detections (boxes). Fields of detections: "
        f"{known}. Choose another label field."
    )
