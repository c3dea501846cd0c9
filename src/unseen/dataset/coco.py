"""COCO labels and their images, read and checked: the plain form that every format takes.

Knows no FiftyOne, so that a benchmark on a COCO folder needs no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unseen.arrays.images import image_size
from unseen.dataset.fields import RESERVED_CLASSES
from unseen.errors import DatasetError, ImageError
from unseen.files import inside, read_json

_AGAIN = "Export the labels again as COCO detection JSON"
#: What counts as an image file.
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}


@dataclass
class ListedImage:
    """One image and its labels."""

    name: str  # below the folder of the images
    path: Path
    size: tuple[int, int] | None  # (width, height) px, from the labels; later from the file
    is_readable: bool = True
    is_labelled: bool = True  # without boxes: nothing is there
    boxes: list[tuple[str, list[float]]] = field(default_factory=list)  # class, [x, y, w, h] px
    crowds: list[tuple[str, list[float]]] = field(default_factory=list)  # regions with `iscrowd`


@dataclass
class Split:
    """Images that belong together, and the names of their classes."""

    images: list[ListedImage] = field(default_factory=list)  # sorted by path
    classes: list[str] = field(default_factory=list)


def read_coco(where: Path, data: Path) -> Split:
    """Read a COCO file, and the sizes of its images in `data`; `DatasetError` names what is wrong."""
    document = _read_json(where)
    names = {i: str(c["name"]) for i, c in _by_id(document, "categories", "name", where).items()}
    files = _by_id(document, "images", "file_name", where)
    if not files:
        raise DatasetError(f"{where} lists no images. {_AGAIN}")
    images = {number: _image(record, data, where) for number, record in files.items()}
    if twice := [name for name, n in Counter(i.name for i in images.values()).items() if n > 1]:
        raise DatasetError(
            f"{where}: {len(twice)} files are listed twice, under different spellings: "
            f"{some(twice)}. List each once"
        )
    used = _attach_boxes(document, images, names, where)
    in_order = sorted(images.values(), key=lambda image: image.name)
    read_sizes(in_order, where)
    classes = named_classes((name, number in used) for number, name in sorted(names.items()))
    return Split(in_order, classes)


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and its subfolders, by name; hidden ones are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def named_classes(names: Iterable[tuple[str, bool]]) -> list[str]:
    """The classes of a list that says which occur.

    Many exports list a class "background" that no box has: harmless, and left out.
    """
    return [n for n, occurs in names if occurs or n.strip().lower() not in RESERVED_CLASSES]


def _read_json(path: Path) -> dict[str, Any]:
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


def _image(record: dict[str, Any], data: Path, where: Path) -> ListedImage:
    try:
        path = inside(data, record["file_name"])
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DatasetError(
            f"{where}: file_name {record['file_name']!r} {error}; expected a file in {data}. Copy the "
            "images there, or link that whole folder, and name them relative to it"
        ) from error
    return ListedImage(str(path.relative_to(data)), path, _json_size(record))


def _json_size(record: dict[str, Any]) -> tuple[int, int] | None:
    width, height = record.get("width"), record.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _attach_boxes(
    document: dict[str, Any], images: dict[int, ListedImage], names: dict[int, str], where: Path
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


def read_sizes(images: Sequence[ListedImage], where: Path) -> None:
    """Take the sizes from the files' headers: boxes are in the pixels of the upright image."""
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(_size_or_none, [image.path for image in images]))
    differing, unknown = [], []
    for image, size in zip(images, sizes, strict=True):
        image.is_readable = size is not None
        if size is None:
            unknown += [image.name] if image.is_labelled and not image.size else []
        elif image.size not in (None, size):
            differing.append(f"{image.name} ({image.size} in the labels, {size} in the file)")
        else:
            image.size = size
    if not any(sizes):
        raise DatasetError(
            f"{where}: none of its {len(images)} images can be read, for example "
            f"{images[0].path}. Put the images there, or export them with their labels"
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
            f"{some(unknown)}. Restore the files or remove them from the labels"
        )


def _size_or_none(path: Path) -> tuple[int, int] | None:
    try:
        return image_size(path)
    except ImageError:
        return None


def some(items: Sequence[str]) -> str:
    """The first three of a list, and how many more there are."""
    rest = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + rest
