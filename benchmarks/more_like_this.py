"""What `more_like_this` finds on labelled images: one box is pointed at, the rest of its class is wanted.

    python benchmarks/more_like_this.py DATA/steel DATA/concrete --draws 5

For each class and draw one box of a random image is the example, and the images of the folder's `train`
without it are searched. "first": share of the first `--count` regions that lie on a box of the class (centre
in the box, or IoU above .1).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared import parser, print_json, print_row

from unseen.arrays.boxes import iou, rel_xywh_to_xyxy, xyxy_to_rel_xywh
from unseen.benchmark.cases import LabelledFile, read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.ranking.features.backbones import find_backbone
from unseen.ranking.features.compute import Features
from unseen.ranking.similar import Example, search

#: A region that overlaps a box more than this lies on it.
IOU = 0.1


def main() -> None:
    """Print one row per class."""
    arguments = parser(__doc__)
    arguments.add_argument("sources", nargs="+", help="COCO folders with train/ and test/")
    arguments.add_argument("--draws", type=int, default=5, help="examples per class")
    arguments.add_argument("--count", type=int, default=20, help="regions that are looked at")
    arguments.add_argument("--work", help="folder that keeps features")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.work or temporary)
        features = Features(find_backbone()[0], folder)
        for case in read_cases(options.sources, BenchmarkConfig()):
            held = {label for file in case.train for label in file.labels}
            for name in (name for name in case.classes if name in held):
                shares = _measure(case.train, name, features, options)
                draws = " ".join(f"{share:.2f}" for share in shares)
                first = float(np.mean(shares))
                row = {"case": case.name, "class": f"{name:>18}", "first": first, "draws": draws}
                rows.append(row)
                print_row(row, rows)
    print_json(options, rows)


def _measure(
    files: Sequence[LabelledFile], name: str, features: Features, options: argparse.Namespace
) -> list[float]:
    """Per draw the share of the first regions that lie on a box of the class."""
    holders = [file for file in files if name in file.labels]
    rng = np.random.default_rng(51)
    shares = []
    for draw in range(options.draws):
        given = holders[int(rng.integers(len(holders)))]
        box = given.boxes[given.labels.index(name)]
        xywh = xyxy_to_rel_xywh(box[None], given.width, given.height).tolist()
        pool = [file for file in files if file is not given]
        found = search(
            features,
            [file.path for file in pool],
            [Example(given.path, xywh, [])],
            count=options.count,
            max_per_image=3,
            seed=draw,
        )
        places = found.places if found else []
        hits = [_lies_on(pool[i], name, region.xywh) for i, region in places]
        shares.append(float(np.mean(hits)) if hits else 0.0)
    return shares


def _lies_on(file: LabelledFile, name: str, xywh: Sequence[float]) -> bool:
    boxes = file.boxes[np.asarray([label == name for label in file.labels], bool)]
    region = rel_xywh_to_xyxy([xywh], file.width, file.height)
    centre = (region[:, :2] + region[:, 2:]) / 2
    inside = ((centre > boxes[:, :2]) & (centre < boxes[:, 2:])).all(axis=1)
    return bool(inside.any() or (iou(region, boxes) > IOU).any())


if __name__ == "__main__":
    main()
