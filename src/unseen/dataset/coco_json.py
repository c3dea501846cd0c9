"""One split of a COCO folder: `data/` and `labels.json`, read and checked. Knows no FiftyOne."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unseen.arrays.images import image_size
from unseen.dataset.fields import RESERVED_CLASSES
from unseen.errors import DatasetError, ImageError
from unseen.files import inside, read_json

#: The end of most messages about the folder.
LAYOUT = "expected FOLDER/train and FOLDER/test, each with data/ (images) and labels.json (COCO)"
_AGAIN = "Export the labels again as COCO detection JSON"
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}


@dataclass
class CocoImage:
    """One image that the JSON lists."""

    name: str
    path: Path
    size: tuple[int, int] | None  # (width, height) px, from the JSON; later from the file
    is_readable: bool = True
    boxes: list[tuple[str, list[float]]] = field(default_factory=list)  # class, [x, y, w, h] px
    crowds: list[tuple[str, list[float]]] = field(default_factory=list)  # regions with `iscrowd`


@dataclass
class CocoSplit:
    """One split: its images and the names of its categories."""

    images: list[CocoImage]  # sorted by name
    classes: list[str]
    unlisted: int  # image files on disk that the JSON does not list


def read_split(folder: Path) -> CocoSplit:
    """Read one split and the sizes of its images; `DatasetError` names what is wrong."""
    where, data = folder / "labels.json", folder / "data"
    document = _read_json(folder)
    names = {i: str(c["name"]) for i, c in _by_id(document, "categories", "name", where).items()}
    files = _by_id(document, "images", "file_name", where)
    if not files:
        raise DatasetError(f"{where} lists no images; {LAYOUT}")
    images = {number: _image(record, data, where) for number, record in files.items()}
    if twice := [name for name, n in Counter(i.name for i in images.values()).items() if n > 1]:
        raise DatasetError(
            f"{where}: {len(twice)} files are listed twice, under different spellings: "
            f"{some(twice)}. List each once"
        )
    used = _attach_boxes(document, images, names, where)
    in_order = sorted(images.values(), key=lambda image: image.name)
    _read_sizes(in_order, where)
    # Many exports list a category 0 "background" that no box has: harmless, and left out.
    classes = [
        name
        for number, name in sorted(names.items())
        if number in used or name.strip().lower() not in RESERVED_CLASSES
    ]
    files_there = (p for p in data.rglob("*") if p.suffix.lower() in _IMAGE_SUFFIXES)
    unlisted = {str(path.relative_to(data)) for path in files_there} - {i.name for i in in_order}
    return CocoSplit(in_order, classes, len(unlisted))


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "labels.json"
    for one in (folder, folder / "data"):
        if not one.is_dir():
            raise DatasetError(f"{one}: no such folder; {LAYOUT}")
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; {LAYOUT}")
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not valid JSON ({error}). {_AGAIN}") from error
    if not isinstance(document, dict):
        raise DatasetError(
            f"{path} holds a {type(document).__name__}; expected an object with images, "
            f"annotations and categories. {_AGAIN}"
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            kind = type(document.get(key)).__name__
            raise DatasetError(f"{path}: {key!r} is {kind}; expected a list. {_AGAIN}")
    return document


def _by_id(document: dict[str, Any], key: str, text: str, where: Path) -> dict[int, dict[str, Any]]:
    """The records of a list by their id; each has a text of its own under `text`."""
    records: dict[int, dict[str, Any]] = {}
    seen: set[str] = set()
    for position, record in enumerate(document[key]):
        label = record.get(text) if isinstance(record, dict) else None
        if not isinstance(label, str) or not label or not isinstance(record.get("id"), int):
            raise DatasetError(
                f"{where}: {key}[{position}] is {record!r}; expected an object with an integer "
                f"`id` and a text `{text}`"
            )
        if record["id"] in records or label in seen:
            raise DatasetError(
                f"{where}: {key}[{position}] repeats id {record['id']} or {text} {label!r}; each "
                "may appear once"
            )
        records[record["id"]] = record
        seen.add(label)
    return records


def _image(record: dict[str, Any], data: Path, where: Path) -> CocoImage:
    try:
        path = inside(data, record["file_name"])
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DatasetError(
            f"{where}: file_name {record['file_name']!r} {error}; expected a file in {data}. Copy the "
            "images there, or link that whole folder, and name them relative to it"
        ) from error
    return CocoImage(str(path.relative_to(data)), path, _json_size(record))


def _json_size(record: dict[str, Any]) -> tuple[int, int] | None:
    width, height = record.get("width"), record.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _attach_boxes(
    document: dict[str, Any], images: dict[int, CocoImage], names: dict[int, str], where: Path
) -> set[int]:
    """Give each image its boxes and crowds; returns the ids of the categories that occur."""
    problems: Counter[str] = Counter()
    used: set[int] = set()
    for record in document["annotations"]:
        fields = record if isinstance(record, dict) else {}
        box, category, image = (fields.get(k) for k in ("bbox", "category_id", "image_id"))
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            problems[f"has no bbox [x, y, width, height]: {str(record)[:120]}"] += 1
        elif not isinstance(category, int) or category not in names:
            problems[f"has the unknown category id {category!r}"] += 1
        elif not isinstance(image, int) or image not in images:
            problems[f"has the unknown image id {image!r}"] += 1
        else:
            used.add(category)
            found = images[image].crowds if fields.get("iscrowd") == 1 else images[image].boxes
            found.append((names[category], [float(v) for v in box]))
    if problems:
        worst, count = problems.most_common(1)[0]
        raise DatasetError(
            f"{where}: {problems.total()} annotations cannot be used; {count} of them: an "
            f"annotation {worst}. Correct the file or export the labels again"
        )
    return used


def _is_number(value: Any) -> bool:
    # NaN passes: such boxes are counted and dropped where labels are read, like other bad boxes.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_sizes(images: Sequence[CocoImage], where: Path) -> None:
    """Take the sizes from the files' headers: boxes are in the pixels of the upright image."""
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(_size_or_none, [image.path for image in images]))
    differing, unknown = [], []
    for image, size in zip(images, sizes, strict=True):
        image.is_readable = size is not None
        if size is None:
            unknown += [] if image.size else [image.name]
        elif image.size not in (None, size):
            differing.append(f"{image.name} ({image.size} in the JSON, {size} in the file)")
        else:
            image.size = size
    if not any(sizes):
        raise DatasetError(
            f"{where}: none of its {len(images)} images can be read, for example "
            f"{images[0].path}; {LAYOUT}"
        )
    if differing:
        raise DatasetError(
            f"{where}: {len(differing)} images have another size (width, height) than their file: "
            f"{some(differing)}. The boxes would not fit; export the labels for these files, "
            "upright where they have an EXIF orientation"
        )
    if unknown:
        raise DatasetError(
            f"{where}: {len(unknown)} images have neither a readable file nor a width and height: "
            f"{some(unknown)}. Restore the files or remove them from the JSON"
        )


def _size_or_none(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path)
    except ImageError:
        return None


def some(items: Sequence[str], shown: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + rest
