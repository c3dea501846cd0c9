"""A folder of images with COCO labels -> a new FiftyOne dataset, ready for a simulated annotator.

Everything is read and checked before the dataset is made, so that a bad folder leaves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.utils import to_slug

from unseen.dataset import labelling
from unseen.dataset.coco_json import LAYOUT, CocoImage, read_split, some
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.reading import check_class_names
from unseen.dataset.writing import detections, set_labels, set_raw
from unseen.errors import DatasetError
from unseen.progress import Progress, silent
from unseen.results import StepResult

#: The field with the complete labels, which a simulated annotator reveals.
HIDDEN_FIELD = "hidden_truth"

_BATCH = 200


@dataclass(frozen=True, kw_only=True)
class ImportResult(StepResult):
    """Result of `import_coco_folder`."""

    train: int  #: images in the train split
    test: int  #: images in the test split
    boxes: int
    classes: list[str]
    ignored: int = 0  #: regions to ignore (`iscrowd`)
    missing: list[str] = field(default_factory=list)  #: listed images without a readable file
    unlisted: int = 0  #: image files that labels.json does not list; not imported

    def summary(self) -> str:  # noqa: D102 - documented on the base class
        text = (
            f"{self.train} train and {self.test} test images with {self.boxes} boxes of "
            f"{len(self.classes)} classes imported as dataset {self.dataset!r}."
        )
        if self.ignored:
            text += f" {self.ignored} crowds (iscrowd) are kept as regions to ignore."
        if self.missing:
            text += (
                f" {len(self.missing)} listed images cannot be read and will be skipped: "
                f"{some(self.missing)}."
            )
        if self.unlisted:
            text += f" {self.unlisted} image files are in no labels.json and were left out."
        return text


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


def import_coco_folder(
    folder: str | Path, name: str | None = None, *, progress: Progress = silent
) -> ImportResult:
    """Make a new persistent dataset from a COCO folder with a train and a test split.

    Train samples have their labels only in `hidden_truth`, so they are unlabelled; test samples have
    them in `ground_truth` as well, and the tag `test`. Samples are in directory order, train first. The
    class list becomes the dataset's `default_classes`. A listed image that cannot be read is imported
    all the same: the loop skips and names it.

    Args:
        folder: holds train/ and test/, each with data/ and labels.json; `DatasetError` or `LabelError`
            names what is not as expected.
        name: of the new dataset. Default: the folder's name, numbered if taken.
        progress: told how many samples are in the database.
    """
    began = time.perf_counter()
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; {LAYOUT}")
    splits = {split: read_split(folder / split) for split in ("train", "test")}
    classes = list(dict.fromkeys(c for split in splits.values() for c in split.classes))
    check_class_names(classes)
    images = [(image, split == "test") for split in splits for image in splits[split].images]
    dataset = _new_dataset(name or numbered_name(folder.name))
    try:
        for field_name in (Names.label_field, HIDDEN_FIELD):
            set_labels(dataset, field_name, {})
        dataset.default_classes = classes
        dataset.save()
        for start in range(0, len(images), _BATCH):
            _add(dataset, images[start : start + _BATCH])
            progress(min(start + _BATCH, len(images)), len(images), "importing images")
        loop = Loop(dataset)
        labelling.declare(loop)
        labelling.record(loop, loop.labelled_ids(), "import")
        dataset.persistent = True
    except BaseException:
        dataset.delete()  # it is ours, and only half there
        raise
    return ImportResult(
        dataset=dataset.name,
        seconds=time.perf_counter() - began,
        train=len(splits["train"].images),
        test=len(splits["test"].images),
        boxes=sum(len(image.boxes) for image, _ in images),
        ignored=sum(len(image.crowds) for image, _ in images),
        classes=classes,
        missing=[str(image.path) for image, _ in images if not image.is_readable],
        unlisted=sum(split.unlisted for split in splits.values()),
    )


def _new_dataset(name: str) -> Any:
    try:
        return fo.Dataset(name)
    except ValueError as error:
        raise DatasetError(
            f"cannot make dataset {name!r} ({error}); choose another name, for example "
            f"{numbered_name(name)!r}. Existing datasets are never written over"
        ) from error


def _add(dataset: Any, images: Sequence[tuple[CocoImage, bool]]) -> None:
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
        width, height = image.size or (1, 1)
        boxes: list[tuple[str, list[float], None]] = [
            (label, [x / width, y / height, w / width, h / height], None)
            for label, (x, y, w, h) in [*image.boxes, *image.crowds]
        ]
        fields = [HIDDEN_FIELD, Names.label_field] if is_test else [HIDDEN_FIELD]
        values[sample_id] = {name: detections(boxes) for name in fields}
        for document in values[sample_id].values():
            for crowd in document["detections"][len(image.boxes) :]:
                crowd["iscrowd"] = 1
    set_raw(dataset, values)
