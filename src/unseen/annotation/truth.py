"""Labels and their annotation state as raw documents, read and written together.

An image's labels and the known boxes of the server (`base`) share one document and change in one
update, so that a killed load leaves every image in its state before or after, never in between.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateMany, UpdateOne

from unseen.annotation.merge import KnownBox, LocalBox, MergedBox
from unseen.annotation.shapes import Box
from unseen.dataset import reading, writing
from unseen.dataset.fields import REMOVED, Names
from unseen.dataset.loop import Loop


@dataclass(frozen=True)
class Truth:
    """What the database holds of one image."""

    document: dict[str, Any] | None  #: the label field as it is stored; None = unlabelled
    base: list[KnownBox] | None  #: None: the image was not sent in this annotation run
    state: str | None
    model: str | None = None  #: the digest of the model that scored the image

    def boxes(self) -> list[LocalBox]:
        """The labels as plain boxes."""
        return [
            LocalBox(str(d["_id"]), d.get("label") or "", tuple(d["bounding_box"]))
            for d in _detections(self.document)
            if _is_box(d)
        ]


@dataclass(frozen=True)
class Update:
    """The new state of one image; a part that is None stays as it is."""

    document: dict[str, Any] | None = None
    base: Sequence[KnownBox] | None = None
    state: str | None = None
    url: str | None = None
    scope: dict[str, Any] | None = None  #: the part of the image in which these labels are complete
    #: Label id -> what is known of who made it, to be added to what is known already.
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def declare_fields(loop: Loop) -> None:
    """Add the label field if it is missing, and the annotation fields."""
    writing.set_labels(loop.dataset, loop.names.label_field, {})
    for name, kind, text in (
        (loop.names.annotation, fo.StringField, "Labelling state: sent, loaded or removed"),
        (loop.names.annotation_url, fo.StringField, "Opens the image in the annotation tool"),
        (loop.names.annotation_base, fo.DictField, "Boxes on the server at the last load"),
        (loop.names.sources, fo.DictField, "Who made each label, when, and from what"),
    ):
        writing.declare(loop, name, kind, text)


def read(loop: Loop, anno_key: str, ids: Iterable[str]) -> dict[str, Truth]:
    """Sample id -> what the database holds; samples that are gone have no entry."""
    names = loop.names
    base_field = f"{names.annotation_base}.{anno_key}"
    fields = (names.label_field, names.annotation, base_field, names.model)
    held = {}
    for row in loop.dataset._sample_collection.find(_among(ids), dict.fromkeys(fields, 1)):
        base = (row.get(names.annotation_base) or {}).get(anno_key)
        held[str(row["_id"])] = Truth(
            document=_identified(row.get(names.label_field)),
            base=None if base is None else [KnownBox.from_dict(b) for b in base],
            state=row.get(names.annotation),
            model=row.get(names.model),
        )
    return held


def count_boxes(loop: Loop, ids: Iterable[str]) -> tuple[int, int]:
    """How many of these samples are labelled, and their labels."""
    boxes = {"$ifNull": [f"${loop.names.label_field}.detections", []]}
    is_labelled = {"$gt": [f"${loop.names.label_field}", None]}
    sums = {"images": {"$sum": 1}, "boxes": {"$sum": {"$size": boxes}}}
    pipeline = [
        {"$match": {**_among(ids), "$expr": is_labelled}},
        {"$group": {"_id": None, **sums}},
    ]
    row = next(loop.dataset._sample_collection.aggregate(pipeline), {"images": 0, "boxes": 0})
    return row["images"], row["boxes"]


def labels_of(loop: Loop, ids: Iterable[str]) -> dict[str, list[tuple[str, Box]]]:
    """Sample id -> (class, relative box) of its labels; unlabelled samples have no entry."""
    rows = loop.dataset._sample_collection.find(_among(ids), {loop.names.label_field: 1})
    held = {str(row["_id"]): Truth(row.get(loop.names.label_field), None, None) for row in rows}
    return {
        i: [(box.label, box.box) for box in image.boxes()]
        for i, image in held.items()
        if image.document is not None
    }


def _among(ids: Iterable[str]) -> dict[str, Any]:
    """The query for these samples."""
    return {"_id": {"$in": [ObjectId(i) for i in ids]}}


def count_unlabelled(loop: Loop, ids: Iterable[str]) -> int:
    """How many of these samples are unlabelled and were not removed by annotators."""
    query = {
        **_among(ids),
        "$expr": {"$not": [loop.is_labelled]},
        loop.names.annotation: {"$ne": REMOVED},
    }
    return int(loop.dataset._sample_collection.count_documents(query))


def awaited(loop: Loop, tag: str) -> Any:
    """The samples of a batch without those that annotators removed or that were excluded since."""
    images = loop.whole.tagged(tag).match_tags(loop.names.excluded_tag, bool=False)
    if loop.dataset.get_field(loop.names.annotation) is None:
        return images
    return images.match(fo.ViewField(loop.names.annotation) != REMOVED)


def count_states(loop: Loop, ids: Iterable[str]) -> Counter[str | None]:
    """Annotation state -> how many of these samples are in it; deleted ones do not count."""
    pipeline = [
        {"$match": _among(ids)},
        {"$group": {"_id": f"${loop.names.annotation}", "count": {"$sum": 1}}},
    ]
    rows = loop.dataset._sample_collection.aggregate(pipeline)
    return Counter({row["_id"]: row["count"] for row in rows})


def write(loop: Loop, anno_key: str, updates: Mapping[str, Update]) -> None:
    """Write many images in one bulk operation, each in one update."""
    stamp = datetime.now(timezone.utc)
    # A field that is null cannot take a path below it.
    for name in (loop.names.annotation_base, loop.names.sources):
        loop.dataset._sample_collection.update_many(
            {**_among(updates), name: None}, {"$set": {name: {}}}
        )
    ops = []
    for sample_id, update in updates.items():
        base = None if update.base is None else [box.to_dict() for box in update.base]
        values = {
            loop.names.label_field: update.document,
            f"{loop.names.annotation_base}.{anno_key}": base,
            loop.names.annotation: update.state,
            loop.names.annotation_url: update.url,
            loop.names.scope: update.scope,
            "last_modified_at": stamp,
            **{
                f"{loop.names.sources}.{label_id}.{key}": value
                for label_id, facts in update.sources.items()
                for key, value in facts.items()
            },
        }
        changed = {name: value for name, value in values.items() if value is not None}
        ops.append(UpdateOne({"_id": ObjectId(sample_id)}, {"$set": changed}))
    if ops:
        loop.dataset._bulk_write(ops, ids=list(updates))


def release(loop: Loop, anno_key: str, ids: Sequence[str]) -> None:
    """Record that annotators no longer have these images; unlabelled ones return to the pool."""
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
    loop.dataset._bulk_write([UpdateMany(_among(ids), update)], ids=list(ids))


def merged_document(
    document: dict[str, Any] | None,
    merged: Sequence[MergedBox],
    base: Sequence[KnownBox] = (),
) -> dict[str, Any]:
    """The label field with the merged boxes; whatever else a label holds stays.

    Labels without a box were never sent, and stay where they are. Of the attributes, only those
    that changed on the server since `base` are written, so that edits made in FiftyOne stay.
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
    """A detection as the server has it; `before` are its attributes at the last load."""
    result = dict(detection, label=box.label, bounding_box=[float(v) for v in box.box])
    for name, value in before.items():
        if name not in box.attributes and result.get(name) == value:
            del result[name]
    changed = {n: v for n, v in box.attributes.items() if before.get(n) != v}
    return {**result, **changed}


def _detections(document: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return (document or {}).get("detections") or []


def _identified(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """The labels, each with an id of its own: imports and copies may lack or share one."""
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
    digest, samples = hashlib.sha256(), view._dataset._sample_collection
    ids = sorted(reading.raw_values(view, [])[0])  # a sort in the database would read every sample
    for start in range(0, len(ids), writing.IDS_AT_ONCE):
        part = _among(ids[start : start + writing.IDS_AT_ONCE])
        for row in samples.find(part, {f"{names.label_field}.detections": 1}).sort("_id", 1):
            boxes = (row.get(names.label_field) or {}).get("detections") or []
            facts = [[b.get("label"), b.get("bounding_box")] for b in boxes]
            digest.update(f"{row['_id']}{facts}".encode())
    return digest.hexdigest()[:16]
