"""Regions of images: their scores, their ranks with a saved view, and the boxes behind ids.

FiftyOne keeps the patches of a saved view in an unlisted dataset of their own. So they stay as they
were ranked, like a batch, although scoring again replaces the regions of their images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateMany, UpdateOne

from unseen.dataset import reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError

#: The attribute of a region; it is missing where there is no rank.
RANK = "rank"
#: The score of a region without one, such as a region that somebody drew.
NO_SCORE = -1.0
#: The box of a whole image.
WHOLE = [0.0, 0.0, 1.0, 1.0]


class Place(NamedTuple):
    """Where a region is."""

    sample_id: str
    position: int  #: among the regions of its image


class Pointed(NamedTuple):
    """A box that an id stands for."""

    sample_id: str
    filepath: str
    xywh: list[float]  #: relative


def read_scores(loop: Loop, count: int) -> Iterator[tuple[str, list[float]]]:
    """Id and regions' scores as stored, in directory order, of samples that hold the strongest.

    The `count` strongest regions of all are in no more samples than that: those whose strongest
    region is among the strongest, of equals the first. Only these come out of the database.
    """
    samples, path = loop.dataset._sample_collection, f"{loop.names.regions}.detections"
    score = {"$ifNull": ["$$this.confidence", NO_SCORE]}
    regions = {"$map": {"input": {"$ifNull": [f"${path}", []]}, "in": score}}
    pipeline = [
        *loop.view._pipeline(),
        {"$project": {"filepath": 1, "strongest": {"$max": f"${path}.confidence"}}},
        {"$sort": {"strongest": -1, "filepath": 1}},
        {"$limit": count},
    ]
    paths = {row["_id"]: row["filepath"] for row in samples.aggregate(pipeline, allowDiskUse=True)}
    stored = samples.find({"_id": {"$in": list(paths)}}, {"scores": regions})
    for row in sorted(stored, key=lambda row: (paths[row["_id"]], row["_id"])):
        yield str(row["_id"]), row["scores"]


def save_ranks(loop: Loop, ranked: Sequence[Place], *, field: str, view: str, text: str) -> None:
    """Give these regions of a field the ranks 1, 2, ..., and save their patches in that order.

    Every other region of the field loses its rank. `view` names the saved view, `text` describes it.
    """
    path = f"{field}.detections"
    is_first = loop.dataset.get_field(f"{path}.{RANK}") is None
    loop.dataset.add_sample_field(
        f"{path}.{RANK}", fo.IntField, description="Rank over all images, 1 = look first"
    )
    samples = loop.dataset._sample_collection
    has_rank = {f"{path}.{RANK}": {"$exists": True}}
    # A look at every sample, unless nothing ever had a rank.
    before = [] if is_first else [row["_id"] for row in samples.find(has_rank, {"_id": 1})]
    images = [ObjectId(i) for i in dict.fromkeys(place.sample_id for place in ranked)]
    stored = {
        row["_id"]: [region["_id"] for region in row[field]["detections"]]
        for row in samples.find({"_id": {"$in": images}}, {f"{path}._id": 1})
    }
    now = {"last_modified_at": datetime.now(timezone.utc)}
    removed = {"$unset": {f"{path}.$[].{RANK}": ""}, "$set": now}
    operations: list[Any] = [UpdateMany({"_id": {"$in": before}}, removed)]
    for rank, (sample_id, position) in enumerate(ranked, start=1):
        image = ObjectId(sample_id)
        # By its id: somebody may edit the regions in the App at this moment.
        region = [{"region._id": stored[image][position]}]
        values = {f"{path}.$[region].{RANK}": rank, **now}
        operations.append(UpdateOne({"_id": image}, {"$set": values}, array_filters=region))
    touched = dict.fromkeys(str(i) for i in [*before, *images])
    loop.dataset._bulk_write(operations, ids=list(touched), ordered=True)
    # The images are named, so that the database need not search the others for ranks.
    patches = (
        loop.dataset.select([str(i) for i in images])
        .filter_labels(field, fo.ViewField(RANK) > 0)
        .to_patches(field)
        .sort_by(f"{field}.{RANK}")
    )
    writing.save_own_view(loop, view, patches, text)


def find_boxes(dataset: Any, ids: Sequence[str], parameter: str) -> list[Pointed]:
    """The boxes of labels in any field of detections, by id; the id of a sample means all of it.

    Raises `DatasetError` if an id, given by `parameter`, is unknown.
    """
    missing = dict.fromkeys(ids)
    boxes = []
    samples = dataset._sample_collection
    wanted = {"$in": [ObjectId(i) for i in missing if ObjectId.is_valid(i)]}
    for row in samples.find({"_id": wanted}, {"filepath": 1}):
        missing.pop(str(row["_id"]))
        boxes.append(Pointed(str(row["_id"]), row["filepath"], WHOLE))
    for field in reading.detection_fields(dataset) if missing else ():
        stored = dataset.get_field(field).db_field or field
        path = f"{stored}.detections"
        for row in samples.find({f"{path}._id": wanted}, {"filepath": 1, path: 1}):
            for label in row[stored]["detections"]:
                if str(label["_id"]) in missing and label.get("bounding_box"):
                    missing.pop(str(label["_id"]))
                    box = [float(v) for v in label["bounding_box"]]
                    boxes.append(Pointed(str(row["_id"]), row["filepath"], box))
    if missing:
        raise DatasetError(
            f"{parameter}: {next(iter(missing))!r} is no sample and no box of dataset "
            f"{dataset.name!r} ({len(missing)} of {len(ids)} ids are unknown); pass ids of samples, or "
            "of labels in a field of detections"
        )
    return boxes
