"""Where the images and their labels come from: a FiftyOne dataset, a COCO folder, or a generator.

All become the same plain data, so that runs in other processes need neither database nor folder
layout.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseen.arrays.boxes import clean_boxes
from unseen.arrays.images import read_image
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.json_file import write_json
from unseen.benchmark.synthetic.dataset import CLASSES, KINDS, RARE_CLASSES, write_coco_folder
from unseen.dataset.coco_json import read_split
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, DatasetError
from unseen.progress import Progress
from unseen.ranking import RARE_SHARE

#: What a generated pool is called on the command line: `synthetic:bare`.
SYNTHETIC = "synthetic:"
#: Images of a generated pool and of its test split, where nothing else is asked for.
SYNTHETIC_POOL, SYNTHETIC_TEST = 200, 60


@dataclass(frozen=True)
class LabelledFile:
    """One image file with all its boxes."""

    path: str
    width: int
    height: int
    xyxy: list[list[float]]  #: per box x1, y1, x2, y2 in native px
    labels: list[str]


@dataclass(frozen=True)
class Case:
    """One comparison: a source of images, and at most one class that is made rare.

    Attributes:
        name: for tables and file names.
        kind: of generated images; "" where `train` and `test` hold the files.
        classes: all classes in a fixed order.
        held_back: the class that is made rare, or "".
        train: the images to choose from, in directory order.
        test: those a detector is measured on.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    held_back: str
    train: tuple[LabelledFile, ...] = ()
    test: tuple[LabelledFile, ...] = ()

    def write(self, path: Path) -> None:
        """Store it for the runs."""
        write_json(asdict(self), path)

    @classmethod
    def read(cls, path: Path) -> Case:
        """The inverse of `write`."""
        values = json.loads(path.read_text())
        for split in ("train", "test"):
            values[split] = tuple(LabelledFile(**record) for record in values[split])
        return cls(**{**values, "classes": tuple(values["classes"])})


def read_cases(
    sources: Sequence[str], config: BenchmarkConfig, folder: Path, progress: Progress
) -> list[Case]:
    """Every comparison that was asked for.

    Args:
        sources: names of FiftyOne datasets, COCO folders, or `synthetic:KIND`.
        config: tiles, held-back classes, and the label field and tags of datasets.
        folder: where pieces of cut images are kept.
        progress: told the images that are cut.

    Raises:
        ConfigError: no source, one twice, or a class that is not there.
        DatasetError: a source does not exist, or holds no labels.
    """
    if not sources:
        raise ConfigError(
            "no dataset to compare on; name a FiftyOne dataset, a COCO folder with train/ and "
            f"test/, or {SYNTHETIC}{'|'.join(KINDS)}"
        )
    cases: list[Case] = []
    for source in sources:
        if source.startswith(SYNTHETIC):
            cases.append(_synthetic(source, config))
            continue
        name, classes, train, test = _read(source, config)
        if config.tiles > 1:
            pieces = folder / "data" / f"{name}-tiles-{config.tiles}"
            train = _tiled(train, pieces / "train", config.tiles, progress)
            test = _tiled(test, pieces / "test", config.tiles, progress)
        train, test = _of_classes(train, config, classes), _of_classes(test, config, classes)
        classes = config.classes or classes
        for held_back in config.held_back or ("",):
            if held_back and held_back not in classes:
                raise ConfigError(
                    f"held_back={held_back!r} is no class of {source}; it has {', '.join(classes)}"
                )
            label = f"{name}-{held_back}" if held_back else name
            cases.append(Case(label, "", classes, held_back, tuple(train), tuple(test)))
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"two comparisons would both be called {', '.join(twice)}; name each source once, and "
            "give folders different names"
        )
    return cases


def generated(case: Case, config: BenchmarkConfig, seed: int, folder: Path) -> Case:
    """A case whose images exist: those of a generator are made for this seed, once.

    Several processes may ask at the same time; each makes its own, and the first one stays.
    """
    if not case.kind:
        return case
    counts = {"train": config.pool or SYNTHETIC_POOL, "test": config.test or SYNTHETIC_TEST}
    place = folder / "data" / f"{case.kind}-{seed}-{counts['train']}-{counts['test']}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f"{place.name}."))
        write_coco_folder(temporary, case.kind, **counts, seed=seed)
        try:
            temporary.replace(place)
        except OSError:  # another process was quicker
            shutil.rmtree(temporary, ignore_errors=True)
    splits = {
        split: tuple(_of_classes(_files_of(place / split), config, CLASSES[case.kind]))
        for split in ("train", "test")
    }
    return Case(case.name, case.kind, case.classes, case.held_back, **splits)


def _synthetic(source: str, config: BenchmarkConfig) -> Case:
    kind = source[len(SYNTHETIC) :]
    if kind not in KINDS:
        raise ConfigError(f"{source!r}; expected {SYNTHETIC} and one of {', '.join(KINDS)}")
    if config.held_back or config.tiles > 1:
        raise ConfigError(
            f"{source} has rare classes of its own, in images of one size; held_back and tiles are "
            "for real images. Run it in a benchmark without them"
        )
    _of_classes((), config, CLASSES[kind])
    return Case(kind, kind, config.classes or tuple(CLASSES[kind]), "")


def rare_classes(
    case: Case, train: Sequence[LabelledFile], given: Sequence[str]
) -> tuple[str, ...]:
    """The classes whose finding is counted.

    What is held back; else what the user named; else what a generator makes rare; else the classes
    with at most a third of an even share of the boxes.

    Raises:
        ConfigError: a class that was named is not there.
    """
    if case.held_back:
        return (case.held_back,)
    unknown = sorted(set(given) - set(case.classes))
    if unknown:
        raise ConfigError(
            f"rare={', '.join(unknown)} is no class of {case.name}; it has "
            f"{', '.join(case.classes)}"
        )
    if given:
        return tuple(given)
    if case.kind:
        return tuple(name for name in RARE_CLASSES[case.kind] if name in case.classes)
    counts = [sum(file.labels.count(name) for file in train) for name in case.classes]
    most = RARE_SHARE * sum(counts) / max(1, len(counts))
    return tuple(n for n, count in zip(case.classes, counts, strict=True) if 0 < count <= most)


def _of_classes(
    files: Sequence[LabelledFile], config: BenchmarkConfig, known: Sequence[str]
) -> list[LabelledFile]:
    """The files with the boxes of the wanted classes alone."""
    unknown = sorted(set(config.classes) - set(known))
    if unknown:
        raise ConfigError(
            f"classes={', '.join(unknown)}: there is no such class; expected some of "
            f"{', '.join(known)}"
        )
    if not config.classes:
        return list(files)
    found = []
    for file in files:
        kept = [i for i, label in enumerate(file.labels) if label in config.classes]
        boxes, labels = [file.xyxy[i] for i in kept], [file.labels[i] for i in kept]
        found.append(LabelledFile(file.path, file.width, file.height, boxes, labels))
    return found


def _read(
    source: str, config: BenchmarkConfig
) -> tuple[str, tuple[str, ...], list[LabelledFile], list[LabelledFile]]:
    folder = Path(source).expanduser()
    if folder.is_dir():
        splits = {split: read_split(folder / split) for split in ("train", "test")}
        classes = list(dict.fromkeys(c for s in splits.values() for c in s.classes))
        files = {split: _files_of(folder / split) for split in splits}
        return folder.resolve().name, tuple(classes), files["train"], files["test"]
    if os.sep in source:
        raise DatasetError(f"{source}: no such folder; expected train/ and test/ with COCO labels")
    return _read_dataset(source, config)


def _files_of(split: Path) -> list[LabelledFile]:
    found = []
    for image in read_split(split).images:
        if not image.is_readable or image.size is None:
            continue
        xywh = np.asarray([box for _, box in image.boxes], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        labels = np.asarray([label for label, _ in image.boxes], object)
        width, height = image.size
        boxes, kept, _ = clean_boxes(xyxy, labels, width, height)
        found.append(LabelledFile(str(image.path), width, height, boxes.tolist(), list(kept)))
    return found


def _read_dataset(
    name: str, config: BenchmarkConfig
) -> tuple[str, tuple[str, ...], list[LabelledFile], list[LabelledFile]]:
    # Imported late: a benchmark on folders needs no database.
    from unseen.dataset import reading, setup

    dataset = reading.dataset_of(reading.open_collection(name))
    names = setup.names_for(dataset, config)
    reading.check_label_field(dataset, config.label_field)
    classes = Loop(dataset, names).classes()
    usable = dataset.match_tags(names.excluded_tag, bool=False).exists(config.label_field)
    views = {
        "train": reading.in_directory_order(usable.match_tags(config.test_tag, bool=False)),
        "test": usable.match_tags(config.test_tag),
    }
    files: dict[str, list[LabelledFile]] = {}
    for split, view in views.items():
        found = reading.read_labels(view, config.label_field, classes)
        files[split] = [
            LabelledFile(
                i.filepath,
                i.width,
                i.height,
                np.asarray(i.xyxy, np.float64).reshape(-1, 4).tolist(),
                list(i.labels),
            )
            for i in found.images
        ]
    if not files["train"]:
        raise DatasetError(
            f"dataset {name!r} has no labelled image outside its test split (field "
            f"{config.label_field!r}, tag {config.test_tag!r}); a benchmark needs complete labels. "
            "Name another label_field"
        )
    return name, tuple(classes), files["train"], files["test"]


def _tiled(
    files: Sequence[LabelledFile], folder: Path, tiles: int, progress: Progress
) -> list[LabelledFile]:
    """Every image as tiles x tiles pieces, row by row; boxes cut at the borders."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[LabelledFile] = []
    for number, file in enumerate(files):
        progress(number, len(files), "cut images")
        width, height = file.width // tiles, file.height // tiles
        pixels: Any = None
        for place in range(tiles * tiles):
            left, top = place % tiles * width, place // tiles * height
            corner = np.asarray([left, top, left, top], np.float32)
            moved = np.asarray(file.xyxy, np.float32).reshape(-1, 4) - corner
            labels = np.asarray(file.labels, object)
            boxes, kept, _ = clean_boxes(moved, labels, width, height)
            path = folder / f"{number:06d}-{place:02d}.png"
            if not path.is_file():
                if pixels is None:
                    pixels = (read_image(file.path) * 255).round().astype(np.uint8)
                piece = pixels[top : top + height, left : left + width]
                flat = piece[:, :, 0] if piece.shape[2] == 1 else piece
                temporary = path.with_suffix(f".{os.getpid()}.tmp")
                Image.fromarray(flat).save(temporary, format="PNG", compress_level=1)
                temporary.replace(path)
            found.append(LabelledFile(str(path), width, height, boxes.tolist(), list(kept)))
    return found
