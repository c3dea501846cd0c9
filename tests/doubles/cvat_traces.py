"""What a step leaves behind: in a dataset, in FiftyOne's database, on a CVAT double."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.core.odm as foo


def state_of(dataset: fo.Dataset) -> dict:
    """Everything that a step could have changed: raw samples, schema, runs, settings."""
    dataset.reload()
    samples = list(dataset._sample_collection.find({}).sort("_id"))
    settings = foo.get_db_conn().datasets.find_one({"_id": dataset._doc.id})
    for key in ("last_loaded_at", "last_modified_at", "last_deletion_at"):
        settings.pop(key, None)
    return {
        "samples": samples,
        "settings": settings,
        "runs": dataset.list_runs(),
        "annotation runs": dataset.list_annotation_runs(),
    }


def database_text() -> str:
    """Every document of every collection of FiftyOne's database as text, files included."""
    database = foo.get_db_conn()
    texts = []
    for name in database.list_collection_names():
        for document in database[name].find():
            files = [value for value in document.values() if isinstance(value, bytes)]
            texts += [repr(document), *(content.decode("latin-1") for content in files)]
    return "\n".join(texts)


def frames_of(cvat) -> list[str]:
    """The names of all frames on the server, task by task."""
    return [frame.name for number in sorted(cvat.tasks) for frame in cvat.tasks[number].frames]


def ranked(dataset: fo.Dataset) -> fo.DatasetView:
    """The batch in rank order."""
    return dataset.match_tags("batch_01").sort_by("unseen_rank")


def ranked_names(dataset: fo.Dataset) -> list[str]:
    """File names of the batch in rank order."""
    return [path.rsplit("/", 1)[1] for path in ranked(dataset).values("filepath")]


def sent_ids(dataset: fo.Dataset, shapes: list[dict]) -> list[str]:
    """The ids in FiftyOne of the boxes that were sent as these shapes."""
    bases = dataset.values("unseen_annotation_base")
    known = [box for base in bases for boxes in (base or {}).values() for box in boxes]
    by_shape = {box["shape_id"]: box["id"] for box in known}
    return [by_shape[shape["id"]] for shape in shapes]


SIZE = 64
BOX, SAME_BOX = [8, 16, 24, 40], ("particle", [8, 16, 16, 24])  # corners; with width and height


def truth(dataset):
    """Boxes per image of the batch in rank order: None, or a sorted list of (class, px box)."""
    return [
        None
        if boxes is None
        else sorted((b.label, [round(v * SIZE, 3) for v in b.bounding_box]) for b in boxes)
        for boxes in ranked(dataset).values("ground_truth.detections")
    ]


def finish(worker, frame=0, label="particle", box=BOX, **more):
    """Draw a box and complete the job; the id of the shape."""
    drawn = worker.draw(frame, label, box, **more)
    worker.set(state="completed")
    return drawn
