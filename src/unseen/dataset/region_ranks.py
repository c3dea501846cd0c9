"""The rank of unseen regions: an attribute of each, and the saved view of their patches.

FiftyOne keeps the patches of a saved view in a dataset of their own, which it does not list and
removes some time after the view. So they stay as they were ranked, as a batch does, although
scoring again gives their images other regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import fiftyone as fo
from bson import ObjectId
from pymongo import UpdateMany, UpdateOne

from unseen.dataset import reading, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

#: The attribute of a region; without a rank it is missing.
RANK = "rank"
#: Stands for a region without a score, such as one that somebody drew.
NO_SCORE = -1.0


class Place(NamedTuple):
    """Where a region is."""

    sample_id: str
    position: int  #: among the regions of its image


def read_scores(view: Any, names: Names) -> tuple[list[str], list[list[float]]]:
    """The scores of all regions, straight from the database and nothing else of them.

    Args:
        view: samples that were scored.
        names: the loop, whose regions are meant.

    Returns:
        Sample ids in the order of the view, and the scores of each one's regions as stored;
        NO_SCORE where a region has none.
    """
    score = {"$ifNull": ["$$this.confidence", NO_SCORE]}
    regions = {"$ifNull": [f"${names.regions}.detections", []]}
    project = {"$project": {"scores": {"$map": {"input": regions, "in": score}}}}
    rows = reading.dataset_of(view)._sample_collection.aggregate(
        [*view._pipeline(), project], allowDiskUse=True
    )
    ids: list[str] = []
    scores: list[list[float]] = []
    for row in rows:
        ids.append(str(row["_id"]))
        scores.append(row["scores"])
    return ids, scores


def write(loop: Loop, ranked: Sequence[Place], *, field: str | None = None) -> None:
    """Give these regions the ranks 1, 2, ...; any other of the field loses the rank that it had."""
    field = field or loop.names.regions
    path = f"{field}.detections"
    loop.dataset.add_sample_field(
        f"{path}.{RANK}", fo.IntField, description="Rank over all images, 1 = look first"
    )
    samples = loop.dataset._sample_collection
    has_rank = {f"{path}.{RANK}": {"$exists": True}}
    before = [row["_id"] for row in samples.find(has_rank, {"_id": 1})]
    images = [ObjectId(i) for i in dict.fromkeys(place.sample_id for place in ranked)]
    stored = {
        row["_id"]: [region["_id"] for region in row[field]["detections"]]
        for row in samples.find({"_id": {"$in": images}}, {f"{path}._id": 1})
    }
    now = {"last_modified_at": datetime.now(timezone.utc)}
    ops: list[Any] = [
        UpdateMany(
            {"_id": {"$in": before}},
            {"$unset": {f"{path}.$[].{RANK}": ""}, "$set": now},
        )
    ]
    for rank, (sample_id, position) in enumerate(ranked, start=1):
        image = ObjectId(sample_id)
        # By its id: somebody may edit the regions in the App at this moment.
        region = [{"region._id": stored[image][position]}]
        values = {f"{path}.$[region].{RANK}": rank, **now}
        ops.append(UpdateOne({"_id": image}, {"$set": values}, array_filters=region))
    touched = dict.fromkeys(str(i) for i in [*before, *images])
    loop.dataset._bulk_write(ops, ids=list(touched), ordered=True)


def save_view(
    loop: Loop,
    ranked: Sequence[Place],
    *,
    field: str | None = None,
    view: str | None = None,
    text: str | None = None,
) -> None:
    """Save the patches of the ranked regions in rank order.

    Args:
        loop: the loop.
        ranked: the regions.
        field: that they are in; default: the unseen regions.
        view: name of the saved view; default: that of the strongest unseen regions.
        text: its description.
    """
    field = field or loop.names.regions
    images = list(dict.fromkeys(place.sample_id for place in ranked))
    # The images are named, so that the other ones need not be searched for ranks.
    patches = (
        loop.dataset.select(images)
        .filter_labels(field, fo.ViewField(RANK) > 0)
        .to_patches(field)
        .sort_by(f"{field}.{RANK}")
    )
    text = text or f"The {len(ranked)} strongest unseen regions of the pool in rank order"
    writing.save_own_view(loop, view or loop.names.top_regions, patches, text)
