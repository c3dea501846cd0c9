"""Where the files of a dataset's loop are kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fiftyone as fo

from unseen.dataset.reading import dataset_of
from unseen.parameters import StepConfig

#: Folder below FiftyOne's default dataset directory.
FOLDER = "__unseen__"


def model_folder(collection: Any, config: StepConfig) -> Path:
    """The folder for checkpoints: as asked, or one per dataset.

    The default carries the dataset's id, so that a dataset deleted and made again under the same
    name never meets the other's files.
    """
    if config.model_dir:
        return Path(config.model_dir).expanduser().absolute()
    dataset = dataset_of(collection)
    root = Path(fo.config.default_dataset_dir).expanduser().absolute()
    return root / FOLDER / f"{dataset.slug}-{str(dataset._doc.id)[-6:]}"


def feature_folder(collection: Any, config: StepConfig) -> Path:
    """The folder for pretrained features: below `model_dir` where that is given, else one for all.

    Features are kept by what an image shows, so that datasets may share them.
    """
    if config.model_dir:
        return Path(config.model_dir).expanduser().absolute() / "features"
    return Path(fo.config.default_dataset_dir).expanduser().absolute() / FOLDER / "features"


def numbered_folder(parent: Path, stem: str) -> Path:
    """`parent/stem-001`, or the first number that does not exist yet."""
    number = 1
    while (parent / f"{stem}-{number:03d}").exists():
        number += 1
    return parent / f"{stem}-{number:03d}"
