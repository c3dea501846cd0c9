"""Ids of labels and samples -> where they are: what a user points at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bson import ObjectId

from unseen.dataset import reading
from unseen.errors import DatasetError

#: The whole image.
WHOLE = [0.0, 0.0, 1.0, 1.0]


class Pointed(NamedTuple):
    """A box that an id stands for."""

    sample_id: str
    filepath: str
    xywh: list[float]  #: relative


def find(dataset: Any, ids: Sequence[str], parameter: str) -> list[Pointed]:
    """The boxes that ids stand for; a sample's is the whole image.

    Args:
        dataset: the dataset; all its fields of detections are searched.
        ids: of samples and labels.
        parameter: that gave the ids, for the message.

    Raises:
        DatasetError: an id is of neither.
    """
    missing = dict.fromkeys(ids)
    odd = [i for i in missing if not ObjectId.is_valid(i)]
    found = []
    samples = dataset._sample_collection
    wanted = [ObjectId(i) for i in missing if i not in odd]
    for row in samples.find({"_id": {"$in": wanted}}, {"filepath": 1}):
        missing.pop(str(row["_id"]))
        found.append(Pointed(str(row["_id"]), row["filepath"], WHOLE))
    for field in reading.detection_fields(dataset):
        if len(missing) == len(odd):
            break
        path = f"{dataset.get_field(field).db_field or field}.detections"
        query = {f"{path}._id": {"$in": [ObjectId(i) for i in missing if i not in odd]}}
        for row in samples.find(query, {"filepath": 1, path: 1}):
            for label in row[path.split(".")[0]]["detections"]:
                if str(label["_id"]) in missing and label.get("bounding_box"):
                    missing.pop(str(label["_id"]))
                    box = [float(v) for v in label["bounding_box"]]
                    found.append(Pointed(str(row["_id"]), row["filepath"], box))
    if missing:
        raise DatasetError(
            f"{parameter}: {next(iter(missing))!r} is no sample and no box of dataset "
            f"{dataset.name!r} ({len(missing)} of {len(ids)} ids are unknown); pass ids of samples, or "
            "of labels in a field of detections"
        )
    return found
