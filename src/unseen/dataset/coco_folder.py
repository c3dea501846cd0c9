"""A folder of images with COCO labels -> a new FiftyOne dataset, ready for a simulated annotator.

Everything is read and checked before the dataset is made, so that a bad folder leaves nothing.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
from fiftyone.core.utils import to_slug

from unseen.dataset.fields import RESERVED_CLASSES, Names
from unseen.dataset.reading import check_class_names
from unseen.errors import DatasetError, ImageError
from unseen.images import image_size
from unseen.progress import Progress, silent
from unseen.results import StepResult

_LAYOUT = "expected FOLDER/train and FOLDER/test, each with data/ (images) and labels.json (COCO)"
_BATCH = 200


@dataclass(frozen=True, kw_only=True)
class ImportResult(StepResult):
    """Result of `import_coco_folder`."""

    train: int  #: images in the train split
    test: int  #: images in the test split
    boxes: int
    classes: list[str]
    missing: list[str] = field(default_factory=list)  #: listed images without a readable file
    unlisted: int = 0  #: image files that labels.json does not list; not imported

    def summary(self) -> str:  # noqa: D102 - documented on the base class
        text = (
            f"{self.train} train and {self.test} test images with {self.boxes} boxes of "
            f"{len(self.classes)} classes imported as dataset {self.dataset!r}."
        )
        if self.missing:
            text += (
                f" {len(self.missing)} listed images cannot be read and will be skipped: "
                f"{_some(self.missing)}."
            )
        if self.unlisted:
            text += f" {self.unlisted} image files are in no labels.json and were left out."
        return text


@dataclass
class _Image:
    """One image of labels.json."""

    name: str
    path: Path
    size: tuple[int, int] | None  # (width, height) px, from the JSON; later from the file
    is_readable: bool = True
    boxes: list[tuple[str, list[float]]] = field(default_factory=list)  # class, [x, y, w, h] px


@dataclass
class _Split:
    images: list[_Image]  # sorted by name
    classes: list[str]
    unlisted: int


def numbered_name(base: str) -> str:
    """The first of `base`, `base-2`, `base-3`, ... that no dataset has yet.

    FiftyOne also refuses names that differ only in case or punctuation; those count as taken.
    """
    taken = {to_slug(name) for name in fo.list_datasets()}
    name, number = base, 1
    while to_slug(name) in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def import_coco_folder(
    folder: str | Path,
    name: str | None = None,
    *,
    hidden_field: str = "hidden_truth",
    names: Names | None = None,
    progress: Progress = silent,
) -> ImportResult:
    """Make a new persistent dataset from a COCO folder with a train and a test split.

    Train samples keep their labels in `hidden_field` only, so that they are unlabelled; test
    samples have them in the label field as well and carry the test tag. Samples are in directory
    order, train first. The class list becomes the dataset's `default_classes`. An image that is
    listed but cannot be read is imported all the same: the loop skips it singly and names it.

    Args:
        folder: holds train/ and test/, each with data/ and labels.json.
        name: name of the new dataset. Default: the folder's name, numbered where taken.
        hidden_field: field for the complete labels.
        names: stored names; of these the label field and the test tag are used.
        progress: told how many samples are in the database.

    Raises:
        DatasetError: the folder is not as expected, or a dataset of that name exists.
        LabelError: a class is called `unseen` or `background`.
    """
    began = time.perf_counter()
    names = names or Names()
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; {_LAYOUT}")
    splits = {split: _read_split(folder / split) for split in ("train", "test")}
    classes = list(dict.fromkeys(c for split in splits.values() for c in split.classes))
    check_class_names(classes)
    train, test = splits["train"].images, splits["test"].images

    dataset = _new_dataset(name or numbered_name(folder.name))
    try:
        _declare(dataset, names.label_field, hidden_field, classes)
        total = len(train) + len(test)
        samples = [_sample(image, hidden_field, None) for image in train]
        samples += [_sample(image, hidden_field, names) for image in test]
        for start in range(0, total, _BATCH):
            dataset.add_samples(samples[start : start + _BATCH], progress=False)
            progress(min(start + _BATCH, total), total, "importing images")
        dataset.persistent = True
    except BaseException:
        dataset.delete()  # it is ours, and only half there
        raise
    return ImportResult(
        dataset=dataset.name,
        seconds=time.perf_counter() - began,
        train=len(train),
        test=len(test),
        boxes=sum(len(image.boxes) for image in [*train, *test]),
        classes=classes,
        missing=[str(image.path) for image in [*train, *test] if not image.is_readable],
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


def _declare(dataset: Any, label_field: str, hidden_field: str, classes: list[str]) -> None:
    for name in (label_field, hidden_field):
        dataset.add_sample_field(name, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.default_classes = classes
    dataset.save()


def _sample(image: _Image, hidden_field: str, names: Names | None) -> Any:
    """One sample; with `names` as one of the test split."""
    sample = fo.Sample(filepath=str(image.path))
    if image.is_readable and image.size is not None:
        width, height = image.size
        sample.metadata = fo.ImageMetadata(width=width, height=height)
    sample[hidden_field] = _detections(image)
    if names is not None:
        sample[names.label_field] = _detections(image)
        sample.tags = [names.test_tag]
    return sample


def _detections(image: _Image) -> Any:
    width, height = image.size or (1, 1)
    return fo.Detections(
        detections=[
            fo.Detection(label=label, bounding_box=[x / width, y / height, w / width, h / height])
            for label, (x, y, w, h) in image.boxes
        ]
    )


def _read_split(folder: Path) -> _Split:
    document = _read_json(folder)
    where = folder / "labels.json"
    categories = _by_id(document, "categories", "name", where)
    files = _by_id(document, "images", "file_name", where)
    if not files:
        raise DatasetError(f"{where} lists no images; {_LAYOUT}")
    images = {
        number: _Image(
            record["file_name"], folder / "data" / record["file_name"], _json_size(record)
        )
        for number, record in files.items()
    }
    used = _attach_boxes(document, images, categories, where)
    in_order = sorted(images.values(), key=lambda image: image.name)
    _read_sizes(in_order, where)
    # Many exports list a category 0 "background" that no box has: harmless, and left out.
    classes = [
        str(categories[number]["name"])
        for number in sorted(categories)
        if number in used or str(categories[number]["name"]).lower() not in RESERVED_CLASSES
    ]
    listed = {image.name for image in in_order}
    on_disk = {path.name for path in (folder / "data").iterdir()} if listed else set()
    unlisted = len([n for n in on_disk - listed if _looks_like_an_image(n)])
    return _Split(in_order, classes, unlisted)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "labels.json"
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; {_LAYOUT}")
    if not (folder / "data").is_dir():
        raise DatasetError(f"{folder / 'data'}: no such folder; {_LAYOUT}")
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; {_LAYOUT}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} is not valid JSON ({error}); export the labels again as COCO detection JSON"
        ) from error
    if not isinstance(document, dict):
        raise DatasetError(
            f"{path} holds a {type(document).__name__}; expected an object with images, "
            "annotations and categories. Export the labels again as COCO detection JSON"
        )
    return document


def _by_id(document: dict[str, Any], key: str, text: str, where: Path) -> dict[Any, dict[str, Any]]:
    """The records of a list by their id; each has a text of its own under `text`."""
    records = _list(document, key, where)
    found: dict[Any, dict[str, Any]] = {}
    seen: set[str] = set()
    for position, record in enumerate(records):
        label = record.get(text) if isinstance(record, dict) else None
        if not isinstance(label, str) or not label or not isinstance(record.get("id"), int):
            raise DatasetError(
                f"{where}: {key}[{position}] is {record!r}; expected an object with a whole "
                f"number `id` and a text `{text}`"
            )
        if record["id"] in found or label in seen:
            raise DatasetError(
                f"{where}: {key}[{position}] repeats id {record['id']} or {text} {label!r}; each "
                "may appear once"
            )
        found[record["id"]] = record
        seen.add(label)
    return found


def _list(document: dict[str, Any], key: str, where: Path) -> list[Any]:
    records = document.get(key)
    if not isinstance(records, list):
        raise DatasetError(
            f"{where}: {key!r} is {type(records).__name__}; expected a list. Export the labels "
            "again as COCO detection JSON"
        )
    return records


def _json_size(record: dict[str, Any]) -> tuple[int, int] | None:
    width, height = record.get("width"), record.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _attach_boxes(
    document: dict[str, Any],
    images: dict[Any, _Image],
    categories: dict[Any, dict[str, Any]],
    where: Path,
) -> set[Any]:
    """Give each image its boxes; the ids of the categories that occur."""
    problems: Counter[str] = Counter()
    used: set[Any] = set()
    for record in _list(document, "annotations", where):
        box = record.get("bbox") if isinstance(record, dict) else None
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
            problems[f"has no bbox [x, y, width, height]: {str(record)[:120]}"] += 1
        elif record.get("category_id") not in categories:
            problems[f"has the unknown category id {record.get('category_id')!r}"] += 1
        elif record.get("image_id") not in images:
            problems[f"has the unknown image id {record.get('image_id')!r}"] += 1
        else:
            used.add(record["category_id"])
            label = categories[record["category_id"]]["name"]
            images[record["image_id"]].boxes.append((label, [float(v) for v in box]))
    if problems:
        worst, count = problems.most_common(1)[0]
        raise DatasetError(
            f"{where}: {sum(problems.values())} annotations cannot be used; {count} of them: an "
            f"annotation {worst}. Correct the file or export the labels again"
        )
    return used


def _is_number(value: Any) -> bool:
    # NaN passes: such boxes are counted and dropped where labels are read, like other bad boxes.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_sizes(images: Sequence[_Image], where: Path) -> None:
    """Take the sizes from the files' headers: boxes are in the file's own pixels."""
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(_size_or_none, [image.path for image in images]))
    differing, unknown = [], []
    for image, size in zip(images, sizes, strict=True):
        if size is None:
            image.is_readable = False
            if image.size is None:
                unknown.append(image.name)
        elif image.size not in (None, size):
            differing.append(f"{image.name} ({image.size} in the JSON, {size} in the file)")
        else:
            image.size = size
    if len(images) == len([image for image in images if not image.is_readable]):
        raise DatasetError(
            f"{where}: none of its {len(images)} images can be read, for example "
            f"{images[0].path}; {_LAYOUT}"
        )
    if differing:
        raise DatasetError(
            f"{where}: {len(differing)} images have another size (width, height) than their file: "
            f"{_some(differing)}. The boxes would not fit; export the labels for these files"
        )
    if unknown:
        raise DatasetError(
            f"{where}: {len(unknown)} images have neither a readable file nor a width and height: "
            f"{_some(unknown)}. Restore the files or remove them from the JSON"
        )


def _size_or_none(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path)
    except ImageError:
        return None


def _looks_like_an_image(name: str) -> bool:
    return Path(name).suffix.lower() in {
        ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"
    }  # fmt: skip


def _some(items: Sequence[str], shown: int = 3) -> str:
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + rest
