"""Labels and their annotation state, as raw documents: read, merged and written in one update.

An image's labels and what is known of the server's boxes (`base`) lie in one document and change in
one update, so that a load that is killed leaves every image either before or after, never between.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateMany, UpdateOne

from unseen.annotation.merge import KnownBox, LocalBox, MergedBox
from unseen.dataset import writing
from unseen.dataset.fields import REMOVED, Names
from unseen.dataset.loop import Loop


@dataclass(frozen=True)
class Truth:
    """What the database holds of one image."""

    document: dict[str, Any] | None  #: the label field as it is stored; None = unlabelled
    base: list[KnownBox] | None  #: None: the image was not sent in this annotation run
    state: str | None

    def boxes(self) -> list[LocalBox]:
        """The labels as plain boxes."""
        return [
            LocalBox(str(d["_id"]), d.get("label") or "", tuple(d["bounding_box"]))
            for d in _detections(self.document)
            if _is_box(d)
        ]


@dataclass(frozen=True)
class Update:
    """What one image shall hold; a part that is None stays as it is."""

    document: dict[str, Any] | None = None
    base: Sequence[KnownBox] | None = None
    state: str | None = None
    url: str | None = None
    scope: dict[str, Any] | None = None  #: which part of the image these labels are complete in


def declare_fields(loop: Loop) -> None:
    """Add the label field where it is missing, and the fields of the annotation."""
    writing.set_labels(loop.dataset, loop.names.label_field, {})
    text = "Where the image is on its way through labelling: sent, loaded, removed"
    writing.declare(loop, loop.names.annotation, fo.StringField, text)
    text = "Opens the image in the annotation tool"
    writing.declare(loop, loop.names.annotation_url, fo.StringField, text)
    text = "Boxes as the annotation tool held them when last looked at"
    writing.declare(loop, loop.names.annotation_base, fo.DictField, text)


def read(loop: Loop, anno_key: str, ids: Iterable[str]) -> dict[str, Truth]:
    """Sample id -> what the database holds; samples that are gone have no entry."""
    wanted = [ObjectId(i) for i in ids]
    base_path = f"{loop.names.annotation_base}.{anno_key}"
    rows = loop.dataset._sample_collection.find(
        {"_id": {"$in": wanted}},
        {loop.names.label_field: 1, loop.names.annotation: 1, base_path: 1},
    )
    found = {}
    for row in rows:
        base = (row.get(loop.names.annotation_base) or {}).get(anno_key)
        found[str(row["_id"])] = Truth(
            document=_identified(row.get(loop.names.label_field)),
            base=None if base is None else [KnownBox.from_dict(b) for b in base],
            state=row.get(loop.names.annotation),
        )
    return found


def count_unlabelled(loop: Loop, ids: Iterable[str]) -> int:
    """How many of these samples have no labels, and were not removed by annotators."""
    query = {
        "_id": {"$in": [ObjectId(i) for i in ids]},
        loop.names.label_field: None,
        loop.names.annotation: {"$ne": REMOVED},
    }
    return int(loop.dataset._sample_collection.count_documents(query))


def awaited(loop: Loop, tag: str) -> Any:
    """The samples of a batch less those that annotators removed, or that were excluded since."""
    images = loop.dataset.match_tags(tag).match_tags(loop.names.excluded_tag, bool=False)
    if loop.dataset.get_field(loop.names.annotation) is None:
        return images
    return images.match(fo.ViewField(loop.names.annotation) != REMOVED)


def count_states(loop: Loop, ids: Iterable[str]) -> Counter[str | None]:
    """How many of these samples are in which annotation state; those that are gone do not count."""
    pipeline = [
        {"$match": {"_id": {"$in": [ObjectId(i) for i in ids]}}},
        {"$group": {"_id": f"${loop.names.annotation}", "count": {"$sum": 1}}},
    ]
    rows = loop.dataset._sample_collection.aggregate(pipeline)
    return Counter({row["_id"]: row["count"] for row in rows})


def write(loop: Loop, anno_key: str, updates: Mapping[str, Update]) -> None:
    """Write many images in one bulk operation, each in one update."""
    stamp = datetime.now(timezone.utc)
    # A field that is null cannot take a path below it.
    loop.dataset._sample_collection.update_many(
        {"_id": {"$in": [ObjectId(i) for i in updates]}, loop.names.annotation_base: None},
        {"$set": {loop.names.annotation_base: {}}},
    )
    ops = []
    for sample_id, update in updates.items():
        values: dict[str, Any] = {"last_modified_at": stamp}
        if update.document is not None:
            values[loop.names.label_field] = update.document
        if update.base is not None:
            base = [box.to_dict() for box in update.base]
            values[f"{loop.names.annotation_base}.{anno_key}"] = base
        if update.state is not None:
            values[loop.names.annotation] = update.state
        if update.url is not None:
            values[loop.names.annotation_url] = update.url
        if update.scope is not None:
            values[loop.names.scope] = update.scope
        ops.append(UpdateOne({"_id": ObjectId(sample_id)}, {"$set": values}))
    if ops:
        loop.dataset._bulk_write(ops, ids=list(updates))


def release(loop: Loop, anno_key: str, ids: Sequence[str]) -> None:
    """Images that annotators no longer have: unlabelled ones are free for the next batch."""
    if not ids:
        return
    update = {
        "$set": {
            loop.names.annotation: None,
            loop.names.annotation_url: None,
            "last_modified_at": datetime.now(timezone.utc),
        },
        "$unset": {f"{loop.names.annotation_base}.{anno_key}": ""},
    }
    wanted = {"_id": {"$in": [ObjectId(i) for i in ids]}}
    loop.dataset._bulk_write([UpdateMany(wanted, update)], ids=list(ids))


def merged_document(
    document: dict[str, Any] | None,
    merged: Sequence[MergedBox],
    base: Sequence[KnownBox] = (),
) -> dict[str, Any]:
    """The label field with the merged boxes; what a label already holds besides stays.

    Labels that are no boxes were never sent, and stay where they are.

    Args:
        document: the field as `read` gives it, or None.
        merged: the boxes that it shall hold.
        base: the boxes as the server held them; of their attributes, those that changed there
            since are written, so that edits made in FiftyOne stay.
    """
    attributes = {b.id: b.attributes for b in base}
    left = {box.id: box for box in merged}
    detections = []
    for detection in _detections(document):
        key = str(detection["_id"])
        box = left.pop(key, None)
        if box is not None and box.origin == "server":
            detections.append(_updated(detection, box, attributes.get(key, {})))
        elif box is not None or not _is_box(detection):
            detections.append(detection)
    for box in left.values():
        made = {"_id": ObjectId(box.id), "_cls": "Detection", "attributes": {}, "tags": []}
        detections.append(_updated(made, box, {}))
    return {**(document or {"_cls": "Detections"}), "detections": detections}


def _updated(
    detection: Mapping[str, Any], box: MergedBox, before: Mapping[str, str | bool]
) -> dict[str, Any]:
    """A detection with what the server says; `before` are its attributes at the last look."""
    result = dict(detection, label=box.label, bounding_box=[float(v) for v in box.box])
    for name, value in before.items():
        if name not in box.attributes and result.get(name) == value:
            del result[name]
    changed = {n: v for n, v in box.attributes.items() if before.get(n) != v}
    return {**result, **changed}


def _detections(document: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return (document or {}).get("detections") or []


def _identified(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """The labels, each with an id of its own: imports and copies may lack one, or share it."""
    seen: set[Any] = set()
    detections = []
    for detection in _detections(document):
        if detection.get("_id") is None or detection["_id"] in seen:
            detection = {**detection, "_id": ObjectId()}
        seen.add(detection["_id"])
        detections.append(detection)
    return {**document, "detections": detections} if document and detections else document


def _is_box(detection: Mapping[str, Any]) -> bool:
    """Whether a detection has a box that could be sent."""
    box = detection.get("bounding_box")
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in box)
    )


def fingerprint(view: Any, names: Names) -> str:
    """A digest of every box of the view's labels; it changes when a label does."""
    digest = hashlib.sha256()
    pipeline = [
        *view._pipeline(),
        {"$sort": {"_id": 1}},
        {"$project": {f"{names.label_field}.detections": 1}},
    ]
    for row in view._dataset._sample_collection.aggregate(pipeline, allowDiskUse=True):
        boxes = (row.get(names.label_field) or {}).get("detections") or []
        facts = [[b.get("label"), b.get("bounding_box")] for b in boxes]
        digest.update(f"{row['_id']}{facts}".encode())
    return digest.hexdigest()[:16]
