"""A folder of images with or without labels -> a new FiftyOne dataset.

Everything is read and checked before the dataset is made, so that a bad folder leaves nothing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.media as fom
import fiftyone.types as fot
from fiftyone.core.utils import to_slug

from unseen.dataset import labelling, mongodb
from unseen.dataset.coco import ListedImage, read_sizes, some
from unseen.dataset.fields import Names
from unseen.dataset.folders import FIFTYONE, below, find_format, read_folder
from unseen.dataset.import_folder import ImportConfig, ImportResult
from unseen.dataset.loop import Loop
from unseen.dataset.reading import check_class_names
from unseen.dataset.writing import detections, set_labels, set_raw
from unseen.errors import DatasetError, file_errors
from unseen.files import read_json
from unseen.parameters import as_path, from_mapping
from unseen.progress import Progress, silent

#: The field with the complete labels, which a simulated annotator reveals.
HIDDEN_FIELD = "hidden_truth"

_BATCH = 200


def import_folder(
    folder: str | Path = "",
    config: ImportConfig | None = None,
    /,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> ImportResult:
    """Make a new persistent dataset from a folder; its format is found out.

    Labels are in `ground_truth`: images that are listed without boxes are labelled, and images that
    no label file knows are not. A test split has the tag `test`. With `hidden`, all labels are in
    `hidden_truth`, and only test images have them in `ground_truth` as well. Samples are in directory
    order, train first. The class list becomes the dataset's `default_classes`. A listed image that
    cannot be read is imported all the same: the loop skips and names it. An export of FiftyOne comes
    back as it was.

    Args:
        folder: what to import; an `UnseenError` names what is not as expected.
        config: parameters, of which `settings` replace single ones.
        progress: told how many samples are in the database.
        settings: `name` of the new dataset, `hidden`.
    """
    began = time.perf_counter()
    given = {**(config.to_dict() if config else {}), **settings}
    given["folder"] = str(folder or given.get("folder") or "")
    parsed = from_mapping(ImportConfig, given)
    place = as_path("folder", parsed.folder)
    with file_errors(), mongodb.clear_errors():
        kind, (export, *_) = find_format(place)
        if kind == FIFTYONE and not parsed.hidden:
            result = _import_export(
                export, parsed.name or numbered_name(place.name), progress or silent
            )
        else:
            result = _import_labels(place, parsed, progress or silent)
    return dataclasses.replace(result, seconds=time.perf_counter() - began)


def numbered_name(base: str) -> str:
    """The first of `base`, `base-2`, ... that no dataset has; `DatasetError` if FiftyOne accepts none."""
    try:
        to_slug(base)
    except ValueError as error:
        raise DatasetError(
            f"{base!r} cannot name a dataset ({error}); pass a name with letters or digits"
        ) from error
    taken = {to_slug(name) for name in fo.list_datasets()}
    names = chain([base], (f"{base}-{number}" for number in count(2)))
    return next(name for name in names if to_slug(name) not in taken)


def _import_labels(folder: Path, config: ImportConfig, progress: Progress) -> ImportResult:
    found = read_folder(folder)
    if config.hidden:
        found = found.with_test_split()
    classes = found.classes
    check_class_names(classes)
    images = [(i, split == "test") for split in found.splits for i in found.splits[split].images]
    unlisted = found.unlisted
    if not config.hidden:
        more = [ListedImage(p.name, below(folder, p), None, is_labelled=False) for p in unlisted]
        if more:
            read_sizes(more, folder)
        images, unlisted = images + [(image, False) for image in more], ()
    _check_endings([image.path for image, _ in images])
    dataset = _new_dataset(config.name or numbered_name(folder.name))
    try:
        for field_name in (Names.label_field, *([HIDDEN_FIELD] if config.hidden else [])):
            set_labels(dataset, field_name, {})
        if classes:
            dataset.default_classes = classes
            dataset.save()
        for start in range(0, len(images), _BATCH):
            _add(dataset, images[start : start + _BATCH], config.hidden)
            progress(min(start + _BATCH, len(images)), len(images), "importing images")
        loop = Loop(dataset)
        labelling.declare(loop)
        labelling.record(loop, dataset.values("id"), "import")
        dataset.persistent = True
    except BaseException:
        dataset.delete()  # it is ours, and only half there
        raise
    labelled = [image for image, _ in images if image.is_labelled]
    return ImportResult(
        dataset=dataset.name,
        format=found.format,
        train=sum(not is_test for _, is_test in images),
        test=sum(is_test for _, is_test in images),
        boxes=sum(len(image.boxes) for image in labelled),
        ignored=sum(len(image.crowds) for image in labelled),
        classes=classes,
        unlabelled=len(images) - len(labelled),
        without_boxes=sum(not (image.boxes or image.crowds) for image in labelled),
        missing=[str(image.path) for image, _ in images if not image.is_readable],
        unlisted=len(unlisted),
        notes=list(found.notes),
    )


def _check_endings(paths: Sequence[Path]) -> None:
    """FiftyOne knows an image by the ending of its name, whatever is in the file."""
    if odd := [path.name for path in paths if fom.get_media_type(str(path)) != fom.IMAGE]:
        raise DatasetError(
            f"{len(odd)} listed files do not end like an image, so that FiftyOne cannot show them: "
            f"{some(odd)}. Rename the files and their labels, for example to end in .png"
        )


def _new_dataset(name: str) -> Any:
    try:
        return fo.Dataset(name)
    except ValueError as error:
        raise DatasetError(
            f"cannot make dataset {name!r} ({error}); choose another name, for example "
            f"{numbered_name(name)!r}. Existing datasets are never written over"
        ) from error


def _add(dataset: Any, images: Sequence[tuple[ListedImage, bool]], hidden: bool) -> None:
    """Add images, each with whether it belongs to the test split.

    Labels are written as documents: FiftyOne's objects would take a millisecond per box.
    """
    samples = []
    for image, is_test in images:
        sample = fo.Sample(filepath=str(image.path), tags=[Names.test_tag] if is_test else [])
        if image.is_readable and image.size is not None:
            width, height = image.size
            sample.metadata = fo.ImageMetadata(width=width, height=height)
        samples.append(sample)
    ids = dataset.add_samples(samples, progress=False)
    values = {}
    for sample_id, (image, is_test) in zip(ids, images, strict=True):
        if not image.is_labelled:
            continue
        width, height = image.size or (1, 1)
        boxes: list[tuple[str, list[float], None]] = [
            (label, [x / width, y / height, w / width, h / height], None)
            for label, (x, y, w, h) in [*image.boxes, *image.crowds]
        ]
        fields = ([HIDDEN_FIELD] if hidden else []) + (
            [Names.label_field] if is_test or not hidden else []
        )
        values[sample_id] = {name: detections(boxes) for name in fields}
        for document in values[sample_id].values():
            for crowd in document["detections"][len(image.boxes) :]:
                crowd["iscrowd"] = 1
    if values:
        set_raw(dataset, values)


# --- exports of FiftyOne -------------------------------------------------------------------------
def _import_export(folder: Path, name: str, progress: Progress) -> ImportResult:
    """Import an export of FiftyOne with everything that it holds, once its paths are checked."""
    samples = 0
    for path, value in _paths_in_export(folder):
        below(folder, value)
        samples += path == "filepath"
    if not samples:
        raise DatasetError(f"{folder} is an export of FiftyOne without samples; export it again")
    dataset = _new_dataset(name)
    try:
        try:
            dataset.add_dir(
                dataset_dir=str(folder), dataset_type=fot.FiftyOneDataset, progress=False
            )
        except Exception as error:  # whatever it meets in files from elsewhere
            raise DatasetError(
                f"{folder}: FiftyOne cannot read this export ({type(error).__name__}: "
                f"{str(error)[:200]}). Export the dataset again, as FiftyOneDataset"
            ) from error
        if dataset.media_type != "image":
            raise DatasetError(f"{folder} holds {dataset.media_type} samples; expected images")
        progress(samples, samples, "importing images")
        dataset.persistent = True
    except BaseException:
        dataset.delete()  # it is ours, and only half there
        raise
    fields = sorted(dataset.get_field_schema(embedded_doc_type=fo.Detections))
    labelled = len(dataset.exists(Names.label_field)) if Names.label_field in fields else 0
    boxes = dataset.count(f"{Names.label_field}.detections") if labelled else 0
    test = len(dataset.match_tags(Names.test_tag))
    classes = dataset.distinct(f"{Names.label_field}.detections.label") if labelled else []
    note = f"Fields with boxes: {', '.join(fields) or 'none'}."
    return ImportResult(
        dataset=dataset.name,
        format=FIFTYONE,
        train=samples - test,
        test=test,
        boxes=boxes,
        classes=classes,
        unlabelled=samples - labelled,
        notes=[note],
    )


def _paths_in_export(folder: Path) -> Iterator[tuple[str, str]]:
    """Every path that the samples of an export name, with its key."""
    whole = folder / "samples.json"
    for file in [whole] if whole.is_file() else sorted((folder / "samples").glob("*.json")):
        try:
            yield from _paths(read_json(file))
        except ValueError as error:
            raise DatasetError(f"{file} is not valid JSON ({error}). Export it again") from error


def _paths(value: Any) -> Iterator[tuple[str, str]]:
    nested = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in nested:
        if isinstance(item, str) and (key == "filepath" or str(key).endswith("_path")):
            yield str(key), item
        elif isinstance(item, (dict, list)):
            yield from _paths(item)
