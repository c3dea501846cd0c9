"""Labels and their annotation state, as raw documents: read, merged and written in one update.

An image's labels and what is known of the server's boxes (`base`) lie in one document and change in
one update, so that a load that is killed leaves every image either before or after, never between.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateOne

from unseen.annotation.merge import KnownBox, LocalBox, MergedBox
from unseen.dataset import writing
from unseen.dataset.fields import Names


@dataclass(frozen=True)
class Truth:
    """What the database holds of one image."""

    document: dict[str, Any] | None  #: the label field as it is stored; None = unlabelled
    base: list[KnownBox] | None  #: None: the image was not sent in this annotation run
    state: str | None

    def boxes(self) -> list[LocalBox]:
        """The labels as plain boxes."""
        if not self.document:
            return []
        return [
            LocalBox(str(d["_id"]), d.get("label") or "", tuple(d["bounding_box"]))
            for d in self.document.get("detections") or []
            if d.get("bounding_box") is not None
        ]


@dataclass(frozen=True)
class Update:
    """What one image shall hold; a part that is None stays as it is."""

    document: dict[str, Any] | None = None
    base: Sequence[KnownBox] | None = None
    state: str | None = None
    url: str | None = None


def declare_fields(dataset: Any, names: Names) -> None:
    """Add the label field where it is missing, and the fields of the annotation."""
    writing.set_labels(dataset, names.label_field, {})
    text = "Where the image is on its way through labelling: sent, loaded, removed"
    writing.declare(dataset, names.annotation, fo.StringField, names, text)
    text = "Opens the image in the annotation tool"
    writing.declare(dataset, names.annotation_url, fo.StringField, names, text)
    text = "Boxes as the annotation tool held them when last looked at"
    writing.declare(dataset, names.annotation_base, fo.DictField, names, text)


def read(dataset: Any, names: Names, anno_key: str, ids: Iterable[str]) -> dict[str, Truth]:
    """Sample id -> what the database holds; samples that are gone have no entry."""
    wanted = [ObjectId(i) for i in ids]
    base_path = f"{names.annotation_base}.{anno_key}"
    rows = dataset._sample_collection.find(
        {"_id": {"$in": wanted}}, {names.label_field: 1, names.annotation: 1, base_path: 1}
    )
    found = {}
    for row in rows:
        base = (row.get(names.annotation_base) or {}).get(anno_key)
        found[str(row["_id"])] = Truth(
            document=row.get(names.label_field),
            base=None if base is None else [KnownBox.from_dict(b) for b in base],
            state=row.get(names.annotation),
        )
    return found


def write(dataset: Any, names: Names, anno_key: str, updates: Mapping[str, Update]) -> None:
    """Write many images in one bulk operation, each in one update."""
    stamp = datetime.now(timezone.utc)
    # A field that is null cannot take a path below it.
    dataset._sample_collection.update_many(
        {"_id": {"$in": [ObjectId(i) for i in updates]}, names.annotation_base: None},
        {"$set": {names.annotation_base: {}}},
    )
    ops = []
    for sample_id, update in updates.items():
        values: dict[str, Any] = {"last_modified_at": stamp}
        if update.document is not None:
            values[names.label_field] = update.document
        if update.base is not None:
            base = [box.to_dict() for box in update.base]
            values[f"{names.annotation_base}.{anno_key}"] = base
        if update.state is not None:
            values[names.annotation] = update.state
        if update.url is not None:
            values[names.annotation_url] = update.url
        ops.append(UpdateOne({"_id": ObjectId(sample_id)}, {"$set": values}))
    if ops:
        dataset._bulk_write(ops, ids=list(updates))


def release(dataset: Any, names: Names, anno_key: str, ids: Sequence[str]) -> None:
    """Images that annotators no longer have: unlabelled ones are free for the next batch."""
    if not ids:
        return
    dataset._sample_collection.update_many(
        {"_id": {"$in": [ObjectId(i) for i in ids]}},
        {
            "$set": {
                names.annotation: None,
                names.annotation_url: None,
                "last_modified_at": datetime.now(timezone.utc),
            },
            "$unset": {f"{names.annotation_base}.{anno_key}": ""},
        },
    )
    dataset.reload()


def merged_document(document: dict[str, Any] | None, merged: Sequence[MergedBox]) -> dict[str, Any]:
    """The label field with the merged boxes; what a box already holds besides stays.

    Args:
        document: the field as it is stored, or None.
        merged: the boxes that it shall hold.
    """
    result: dict[str, Any] = (
        copy.deepcopy(document) if document else {"_cls": "Detections", "detections": []}
    )
    known = {str(d["_id"]): d for d in result.get("detections") or []}
    detections = []
    for box in merged:
        detection: dict[str, Any] | None = known.get(box.id)
        if box.origin == "local" and detection is not None:
            detections.append(detection)
            continue
        if detection is None:
            detection = {
                "_id": ObjectId(box.id),
                "_cls": "Detection",
                "attributes": {},
                "tags": [],
            }
        detection["label"] = box.label
        detection["bounding_box"] = [float(v) for v in box.box]
        detection.update(box.attributes)
        detections.append(detection)
    result["detections"] = detections
    return result


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
