"""Folders of images with or without labels: which format it is, and what it holds.

The formats are told apart by what the files say, not by their names; one folder holds one of them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from unseen.dataset.coco import (
    ListedImage,
    Split,
    image_files,
    read_coco,
    read_sizes,
    some,
)
from unseen.errors import DatasetError
from unseen.files import inside, read_json

#: The end of messages about a folder that holds none of the formats.
EXPECTED = (
    "Expected a folder of images, alone or with labels as COCO (JSON), Pascal VOC (an XML file per "
    "image), YOLO v5 (data.yaml, images/, labels/) or CVAT for images 1.1 (XML), or an export of "
    "FiftyOne (metadata.json, samples.json)"
)
#: Formats by name; the last one is what is left.
FIFTYONE, COCO, YOLO, VOC, CVAT, IMAGES = (
    "FiftyOne export",
    "COCO",
    "YOLO v5",
    "Pascal VOC",
    "CVAT for images",
    "images without labels",
)
_SPLIT = re.compile(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])")
#: Every how many images go to the test split where a simulation has none.
_TEST_EVERY = 5


@dataclass(frozen=True)
class Folder:
    """What a folder holds."""

    format: str
    splits: dict[str, Split]  #: "train" (or without a name: the pool) and "test"
    unlisted: tuple[Path, ...] = ()  #: image files that no label file lists
    notes: tuple[str, ...] = ()  #: sentences on what was decided or left out

    @property
    def classes(self) -> list[str]:
        """The classes of all splits, each once."""
        return list(dict.fromkeys(chain.from_iterable(s.classes for s in self.splits.values())))

    def with_test_split(self) -> Folder:
        """The folder for a simulation, which needs labels and labelled test images."""
        train, test = self.splits["train"], self.splits["test"]
        labelled = [image for image in train.images if image.is_labelled]
        if not any(image.boxes for image in labelled):
            raise DatasetError(
                f"{self.format}: outside of the test split there are no labels, which a simulated "
                "annotator reveals; give a folder with complete labels"
            )
        notes = self.notes
        if unlabelled := len(train.images) - len(labelled):
            notes += (f"{unlabelled} images without labels were left out.",)
        if not test.images:
            notes += (f"It has no test split: every {_TEST_EVERY}th image is in it.",)
            test = replace(test, images=labelled[_TEST_EVERY - 1 :: _TEST_EVERY])
            del labelled[_TEST_EVERY - 1 :: _TEST_EVERY]
        splits = {"train": replace(train, images=labelled), "test": test}
        return replace(self, splits=splits, notes=notes)


def find_format(folder: Path) -> tuple[str, list[Path]]:
    """The format of a folder, and the files or folders that hold its labels.

    Raises `DatasetError`, which says what was found, for a folder with none or several.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{folder}: {what}. {EXPECTED}")
    exports = [p.parent for p in _upper(folder, "metadata.json") if _has_samples(p.parent)]
    if folder in exports:
        return FIFTYONE, [folder]
    found = {
        FIFTYONE: exports,
        COCO: list(_coco_files(folder)),
        YOLO: [path for path in _upper(folder, "*.yaml", "*.yml") if _is_yolo(path)],
        VOC: sorted({p.parent for p in _xml(folder) if _has_root(p, "annotation")}),
        CVAT: [path for path in _upper(folder, "*.xml") if _has_root(path, "annotations")],
    }
    formats = [name for name, where in found.items() if where]
    if len(formats) > 1:
        which = ", ".join(f"{name} ({some([str(p) for p in found[name]])})" for name in formats)
        raise DatasetError(f"{folder} holds labels in several formats: {which}. Keep one of them")
    if len(exports) > 1:
        raise DatasetError(
            f"{folder} holds several exports: {some(list(map(str, exports)))}. Name one"
        )
    if formats:
        return formats[0], found[formats[0]]
    images = image_files(folder)
    if not images:
        raise DatasetError(f"{folder} holds {_contents(folder)}, and no images. {EXPECTED}")
    if strange := _strange_labels(folder, images):
        raise DatasetError(
            f"{folder} holds {len(images)} images, and {len(strange)} files beside them that look "
            f"like labels: {some([p.name for p in strange])}. Remove them, or export the labels "
            f"in one of these formats. {EXPECTED}"
        )
    return IMAGES, [folder]


def read_folder(folder: Path) -> Folder:
    """Read a folder of images with or without labels; `DatasetError` names what is wrong."""
    name, where = find_format(folder)
    if name == FIFTYONE:
        raise DatasetError(
            f"{folder} is a {FIFTYONE}, which becomes a dataset as it is: run `unseen import`, and "
            "then name that dataset"
        )
    if name == COCO:
        parts = [(path, _images_of(path, folder)) for path in where]
        read = [(split_name(path, folder), read_coco(path, data)) for path, data in parts]
        twice = [n or "without a name" for n, k in Counter(n for n, _ in read).items() if k > 1]
        if twice:
            raise DatasetError(
                f"{folder}: several files hold the labels of the split {twice[0]}: "
                f"{some([str(p.relative_to(folder)) for p in where])}. Keep one for each split"
            )
        return _folder(folder, name, read)
    if name == IMAGES:
        images = [
            ListedImage(str(path.relative_to(folder)), below(folder, path), None, is_labelled=False)
            for path in image_files(folder)
        ]
        read_sizes(images, folder)
        return _folder(folder, name, [("", Split(images))])
    # They need FiftyOne, and with it a database.
    from unseen.dataset import importers

    reader: dict[str, Callable[..., Any]] = {
        YOLO: importers.read_yolo,
        VOC: importers.read_voc,
        CVAT: importers.read_cvat,
    }
    splits, notes = reader[name](folder, where)
    return _folder(folder, name, splits, notes)


def split_name(path: Path, folder: Path) -> str:
    """The split that a path below the folder names last: "train", "val", "test", or nothing.

    >>> split_name(Path("coco/annotations/instances_val2017.json"), Path("coco"))
    'val'
    """
    found = _SPLIT.findall(path.relative_to(folder).as_posix().lower())
    return "val" if found and found[-1].startswith("val") else found[-1] if found else ""


def below(folder: Path, path: Path | str) -> Path:
    """The path of a file that labels name; `DatasetError` if it leads out of the folder."""
    try:
        return inside(folder, str(path))
    except (OSError, ValueError, RuntimeError) as error:
        raise DatasetError(
            f"{path} {error}; expected a file in {folder}. Copy the images there, or give the folder "
            "that holds them"
        ) from error


def _folder(
    folder: Path, name: str, read: Sequence[tuple[str, Split]], notes: Sequence[str] = ()
) -> Folder:
    """The splits as a loop has them: those without a name, "train" and "val", and "test".

    "val" is the test split where there is no other.
    """
    test = "test" if any(split == "test" and part.images for split, part in read) else "val"
    splits = {"train": Split(), "test": Split()}
    for split, part in read:
        target = splits["test" if split == test else "train"]
        target.images += part.images
        target.classes += [c for c in part.classes if c not in target.classes]
    notes = list(notes)
    if test == "val" and splits["test"].images:
        notes.append("Its validation split is the test split.")
    elif test == "test" and any(split == "val" and part.images for split, part in read):
        notes.append("Its validation split is part of the pool.")
    listed = {os.path.normpath(image.path) for _, part in read for image in part.images}
    unlisted = tuple(path for path in image_files(folder) if str(path) not in listed)
    return Folder(name, splits, unlisted, tuple(notes))


# --- what is where -------------------------------------------------------------------------------
def _upper(folder: Path, *patterns: str) -> Iterator[Path]:
    """Files at most two folders down, where label files are."""
    for pattern in patterns:
        for depth in ("", "*/", "*/*/"):
            yield from (path for path in sorted(folder.glob(depth + pattern)) if path.is_file())


def _xml(folder: Path) -> Iterator[Path]:
    """One XML file of each folder that has any; the others there are alike."""
    seen = set()
    for path in sorted(folder.rglob("*.xml")):
        if path.parent not in seen and path.is_file():
            seen.add(path.parent)
            yield path


def _has_root(path: Path, name: str) -> bool:
    with path.open("rb") as file:
        return re.search(rf"<{name}[\s>]".encode(), file.read(4096)) is not None


def _has_samples(folder: Path) -> bool:
    return (folder / "samples.json").is_file() or (folder / "samples").is_dir()


def _is_yolo(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return bool(
        re.search(r"^names\s*:", text, re.M) and re.search(r"^(train|val|test)\s*:", text, re.M)
    )


def _coco_files(folder: Path) -> Iterator[Path]:
    for path in _upper(folder, "*.json"):
        # The official sets have captions and keypoints beside them.
        if path.parent.name == "annotations" and not path.name.startswith("instances"):
            if list(path.parent.glob("instances*.json")):
                continue
        elif path.name in ("labels.json", "_annotations.coco.json"):
            yield path  # what is wrong with it is told by who reads it
            continue
        if path.name.startswith("instances") or _is_coco(path):
            yield path


def _is_coco(path: Path) -> bool:
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


def _images_of(where: Path, folder: Path) -> Path:
    """The folder that the names in a COCO file are relative to."""
    beside, part = where.parent, where.stem.rpartition("_")[2]
    upper = (folder / "images", folder)
    places = [beside / "data", beside / "images", beside]
    places += [
        place / name for place in upper for name in (part, split_name(where, folder)) if name
    ]
    places += [*upper, folder / "data"]
    there = [place for place in places if place.is_dir()]
    try:
        records = read_json(where)["images"][:20]
        names = [record["file_name"] for record in records]
        return next(p for p in there if any((p / str(name)).is_file() for name in names))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return there[0]  # who reads it says what is wrong


def _strange_labels(folder: Path, images: Sequence[Path]) -> list[Path]:
    """Text files of the same names as images, of which the names say nothing else."""
    stems = {path.stem for path in images}
    kinds = {".txt", ".xml", ".json", ".csv"}
    return [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in kinds and p.stem in stems]


def _contents(folder: Path) -> str:
    kinds = Counter(
        path.suffix.lower() or path.name for path in folder.rglob("*") if path.is_file()
    )
    if not kinds:
        return "no files"
    return "files " + ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(5))
