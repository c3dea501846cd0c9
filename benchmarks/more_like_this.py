"""What `more_like_this` finds on labelled images: one box is pointed at, the rest of its class is wanted.

    python benchmarks/more_like_this.py DATA/steel DATA/concrete --draws 5

For each class and draw one box of a random image is the example, and the images of the folder's `train`
without it are searched. "first": share of the first `--count` regions that lie on a box of the class (centre
in the box, or IoU above .1).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from unseen.arrays.boxes import iou
from unseen.benchmark.cases import LabelledFile, read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.similar import Example, search

#: A region that overlaps a box more than this lies on it.
IOU = 0.1


def main() -> None:
    """Print one row per class."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="COCO folders with train/ and test/")
    parser.add_argument("--draws", type=int, default=5, help="examples per class")
    parser.add_argument("--count", type=int, default=20, help="regions that are looked at")
    parser.add_argument("--work", help="folder that keeps features")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.work or temporary)
        features = Features(find_backbone()[0], folder)
        for case in read_cases(options.sources, BenchmarkConfig(), folder, lambda *_: None):
            for name in case.classes:
                _print(case.name, name, _measure(case.train, name, features, options), options)


def _measure(
    files: tuple[LabelledFile, ...], name: str, features: Features, options: argparse.Namespace
) -> np.ndarray:
    """(draws,) share of the first regions that lie on a box of the class."""
    holders = [file for file in files if name in file.labels]
    rng = np.random.default_rng(51)
    shares = []
    for draw in range(options.draws):
        given = holders[int(rng.integers(len(holders)))]
        x1, y1, x2, y2 = given.xyxy[given.labels.index(name)]
        w, h = given.width, given.height
        example = Example(given.path, [[x1 / w, y1 / h, (x2 - x1) / w, (y2 - y1) / h]], [])
        pool = [file for file in files if file is not given]
        found = search(
            features,
            [file.path for file in pool],
            [example],
            count=options.count,
            max_per_image=3,
            seed=draw,
        )
        places = found.places if found else []
        hits = [_lies_on(pool[i], name, region.xywh) for i, region in places]
        shares.append(float(np.mean(hits)) if hits else 0.0)
    return np.asarray(shares)


def _lies_on(file: LabelledFile, name: str, xywh: tuple[float, float, float, float]) -> bool:
    boxes = _boxes(file, name)
    if not len(boxes):
        return False
    left, top, width, height = np.asarray(xywh) * np.tile([file.width, file.height], 2)
    region = np.asarray([[left, top, left + width, top + height]], np.float32)
    centre = (region[:, :2] + region[:, 2:]) / 2
    inside = (centre > boxes[:, :2]) & (centre < boxes[:, 2:])
    return bool(inside.all(axis=1).any() or (iou(region, boxes) > IOU).any())


def _boxes(file: LabelledFile, name: str) -> np.ndarray:
    kept = [box for box, label in zip(file.xyxy, file.labels, strict=True) if label == name]
    return np.asarray(kept, np.float32).reshape(-1, 4)


def _print(case: str, name: str, shares: np.ndarray, options: argparse.Namespace) -> None:
    print(
        f"{case:12}{name:18} first {options.count}: {shares.mean():.2f}"
        f"   draws {' '.join(f'{share:.2f}' for share in shares)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
