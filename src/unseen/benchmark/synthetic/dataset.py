"""Pools of synthetic images, in memory or as a COCO folder.

A pool tells a story in directory order: the process drifts, and the rare classes (and the late variant
of a common one) appear only after a while. Labelling in that order therefore misses them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseen.benchmark.synthetic import bare_wafer, device_wafer, rolled_metal, solder_joints
from unseen.benchmark.synthetic.scene import Stage, SyntheticImage
from unseen.errors import ConfigError

#: A kind of images -> its module, which has its classes and draws it.
_MODULES: dict[str, Any] = {
    "bare": bare_wafer,
    "device": device_wafer,
    "texture": rolled_metal,
    "lookalikes": solder_joints,
}
KINDS = tuple(_MODULES)
#: All classes per kind.
CLASSES: dict[str, tuple[str, ...]] = {kind: m.CLASSES for kind, m in _MODULES.items()}
#: Classes per kind that appear only late in directory order.
RARE_CLASSES: dict[str, tuple[str, ...]] = {kind: m.RARE_CLASSES for kind, m in _MODULES.items()}

#: First index of the train split at which something rare may appear.
LATE_FROM = 60
#: From there on each rare class appears in one of so many images, per split.
RARE_EVERY = {"train": 12, "test": 4}
#: Images in which the drift runs through once; it then goes back and forth.
DRIFT_PERIOD = 200


def generate(
    kind: str, count: int, *, seed: int, size: int = 256, start: int = 0, split: str = "train"
) -> Iterator[SyntheticImage]:
    """Images `start` to `start + count - 1` of the pool with this seed, of `size` (>= 128) px.

    An image depends only on kind, seed, split, size and its index: a pool can be generated in parts,
    and a longer pool begins with the shorter one. In the split "train", rare classes and late
    variants appear from `LATE_FROM` on, in the split "test" from the first image on; each rare class
    is in exactly one of every `RARE_EVERY` images. Raises `ConfigError` for a parameter out of range.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r}; expected one of {', '.join(KINDS)}")
    if split not in RARE_EVERY:
        raise ConfigError(f"split={split!r}; expected train or test")
    if min(count, start, seed) < 0:
        raise ConfigError(f"{count=}, {start=}, {seed=}; none may be negative")
    if size < 128:
        raise ConfigError(f"{size=}; expected at least 128 px, or a stain does not fit")
    return (_image(kind, index, seed, size, split) for index in range(start, start + count))


def write_coco_folder(
    folder: str | Path,
    kind: str,
    *,
    train: int = 200,
    test: int = 60,
    seed: int = 51,
    size: int = 256,
) -> Path:
    """Write a pool and its test split as COCO detection data into a new or empty folder.

    The layout is `SPLIT/data/*.png` and `SPLIT/labels.json`; names sort in the pool's order. Raises
    `ConfigError` for a parameter out of range (see `generate`), or a folder that is not empty.
    """
    folder = Path(folder)
    splits = {
        split: generate(kind, count, seed=seed, size=size, split=split)
        for split, count in (("train", train), ("test", test))
    }
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; give a new one")
    try:
        for split, images in splits.items():
            _write_split(folder / split, kind, images, seed)
    except BaseException:  # stopped, or a full disk: the same call starts over
        for split in splits:
            shutil.rmtree(folder / split, ignore_errors=True)
        raise
    return folder


def _image(kind: str, index: int, seed: int, size: int, split: str) -> SyntheticImage:
    is_test = split == "test"
    stream = [seed, KINDS.index(kind), int(is_test)]
    rng = np.random.default_rng([*stream, 0, index])
    position = index if is_test else index - LATE_FROM
    rare = frozenset(
        label
        for number, label in enumerate(RARE_CLASSES[kind], start=1)
        if _is_turn([*stream, number], position, RARE_EVERY[split])
    )
    phase = rng.uniform(0, 2) if is_test else index / DRIFT_PERIOD % 2
    drift = float(phase if phase <= 1 else 2 - phase)
    is_late = bool(rng.random() < 0.5) if is_test else position >= 0
    image: SyntheticImage = _MODULES[kind].draw(rng, Stage(size, drift, rare, is_late, design=seed))
    return image


def _is_turn(stream: list[int], position: int, every: int) -> bool:
    """Whether `position` is the chosen one of its block of `every`; never before position 0."""
    if position < 0:
        return False
    block = position // every
    return position % every == int(np.random.default_rng([*stream, block]).integers(every))


def _write_split(folder: Path, kind: str, images: Iterator[SyntheticImage], seed: int) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        name = f"{number - 1:06d}.png"
        # Grain hardly compresses; a level above 1 only takes longer.
        Image.fromarray(image.pixels).save(data / name, compress_level=1)
        height, width = image.pixels.shape
        records.append({"id": number, "file_name": name, "width": width, "height": height})
        annotations += [
            {
                "id": len(annotations) + k,
                "image_id": number,
                "category_id": CLASSES[kind].index(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for k, (label, (x1, y1, x2, y2)) in enumerate(
                zip(image.labels, image.xyxy.tolist(), strict=True), start=1
            )
        ]
    document = {
        "info": {"description": f"Synthetic images, kind {kind}, seed {seed}, {folder.name} split"},
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES[kind], start=1)],
        "images": records,
        "annotations": annotations,
    }
    (folder / "labels.json").write_text(json.dumps(document))
