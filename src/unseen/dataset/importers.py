"""Labels that FiftyOne's importers read: YOLO v5, Pascal VOC, CVAT for images.

The importers get only files that lie in the folder, and what they give is checked like COCO labels.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.storage as fos
from fiftyone.utils.cvat import CVATImageDatasetImporter
from fiftyone.utils.voc import VOCDetectionDatasetImporter
from fiftyone.utils.yolo import YOLOv5DatasetImporter

from unseen.dataset.coco import (
    IMAGE_SUFFIXES,
    ListedImage,
    Split,
    image_files,
    named_classes,
    read_sizes,
    some,
)
from unseen.dataset.folders import below, split_name
from unseen.errors import DatasetError

#: Splits by name, and sentences on what was left out.
Read = tuple[list[tuple[str, Split]], list[str]]


def read_yolo(folder: Path, where: Sequence[Path]) -> Read:
    """YOLO v5: a YAML file with the classes and, for each split, a folder of images or a list."""
    yaml = _only(folder, where)
    try:
        content = fos.read_yaml(yaml)
        names = content["names"]
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        classes = [str(name) for name in names]
    except Exception as error:  # whatever it meets in a file from elsewhere
        raise _refused(yaml, error) from error
    read = []
    for split in ("train", "val", "test"):
        if not content.get(split):
            continue
        files = _yolo_images(folder, yaml, content, split)
        for path in files:  # as FiftyOne finds the labels of an image
            parts = str(path.with_suffix(".txt")).rsplit(f"{os.sep}images{os.sep}", 1)
            below(folder, f"{os.sep}labels{os.sep}".join(parts))
        with tempfile.TemporaryDirectory() as temporary:
            listed = Path(temporary, "images.txt")
            listed.write_text("".join(f"{path}\n" for path in files), encoding="utf-8")
            own = Path(temporary, "data.yaml")
            fos.write_yaml({split: str(listed), "names": classes}, str(own))
            importer = YOLOv5DatasetImporter(yaml_path=str(own), split=split, include_all_data=True)
            read.append((split, _split(folder, yaml, importer, classes)))
    return read, []


def read_voc(folder: Path, where: Sequence[Path]) -> Read:
    """Pascal VOC: folders with an XML file per image, and lists of splits in ImageSets/Main."""
    read = []
    for place in where:
        data = _beside(place, "JPEGImages", "images", "data")
        importer = VOCDetectionDatasetImporter(
            data_path=_paths(folder, data), labels_path=str(place), include_all_data=True
        )
        lists = {
            name: set(path.read_text(encoding="utf-8").split())
            for name in ("train", "val", "test")
            if (path := place.parent / "ImageSets/Main" / f"{name}.txt").is_file()
        }
        whole = _split(folder, place, importer)
        read += _by_split(
            whole,
            lambda image, lists=lists: next(
                (n for n, stems in lists.items() if Path(image.name).stem in stems),
                split_name(image.path.parent, folder),
            ),
        )
    return read, []


def read_cvat(folder: Path, where: Sequence[Path]) -> Read:
    """CVAT for images 1.1: XML files with all images and their shapes, of which boxes are read."""
    read: list[tuple[str, Split]] = []
    others: Counter[str] = Counter()
    for path in where:
        data = _beside(path, "images", "data")
        importer = CVATImageDatasetImporter(
            data_path=_paths(folder, data), labels_path=str(path), include_all_data=True
        )
        whole = _split(folder, path, importer, others=others)
        if not any(image.is_labelled for image in whole.images):
            raise DatasetError(
                f"{path} lists none of the images in {data}. Export the task as CVAT for images 1.1, "
                "with its images"
            )
        read += _by_split(whole, lambda image: split_name(image.path.parent, folder))
    kinds = ", ".join(f"{count} {kind}" for kind, count in others.items())
    return read, [f"{kinds} were left out: only boxes are read."] if kinds else []


def _split(
    folder: Path,
    where: Path,
    importer: Any,
    classes: Sequence[str] | None = None,
    others: Counter[str] | None = None,
) -> Split:
    """What an importer gives, as images whose boxes are in the pixels of their files."""
    images: list[ListedImage] = []
    try:
        with importer:
            items = list(importer)
    except Exception as error:  # whatever it meets in files from elsewhere
        raise _refused(where, error) from error
    for path, metadata, labels in items:
        path = below(folder, path)
        size = (metadata.width, metadata.height) if metadata else None
        image = ListedImage(
            str(path.relative_to(folder)), path, size, is_labelled=labels is not None
        )
        for kind, label in (labels if isinstance(labels, dict) else {"detections": labels}).items():
            if isinstance(label, fo.Detections):
                image.boxes += [(str(d.label), list(d.bounding_box)) for d in label.detections]
            elif label is not None and others is not None:
                others[kind] += len(next(v for _, v in label.iter_fields() if isinstance(v, list)))
        images.append(image)
    if not images:
        raise DatasetError(f"{where} lists no images. Export the labels again, with their images")
    used = {name for image in images for name, _ in image.boxes}
    if classes is not None and (unknown := sorted(used - set(classes))):
        raise DatasetError(
            f"{where}: the labels have the class {some(unknown)}, which `names` lacks; it has "
            f"{len(classes)}: {some(list(classes))}. Correct the file, or export the labels again"
        )
    images.sort(key=lambda image: image.path)
    read_sizes(images, where)
    for image in images:
        width, height = image.size or (1, 1)
        image.boxes = [
            (n, [x * width, y * height, w * width, h * height]) for n, (x, y, w, h) in image.boxes
        ]
    return Split(images, named_classes((name, name in used) for name in classes or sorted(used)))


def _refused(where: Path, error: Exception) -> DatasetError:
    return DatasetError(
        f"{where}: FiftyOne cannot read these labels ({type(error).__name__}: {str(error)[:200]}). "
        "Correct the file it names, or export the labels again"
    )


def _by_split(whole: Split, name_of: Any) -> list[tuple[str, Split]]:
    parts: dict[str, Split] = {}
    for image in whole.images:
        parts.setdefault(name_of(image), Split(classes=whole.classes)).images.append(image)
    return list(parts.items())


def _paths(folder: Path, data: Path) -> dict[str, str]:
    return {str(p.relative_to(data)): str(below(folder, p)) for p in image_files(data)}


def _beside(labels: Path, *names: str) -> Path:
    """The folder of the images, which is beside the labels or holds them."""
    places = (labels.parent / name for name in names)
    return next((p for p in places if p.is_dir()), labels if labels.is_dir() else labels.parent)


def _only(folder: Path, where: Sequence[Path]) -> Path:
    if len(where) > 1:
        names = some([str(path.relative_to(folder)) for path in where])
        raise DatasetError(f"{folder} has several descriptions of a YOLO v5 set: {names}. Keep one")
    return where[0]


def _yolo_images(folder: Path, yaml: Path, content: Mapping[str, Any], split: str) -> list[Path]:
    """The images of a split; exports name them from different places, so that several are tried."""
    given = content[split]
    files: list[Path] = []
    for name in map(str, given if isinstance(given, list) else [given]):
        bases = (yaml.parent / str(content.get("path") or ""), yaml.parent)
        upwards = yaml.parent / name.replace("\\", "/").lstrip("./")  # ../train/images, of Roboflow
        places = [*(base / name for base in bases), upwards]
        place = next((p for p in places if p.exists() and _is_below(folder, p)), None)
        if place is None:
            outside = next((p for p in places if p.exists()), None)
            below(folder, outside or upwards)
            raise DatasetError(
                f"{yaml}: {split} is {name!r}, and there is no {upwards}; expected a folder of images "
                f"in {folder}. Correct the file, or copy the images there"
            )
        if place.is_dir():
            files += [below(folder, path) for path in image_files(place)]
        else:
            lines = place.read_text(encoding="utf-8").splitlines()
            listed: Iterable[Path] = (place.parent / line.strip() for line in lines if line.strip())
            files += [below(folder, p) for p in listed if p.suffix.lower() in IMAGE_SUFFIXES]
    return sorted({Path(os.path.normpath(path)) for path in files})


def _is_below(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
