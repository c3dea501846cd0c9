"""Whole pools of synthetic images, in memory or as a COCO folder.

A pool tells a story in directory order: the process drifts, and the rare classes (and the late variant
of a common one) appear only after a while. Labelling in that order therefore misses them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseen.benchmark.synthetic import bare_wafer, device_wafer, rolled_metal, solder_joints
from unseen.benchmark.synthetic.scene import Stage, SyntheticImage
from unseen.errors import ConfigError

#: A kind that can be generated -> its module, which has its classes and draws it.
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

#: First index at which something rare may appear.
LATE_FROM = 60
#: From there on each rare class appears in one of so many images: 6 % of 200.
RARE_EVERY = 12
#: In the test split each rare class appears in one of so many images.
TEST_RARE_EVERY = 4
#: Images in which the drift runs through once; it then goes back and forth.
DRIFT_PERIOD = 200

_SPLITS = ("train", "test")


def generate(
    kind: str,
    count: int,
    *,
    seed: int,
    size: int = 256,
    start: int = 0,
    split: str = "train",
    late_from: int = LATE_FROM,
    rare_every: int | None = None,
) -> Iterator[SyntheticImage]:
    """Images `start` to `start + count - 1` of the pool with this seed, of `size` (>= 128) px.

    An image depends only on (kind, seed, split, size, its index, late_from, rare_every): a pool can be
    generated in parts, and a longer pool begins with the shorter one. On the device wafer the seed is
    also that of the die's design. The split "test" shows every stage of the story, with rare classes
    from the first image on. In the split "train" these and late variants appear from `late_from` on,
    each rare class in exactly one of every `rare_every` images (default: `RARE_EVERY`, in the test
    split `TEST_RARE_EVERY`).

    Raises:
        ConfigError: a parameter is out of range.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r}; expected one of {', '.join(KINDS)}")
    if split not in _SPLITS:
        raise ConfigError(f"split={split!r}; expected train or test")
    if min(count, start, seed, late_from) < 0:
        raise ConfigError(f"{count=}, {start=}, {seed=}, {late_from=}; none may be negative")
    if size < 128:
        raise ConfigError(f"{size=}; expected at least 128 px, or a stain does not fit")
    if rare_every is None:
        rare_every = TEST_RARE_EVERY if split == "test" else RARE_EVERY
    if rare_every < 1:
        raise ConfigError(f"{rare_every=}; expected at least 1")
    late_from = 0 if split == "test" else late_from
    return _images(kind, range(start, start + count), seed, size, split, late_from, rare_every)


def write_coco_folder(
    folder: str | Path,
    kind: str,
    *,
    train: int = 200,
    test: int = 60,
    seed: int = 51,
    size: int = 256,
    late_from: int = LATE_FROM,
) -> Path:
    """Write a pool and its test split as COCO detection data into a new or empty folder.

    The layout is `SPLIT/data/*.png` and `SPLIT/labels.json`; names sort in the pool's order. See
    `generate` for the parameters.

    Raises:
        ConfigError: a parameter is out of range, or the folder is not empty.
    """
    folder = Path(folder)
    splits = {
        split: generate(kind, count, seed=seed, size=size, split=split, late_from=late_from)
        for split, count in (("train", train), ("test", test))
    }
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; give a new one")
    for split, images in splits.items():
        _write_split(folder / split, kind, images, seed)
    return folder


def _images(
    kind: str, indices: range, seed: int, size: int, split: str, late_from: int, rare_every: int
) -> Iterator[SyntheticImage]:
    stream = [seed, KINDS.index(kind), _SPLITS.index(split)]
    for index in indices:
        rng = np.random.default_rng([*stream, 0, index])
        rare = frozenset(
            label
            for number, label in enumerate(RARE_CLASSES[kind], start=1)
            if _is_turn([*stream, number], index - late_from, rare_every)
        )
        phase = rng.uniform(0, 2) if split == "test" else index / DRIFT_PERIOD % 2
        drift = float(phase if phase <= 1 else 2 - phase)
        is_late = index >= late_from if split == "train" else bool(rng.random() < 0.5)
        yield _MODULES[kind].draw(rng, Stage(size, drift, rare, is_late, design=seed))


def _is_turn(stream: list[int], position: int, every: int) -> bool:
    """Whether `position` is the chosen one of its block of `every`; never before position 0."""
    if position < 0:
        return False
    block = position // every
    return position % every == int(np.random.default_rng([*stream, block]).integers(every))


def _write_split(folder: Path, kind: str, images: Iterator[SyntheticImage], seed: int) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    category = {name: number for number, name in enumerate(CLASSES[kind], start=1)}
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        name = f"{number - 1:06d}.png"
        # Grain hardly compresses; a level above 1 only takes longer.
        Image.fromarray(image.pixels).save(data / name, compress_level=1)
        height, width = image.pixels.shape
        records.append({"id": number, "file_name": name, "width": width, "height": height})
        for label, (x1, y1, x2, y2) in zip(image.labels, image.xyxy.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    document = {
        "info": {"description": f"Synthetic images, kind {kind}, seed {seed}, {folder.name} split"},
        "licenses": [],
        "categories": [{"id": number, "name": name} for name, number in category.items()],
        "images": records,
        "annotations": annotations,
    }
    (folder / "labels.json").write_text(json.dumps(document))
