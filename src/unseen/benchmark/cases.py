"""Where images and labels come from: a FiftyOne dataset, a folder, or a generator.

All become the same plain data, so that runs in other processes need no database.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unseen.arrays.boxes import clean_boxes
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.synthetic.dataset import CLASSES, KINDS, RARE_CLASSES, write_coco_folder
from unseen.dataset.coco import Split
from unseen.dataset.folders import read_folder
from unseen.errors import ConfigError, DatasetError
from unseen.ranking import RARE_SHARE

#: Prefix of generated sources on the command line: `synthetic:bare`.
SYNTHETIC = "synthetic:"
#: Default sizes of a generated pool and its test split.
SYNTHETIC_POOL, SYNTHETIC_TEST = 200, 60


@dataclass(frozen=True)
class LabelledFile:
    """One image file with all its boxes."""

    path: str
    width: int
    height: int
    xyxy: list[list[float]]  #: per box x1, y1, x2, y2 in native px
    labels: list[str]

    @property
    def boxes(self) -> npt.NDArray[np.float32]:
        """(N, 4) xyxy px."""
        return np.asarray(self.xyxy, np.float32).reshape(-1, 4)

    def numbers(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """(N,) positions of the labels in `classes`."""
        return np.asarray([classes.index(label) for label in self.labels], np.int64)


@dataclass(frozen=True)
class Case:
    """One comparison: a source of images, and at most one class that is made rare."""

    name: str  #: for tables and file names
    kind: str  #: of generated images; "" if `train` and `test` hold the files
    classes: tuple[str, ...]  #: in a fixed order
    held_back: str = ""  #: the class that is made rare
    train: tuple[LabelledFile, ...] = ()  #: the images to choose from, in directory order
    test: tuple[LabelledFile, ...] = ()  #: the images to evaluate detectors on


def read_cases(sources: Sequence[str], config: BenchmarkConfig) -> list[Case]:
    """The comparisons on FiftyOne datasets (by name), folders, and `synthetic:KIND`.

    Raises `ConfigError` for no source, one given twice or an unknown class, and `DatasetError` for
    a source that does not exist or holds no labels.
    """
    if not sources:
        raise ConfigError(
            "no dataset to compare on; name a FiftyOne dataset, a folder with complete labels, "
            f"or {SYNTHETIC}{'|'.join(KINDS)}"
        )
    cases: list[Case] = []
    for source in sources:
        case = _of_classes(_read(source, config), config)
        for held_back in config.held_back or ("",):
            if held_back and held_back not in case.classes:
                raise ConfigError(
                    f"{held_back=} is no class of {source}; it has {', '.join(case.classes)}"
                )
            name = f"{case.name}-{held_back}" if held_back else case.name
            cases.append(replace(case, name=name, held_back=held_back))
    counts = Counter(case.name for case in cases)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ConfigError(
            f"two comparisons would both be called {', '.join(twice)}; name each source once, and "
            "give folders different names"
        )
    return cases


def generated(case: Case, config: BenchmarkConfig, seed: int, folder: Path) -> Case:
    """The case with its images, generated once per seed if it has none.

    If several processes generate them at the same time, the first one's images stay.
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
    splits: dict[str, Any] = {k: _files_of(v) for k, v in read_folder(place).splits.items()}
    return _of_classes(replace(case, classes=CLASSES[case.kind], **splits), config)


def rare_classes(case: Case, train: Sequence[LabelledFile]) -> tuple[str, ...]:
    """The classes that strategies should find.

    The held-back class; else those that the generator makes rare; else those with at most
    `RARE_SHARE` of an even share of the boxes.
    """
    if case.held_back:
        return (case.held_back,)
    if case.kind:
        return tuple(name for name in RARE_CLASSES[case.kind] if name in case.classes)
    counts = [sum(file.labels.count(name) for file in train) for name in case.classes]
    most = RARE_SHARE * sum(counts) / max(1, len(counts))
    return tuple(n for n, count in zip(case.classes, counts, strict=True) if 0 < count <= most)


def _of_classes(case: Case, config: BenchmarkConfig) -> Case:
    """The case with the wanted classes and their boxes only."""
    wanted = config.classes
    if unknown := sorted(set(wanted) - set(case.classes)):
        raise ConfigError(
            f"classes={', '.join(unknown)}: there is no such class; expected some of "
            f"{', '.join(case.classes)}"
        )
    if not wanted:
        return case

    def of(file: LabelledFile) -> LabelledFile:
        kept = [(b, n) for b, n in zip(file.xyxy, file.labels, strict=True) if n in wanted]
        return replace(file, xyxy=[box for box, _ in kept], labels=[name for _, name in kept])

    train, test = tuple(map(of, case.train)), tuple(map(of, case.test))
    return replace(case, classes=wanted, train=train, test=test)


def _read(source: str, config: BenchmarkConfig) -> Case:
    if source.startswith(SYNTHETIC):
        kind = source[len(SYNTHETIC) :]
        if kind not in KINDS:
            raise ConfigError(f"{source!r}; expected {SYNTHETIC} and one of {', '.join(KINDS)}")
        if config.held_back:
            raise ConfigError(
                f"{source} has rare classes of its own; held_back is for real images. Run it in a "
                "benchmark without held_back"
            )
        return Case(kind, kind, CLASSES[kind])
    folder = Path(source).expanduser()
    if folder.is_dir():
        found = read_folder(folder.absolute()).with_test_split()
        splits = {name: _files_of(split) for name, split in found.splits.items()}
        return Case(folder.resolve().name, "", tuple(found.classes), "", **splits)
    if os.sep in source:
        read_folder(folder)  # says what is expected
    return _read_dataset(source, config)


def _files_of(split: Split) -> tuple[LabelledFile, ...]:
    files = []
    for image in split.images:
        if not image.is_readable or image.size is None:
            continue
        xywh = np.asarray([box for _, box in image.boxes], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        names = np.asarray([name for name, _ in image.boxes], object)
        boxes, labels, _ = clean_boxes(xyxy, names, *image.size)
        files.append(LabelledFile(str(image.path), *image.size, boxes.tolist(), list(labels)))
    return tuple(files)


def _read_dataset(name: str, config: BenchmarkConfig) -> Case:
    # Imported late: a benchmark on folders needs no database.
    from unseen.dataset import reading, setup
    from unseen.dataset.loop import Loop

    dataset = reading.open_collection(name)._dataset
    names = setup.names_for(dataset, config)
    reading.check_label_field(dataset, config.label_field)
    loop = Loop(dataset, names)
    classes = loop.classes()
    usable = loop.with_labels(dataset.match_tags(names.excluded_tag, bool=False))
    train = usable.match_tags(config.test_tag, bool=False).sort_by("filepath")
    splits = [
        tuple(
            LabelledFile(
                image.filepath,
                image.width,
                image.height,
                np.asarray(image.xyxy, np.float64).reshape(-1, 4).tolist(),
                list(image.labels),
            )
            for image in reading.read_labels(view, config.label_field, classes).images
        )
        for view in (train, usable.match_tags(config.test_tag))
    ]
    if not splits[0]:
        raise DatasetError(
            f"dataset {name!r} has no labelled image outside its test split (field "
            f"{config.label_field!r}, tag {config.test_tag!r}); a benchmark needs complete labels. "
            "Name another label_field"
        )
    return Case(name, "", tuple(classes), "", *splits)
