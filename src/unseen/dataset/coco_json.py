"""One split of a COCO folder: `data/` and `labels.json`, read and checked. Knows no FiftyOne."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unseen.arrays.images import image_size
from unseen.dataset.fields import RESERVED_CLASSES
from unseen.errors import DatasetError, ImageError

#: What every message about the folder ends with.
LAYOUT = "expected FOLDER/train and FOLDER/test, each with data/ (images) and labels.json (COCO)"


@dataclass
class CocoImage:
    """One image that the JSON lists."""

    name: str
    path: Path
    size: tuple[int, int] | None  # (width, height) px, from the JSON; later from the file
    is_readable: bool = True
    boxes: list[tuple[str, list[float]]] = field(default_factory=list)  # class, [x, y, w, h] px


@dataclass
class CocoSplit:
    """One split: its images and the names of its categories."""

    images: list[CocoImage]  # sorted by name
    classes: list[str]
    unlisted: int  # image files on disk that the JSON does not list


def read_split(folder: Path) -> CocoSplit:
    """Read one split and the sizes of its images.

    Raises:
        DatasetError: something is missing, malformed or contradictory.
    """
    document = _read_json(folder)
    where = folder / "labels.json"
    categories = _by_id(document, "categories", "name", where)
    files = _by_id(document, "images", "file_name", where)
    if not files:
        raise DatasetError(f"{where} lists no images; {LAYOUT}")
    images = {
        number: CocoImage(
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
        if number in used or str(categories[number]["name"]).strip().lower() not in RESERVED_CLASSES
    ]
    listed = {image.name for image in in_order}
    on_disk = {path.name for path in (folder / "data").iterdir()}
    unlisted = len([n for n in on_disk - listed if _looks_like_an_image(n)])
    return CocoSplit(in_order, classes, unlisted)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "labels.json"
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; {LAYOUT}")
    if not (folder / "data").is_dir():
        raise DatasetError(f"{folder / 'data'}: no such folder; {LAYOUT}")
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; {LAYOUT}")
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
    images: dict[Any, CocoImage],
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
        elif not _is_key(record.get("category_id"), categories):
            problems[f"has the unknown category id {record.get('category_id')!r}"] += 1
        elif not _is_key(record.get("image_id"), images):
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


def _is_key(value: Any, records: Mapping[Any, Any]) -> bool:
    return isinstance(value, int) and value in records


def _is_number(value: Any) -> bool:
    # NaN passes: such boxes are counted and dropped where labels are read, like other bad boxes.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_sizes(images: Sequence[CocoImage], where: Path) -> None:
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
            f"{images[0].path}; {LAYOUT}"
        )
    if differing:
        raise DatasetError(
            f"{where}: {len(differing)} images have another size (width, height) than their file: "
            f"{some(differing)}. The boxes would not fit; export the labels for these files"
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


def _looks_like_an_image(name: str) -> bool:
    return Path(name).suffix.lower() in {
        ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"
    }  # fmt: skip


def some(items: Sequence[str], shown: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    rest = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + rest
