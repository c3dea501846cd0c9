"""Which samples were really labelled, kept on record, and what is odd about the labels.

The record is a field beside the label field, because an empty list alone proves nothing: renaming
classes through `map_labels().save()` stores one wherever there was None.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId

from unseen.dataset import indexes, writing
from unseen.dataset.fields import LOADED
from unseen.dataset.loop import Loop


def declare(loop: Loop) -> None:
    """Add the field of the record."""
    if loop.dataset.get_field(loop.names.labelled) is None:
        text = f"Who saw the labels in {loop.names.label_field} first, when, in which iteration"
        writing.declare(loop, loop.names.labelled, fo.DictField, text)
        indexes.ensure(loop)


def entry(step: str, iteration: int, by: str | None = None) -> dict[str, Any]:
    """The record of one sample: the step, the iteration, UTC, and the person if known."""
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"step": step, "iteration": iteration, "at": at, **({"by": by} if by else {})}


def record(loop: Loop, ids: Iterable[str], step: str, *, by: str | None = None) -> None:
    """Record that `step` (or the person `by`) saw the labels of these samples.

    Unlabelled samples and those that are on record stay as they are. An image of a batch belongs to
    the iteration of its batch, an initial one to iteration 0, another one to the current iteration.
    """
    ids = list(ids)
    if not ids or not loop.has_labels:
        return
    declare(loop)
    field, samples = loop.names.labelled, loop.dataset._sample_collection
    batches = {0: loop.names.initial_tag, **loop.batches()}
    tags = [(number, {"tags": tag}) for number, tag in batches.items()]
    for number, images in [*tags, (loop.iteration(), {})]:
        document = {"$set": {field: entry(step, number, by)}}
        for start in range(0, len(ids), writing.IDS_AT_ONCE):
            part = [ObjectId(i) for i in ids[start : start + writing.IDS_AT_ONCE]]
            is_new = {"_id": {"$in": part}, field: None, loop.names.label_field: {"$ne": None}}
            samples.update_many({**is_new, **images}, document)


def loaded_ids(loop: Loop) -> list[str]:
    """Ids of the samples whose labels came back from annotators."""
    if loop.dataset.get_field(loop.names.annotation) is None:
        return []
    return list(loop.dataset.match({loop.names.annotation: LOADED}).values("id"))


def forget(loop: Loop, ids: Iterable[str]) -> None:
    """Take samples whose labels were taken back off the record."""
    if loop.dataset.get_field(loop.names.labelled) is not None:
        gone = {"_id": {"$in": [ObjectId(i) for i in ids]}, loop.names.label_field: None}
        update = {"$set": {loop.names.labelled: None}}
        loop.dataset._sample_collection.update_many(gone, update)


def ids_until(loop: Loop, iteration: int) -> list[str]:
    """Ids of the samples whose labels were on record in an iteration.

    Records of earlier versions of this package hold the list themselves.
    """
    listed = (loop.record(iteration) or {}).get("labelled_ids")
    if listed is not None or loop.dataset.get_field(loop.names.labelled) is None:
        return list(listed or ())
    query = {
        **indexes.labels_recorded(loop.names),
        f"{loop.names.labelled}.iteration": {"$lte": iteration},
    }
    return [str(row["_id"]) for row in loop.dataset._sample_collection.find(query, {"_id": 1})]


def unrecorded(loop: Loop) -> Any:
    """The samples of the view with an empty list that is no answer: nobody is known to have looked."""
    is_set = {"$gt": [f"${loop.names.label_field}", None]}
    return loop.without_labels(loop.view).match({"$expr": is_set})


def _unsettled(loop: Loop) -> tuple[int, int]:
    """Samples with an empty list that is no answer, and those on record that lost their labels."""
    if loop.dataset.get_field(loop.names.labelled) is None:
        return 0, 0
    is_set = {"$gt": [f"${loop.names.label_field}", None]}
    is_recorded = {"$gt": [f"${loop.names.labelled}", None]}
    kinds = {
        "unrecorded": [is_set, {"$not": [loop.is_labelled]}],
        "removed": [is_recorded, {"$not": [is_set]}],
    }
    sums = {kind: {"$sum": {"$cond": [{"$and": all_of}, 1, 0]}} for kind, all_of in kinds.items()}
    seen = {
        "$match": {"$or": [indexes.labels_set(loop.names), indexes.labels_recorded(loop.names)]}
    }
    rows = loop.dataset._sample_collection.aggregate([seen, {"$group": {"_id": None, **sums}}])
    row = next(rows, dict.fromkeys(kinds, 0))
    return row["unrecorded"], row["removed"]


def notes(loop: Loop) -> list[str]:
    """What a person should know about the labels of the dataset; usually nothing."""
    if not loop.has_labels:
        return []
    name, found = shlex.quote(loop.dataset.name), []
    empty, removed = _unsettled(loop)
    if empty:
        found.append(
            f"{empty} images have an empty list in {loop.names.label_field!r} that nobody recorded: "
            "taken as unlabelled. `map_labels().save()` writes such lists where there was None; "
            f"`unseen repair-labels {name}` takes them back, or confirms that nothing is there."
        )
    if removed:
        found.append(
            f"{removed} images were labelled and have no labels in {loop.names.label_field!r} now: "
            "taken as unlabelled."
        )
    counts = loop.label_counts()
    listed = loop.listed_classes()
    for label in sorted(label for label in counts if label and listed and label not in listed):
        found.append(
            f"New class {label!r} ({counts[label]} boxes) is not in the class list; it joins."
        )
    by_count = sorted(filter(None, counts), key=lambda label: (-counts[label], label))
    for alike in spellings([*listed, *by_count]):
        new = alike[0].strip()
        quoted = (one if one == one.strip() else f'"{one}"' for one in alike if one != new)
        renames = shlex.quote(",".join(f"{one}={new}" for one in quoted))
        found.append(
            f"Classes {', '.join(map(repr, alike))} differ only in case, spaces or Unicode form, and "
            f"count as different; if they are one: `unseen rename-classes {name} --rename {renames}`."
        )
    return found


def spellings(labels: Sequence[str]) -> list[list[str]]:
    """Groups of labels that read alike, each in the order given.

    >>> spellings(["scratch", "void", "Scratch ", "SCRATCH"])
    [['scratch', 'Scratch ', 'SCRATCH']]
    """
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for label in labels:
        key = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        groups[key][label] = None
    return [list(group) for group in groups.values() if len(group) > 1]
