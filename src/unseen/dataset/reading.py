"""Dataset or view -> plain Python. Reads only what is needed: heatmaps and vectors stay in the database."""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import fiftyone as fo
import numpy as np
from bson import MinKey

from unseen.arrays import images as image_files
from unseen.arrays.boxes import clean_boxes, rel_xywh_to_xyxy
from unseen.arrays.images import ValueRange, image_size
from unseen.dataset.fields import RESERVED_CLASSES
from unseen.errors import DatasetError, ImageError, LabelError
from unseen.results import Skipped

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledImage:
    """One labelled image: `xyxy` (N, 4) float32 in its own px, one class name per box.

    `ignored` (M, 4) are its crowds: objects nobody counted, neither examples nor background.
    """

    sample_id: str
    filepath: str
    width: int
    height: int
    xyxy: np.ndarray
    labels: list[str]
    ignored: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True)
class LabelledImages:
    """The labels of a view, and what was wrong with them."""

    images: list[LabelledImage]
    class_counts: dict[str, int]
    box_problems: dict[str, int]
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def boxes(self) -> int:
        """Number of usable boxes."""
        return sum(self.class_counts.values())


#: Labels that are no class.
NAMELESS = (None, "")
#: Where FiftyOne has the attribute `iscrowd` of a box, now and in earlier versions.
CROWD = ("iscrowd", "attributes.iscrowd.value")
#: The stages of a view that only choose or order samples. The others may change or hide fields:
#: `filter_labels(..., only_matches=False)` turns a missing label into an empty one.
_CHOOSING = {
    *("Exclude", "ExcludeBy", "ExcludeGroups", "Exists", "GeoNear", "GeoWithin", "Limit", "Match"),
    *("MatchFrames", "MatchLabels", "MatchTags", "Select", "SelectBy", "SelectGroups"),
    *("SelectGroupSlices", "ExcludeGroupSlices", "Shuffle", "Skip", "SortBy", "SortBySimilarity"),
    "Take",
}


def open_collection(collection: Any) -> Any:
    """A dataset or view, also from a name; `DatasetError` if there is none or it holds no images.

    A view says only which samples: where it changes or hides fields, the same samples of the dataset
    come back, in its order.
    """
    if isinstance(collection, str):
        if not fo.dataset_exists(collection):
            raise DatasetError(f"dataset {collection!r} does not exist; {_hint(collection)}")
        collection = fo.load_dataset(collection)
    if not hasattr(collection, "_dataset"):
        raise DatasetError(
            f"expected a dataset's name, a Dataset or a DatasetView; got {type(collection).__name__}"
        )
    if collection.media_type not in ("image", None):
        raise DatasetError(
            f"dataset {collection._dataset.name!r} holds {collection.media_type!r} media; expected "
            "images. Make a dataset of them: clone() the view of one image slice of a group, "
            "select_group_slices, or of a video's frames, to_frames(sample_frames=True)"
        )
    if getattr(collection, "_is_patches", False) or getattr(collection, "_is_frames", False):
        raise DatasetError(
            "the view shows patches or frames; expected whole images. Clear that stage of the view"
        )
    stages = {type(stage).__name__ for stage in getattr(collection, "_stages", ())}
    if stages <= _CHOOSING:
        return collection
    ids = collection.values("id")
    # In the order of the dataset unless another one is asked for: keeping one is quadratic.
    if stages & {"Select", "Shuffle", "SortBy", "SortBySimilarity", "GroupBy", "Mongo"}:
        return collection._dataset.select(ids, ordered=True)
    is_all = len(ids) == len(collection._dataset)
    return collection._dataset.view() if is_all else collection._dataset.select(ids)


def check_label_field(
    collection: Any, name: str, *, must_exist: bool = True, parameter: str = "label_field"
) -> None:
    """Raise `DatasetError` unless `name`, given by `parameter`, is a field of detections."""
    stored = collection.get_field(name)
    if stored is None:
        if must_exist:
            known = detection_fields(collection)
            raise DatasetError(
                f"dataset {collection._dataset.name!r} has no label field {name!r}; "
                f"its fields of detections: {', '.join(known) or 'none'}. Pass {parameter}="
            )
        return
    kind = getattr(stored, "document_type", None)
    if kind is not fo.Detections:
        raise DatasetError(
            f"field {name!r} holds {kind.__name__ if kind else type(stored).__name__}; expected "
            "Detections (boxes). Pass another label_field, or convert the labels first"
        )


def detection_fields(collection: Any) -> list[str]:
    """The names of the fields that hold detections."""
    return list(collection.get_field_schema(embedded_doc_type=fo.Detections))


def sizes(collection: Any) -> list[tuple[int, int] | None]:
    """(width, height) px from the metadata, in the order of the view; None if there is none."""
    widths, heights = collection.values(["metadata.width", "metadata.height"])
    return [(int(w), int(h)) if w and h else None for w, h in zip(widths, heights, strict=True)]


def value_range(dataset: Any) -> ValueRange | None:
    """What 0 and 1 are in the files of a dataset with more than 8 bits; None if it has none."""
    samples = dataset._sample_collection
    step = max(1, samples.count_documents({"_id": {"$gte": MinKey()}}) // image_files.SAMPLED)
    rows = samples.find({}, {"_id": 0, "filepath": 1}, batch_size=5000).sort("filepath", 1)
    return image_files.value_range([row["filepath"] for row in islice(rows, 0, None, step)])


def check_class_names(classes: Sequence[str]) -> None:
    """Raise `LabelError` if a class is called `unseen` or `background`, which the loop uses itself."""
    reserved = [c for c in classes if c.strip().lower() in RESERVED_CLASSES]
    if reserved:
        raise LabelError(
            f"class {reserved[0]!r} has a name that the ranking uses itself "
            f"({', '.join(RESERVED_CLASSES)}); rename it, for example with "
            f"`unseen rename-classes DATASET --rename {f'{reserved[0]}=other'!r}`"
        )


def read_labels(
    view: Any, label_field: str, classes: Sequence[str] | None = None
) -> LabelledImages:
    """Paths and boxes of the labelled samples of a view, in directory order.

    Boxes are clipped to the image; boxes that are empty, not finite, outside of the image or, if
    `classes` are given, of another class are dropped; crowds are kept apart. All of that is counted.
    A sample whose file cannot be read is skipped and listed.
    """
    of_image = ["filepath", "id", "metadata.width", "metadata.height"]
    of_box = [f"{label_field}.detections.{n}" for n in ("label", "bounding_box", *CROWD)]
    # One query, because two may come in another order; sorted here, where all of it is needed.
    rows = sorted(zip(*view.values([*of_image, *of_box]), strict=True), key=lambda row: row[:2])
    images: list[LabelledImage] = []
    problems: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    skipped: list[Skipped] = []
    for path, sample_id, wide, high, labels, rel, *flags in rows:
        is_crowd = crowd_flags(*flags)
        try:
            width, height = (int(wide), int(high)) if wide and high else image_size(path)
        except ImageError as error:
            logger.warning("skipped: %s", error)
            skipped.append(Skipped(sample_id=sample_id, filepath=path, reason=str(error)))
            continue
        objects = [i for i in range(len(labels or [])) if not is_crowd[i]]
        placed = [i for i in objects if labels[i] and has_place(rel[i])]
        known = [i for i in placed if classes is None or labels[i] in classes]
        problems["without a class or a place"] += len(objects) - len(placed)
        problems["of an unknown class"] += len(placed) - len(known)
        xyxy, kept, wrong = _usable(rel, known, width, height)
        problems.update(wrong)
        crowded = [i for i, crowd in enumerate(is_crowd) if crowd and has_place(rel[i])]
        ignored, _, _ = _usable(rel, crowded, width, height)
        problems["to ignore (iscrowd)"] += len(ignored)
        kept_labels = [labels[i] for i in kept]
        counts.update(kept_labels)
        images.append(LabelledImage(sample_id, path, width, height, xyxy, kept_labels, ignored))
    box_problems = {problem: n for problem, n in problems.items() if n}
    return LabelledImages(images, dict(sorted(counts.items())), box_problems, skipped)


def class_counts(view: Any, label_field: str) -> dict[str, int]:
    """Class -> number of its boxes in a view, sorted; crowds are no objects and do not count."""
    box = f"${label_field}.detections"
    is_crowd = {"$or": [f"{box}.iscrowd", f"{box}.attributes.iscrowd.value"]}
    pipeline = [
        *view._pipeline(),
        {"$unwind": box},
        {"$match": {"$expr": {"$not": [is_crowd]}}},
        {"$group": {"_id": f"{box}.label", "boxes": {"$sum": 1}}},
        {"$match": {"_id": {"$nin": NAMELESS}}},
    ]
    rows = view._dataset._sample_collection.aggregate(pipeline, allowDiskUse=True)
    return dict(sorted((str(row["_id"]), int(row["boxes"])) for row in rows))


def has_place(rel: Sequence[Any] | None) -> bool:
    """Whether a box has [x, y, width, height]; FiftyOne makes detections with an empty list."""
    return rel is not None and len(rel) == 4


def crowd_flags(new: Sequence[Any] | None, old: Sequence[Any] | None) -> list[bool]:
    """Whether each box of a sample is a crowd, from its values of `CROWD`."""
    return [bool(a or b) for a, b in zip(new or (), old or (), strict=True)]


def _usable(
    rel: Sequence[Any], wanted: Sequence[int], width: int, height: int
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """`clean_boxes` of the relative boxes at the `wanted` positions, which it gives as labels."""
    array = np.asarray([rel[i] for i in wanted], dtype=np.float32).reshape(-1, 4)
    corners = rel_xywh_to_xyxy(array, width, height)
    return clean_boxes(corners, np.asarray(wanted, np.int64), width, height)


def raw_values(view: Any, names: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Ids and top-level values straight from the database, without building FiftyOne objects.

    FiftyOne's `values()` makes an aggregation with one array of everything; for plain numbers of
    100,000 samples a projected cursor is several times quicker and uses less memory.
    """
    dataset = view._dataset
    fields = {name: dataset.get_field(name) for name in names}
    stored = {name: field.db_field or name for name, field in fields.items() if field is not None}
    projection = {"_id": 1, **{db: 1 for db in stored.values()}}
    pipeline = [*view._pipeline(), {"$project": projection}]
    ids: list[str] = []
    values: dict[str, list[Any]] = {name: [] for name in names}
    for document in dataset._sample_collection.aggregate(pipeline, allowDiskUse=True):
        ids.append(str(document["_id"]))
        for name in names:
            values[name].append(document.get(stored.get(name, ""), None))
    return ids, values


def highest(view: Any, metric: str, count: int) -> Any:
    """The `count` samples of a view with the highest metric, ties by path; without one come last.

    The database looks at no more than the best, if the metric has an index.
    """
    if not count:
        return view.limit(0)
    # Two fields in one order have no index together: the last of the best is found by one of them.
    by_metric = view.sort_by(metric, reverse=True, create_index=False).skip(count - 1).limit(1)
    _, last = raw_values(by_metric, [metric])
    lowest = last[metric][0] if last[metric] else None
    if lowest is not None and np.isfinite(lowest):
        view = view.match({metric: {"$gte": lowest}})
    order = [(metric, -1), ("filepath", 1)]
    return view.sort_by(order, create_index=False).limit(count)


def _hint(name: str) -> str:
    names = fo.list_datasets()
    if close := difflib.get_close_matches(name, names, n=3):
        return f"did you mean {', '.join(close)}?"
    if not names:
        return "there are no datasets yet; create one with fiftyone, or run the demo"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"there are {', '.join(names[:5])}{more}"
