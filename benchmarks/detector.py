"""How fast the detectors train and find, how well, and what helps if classes are rare.

    python benchmarks/detector.py --kind bare --images 30 --seeds 1 2 3
    python benchmarks/detector.py --settings ours centernet balanced rectified --seeds 1 2 --threads 1
    python benchmarks/detector.py --data FOLDER --images 30 --steps 750

| settings | |
|---|---|
| ours | Faster R-CNN, small or with another --architecture |
| centernet | CenterNet of the same size |
| balanced, centernet-balanced | the same two with `balance=0.5`: images of rare classes are repeated |
| rectified | Faster R-CNN with `rectification=0.1`: the class rectification loss |

All train on the same images for the same steps, one after the other, so that the ratio of their times
means something on a busy machine too; "cpu" is processor time, which does not wait for others.
Synthetic training images are the first ten of the pool, then as many with each rare class as the batch
allows: what a good ranking would choose. Of a COCO folder they are evenly spaced by name.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared import Clock, numbers, parser, print_json, print_row, rgb

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.devices import resolve_device
from unseen.arrays.images import read_image
from unseen.benchmark.cases import read_cases
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.synthetic.dataset import CLASSES, KINDS, generate
from unseen.detector import AUTO, architecture_choices
from unseen.detector.metrics import detection_metrics
from unseen.detector.models import detector_spec
from unseen.detector.training import detect, fit_detector
from unseen.steps.train_detector import TrainDetectorConfig

SETTINGS: dict[str, dict[str, Any]] = {
    "ours": {},
    "centernet": {"detector": "centernet"},
    "balanced": {"balance": 0.5},
    "centernet-balanced": {"detector": "centernet", "balance": 0.5},
    "rectified": {"rectification": 0.1},
}

#: Images, boxes and classes of each.
Split = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def main() -> None:
    """Measure, print a table, and end with a JSON line."""
    options = _options()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        classes, train, test = _splits(options, seed)
        for settings in options.settings:
            rows.append(_measure(options, settings, seed, classes, train, test))
            print_row(rows[-1], rows)
    print_json(options, rows)


def _options() -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--kind", choices=KINDS, default="bare", help="synthetic images")
    arguments.add_argument("--data", type=Path, help="COCO folder with train/ and test/ instead")
    arguments.add_argument("--images", type=int, default=30, help="training images")
    arguments.add_argument("--test-images", type=int, default=60)
    arguments.add_argument("--epochs", type=int, default=100)
    arguments.add_argument("--steps", type=int, help="optimiser steps instead of epochs")
    arguments.add_argument(
        "--architecture", choices=set(architecture_choices()) - {AUTO}, default="small"
    )
    arguments.add_argument("--image-size", type=int, help="longest side inside the detector, px")
    arguments.add_argument("--settings", nargs="+", choices=SETTINGS, default=["ours"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    return arguments.parse_args()


def _measure(options, settings: str, seed: int, classes, train: Split, test: Split) -> dict:
    config = TrainDetectorConfig(
        epochs=options.epochs, steps=options.steps, seed=seed, **SETTINGS[settings]
    )
    spec = detector_spec(
        options.architecture,
        classes,
        max(max(image.shape[:2]) for image in train[0]),
        image_size=options.image_size,
        detector=config.detector,
    )
    clock, worked = Clock(), time.process_time()
    device = resolve_device(options.device)
    trained = fit_detector(*train, spec=spec, config=config, device=device)
    seconds, worked = clock.lap(), time.process_time() - worked
    detections = [
        one
        for first in range(0, len(test[0]), 4)
        for one in detect(trained.model, test[0][first : first + 4], spec)
    ]
    detecting = clock.lap()
    metrics = detection_metrics(
        [(xyxy_to_rel_xywh(one.xyxy, 1, 1), one.labels, one.scores) for one in detections],
        [(xyxy_to_rel_xywh(xyxy, 1, 1), labels) for xyxy, labels in zip(*test[1:3], strict=True)],
        len(classes),
    )
    return {
        "settings": settings,
        "seed": seed,
        "ms/step": 1e3 * seconds / trained.steps,
        "cpu": 1e3 * worked / trained.steps,
        "images/s": len(test[0]) / detecting,
        "mean F1": float(metrics.f1.mean()),
        **{name: float(f1) for name, f1 in zip(classes, metrics.f1, strict=True)},
    }


def _splits(options: argparse.Namespace, seed: int) -> tuple[tuple[str, ...], Split, Split]:
    if options.data is not None:
        (case,) = read_cases([str(options.data)], BenchmarkConfig())
        train, test = (
            _arrays([files[i] for i in _evenly(len(files), count)], case.classes)
            for files, count in ((case.train, options.images), (case.test, options.test_images))
        )
        return case.classes, train, test
    classes = CLASSES[options.kind]
    pool = list(generate(options.kind, max(200, options.images), seed=seed))
    chosen = _as_if_ranked(pool, options.images, np.random.default_rng(seed))
    shown = generate(options.kind, options.test_images, seed=seed, split="test")
    return classes, _arrays([pool[i] for i in chosen], classes), _arrays(shown, classes)


def _evenly(length: int, count: int) -> list[int]:
    return np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()


def _as_if_ranked(pool, count: int, rng: np.random.Generator) -> list[int]:
    """The first ten; of the others up to 6 per uncommon class, filled up at random."""
    chosen = list(range(min(10, count)))
    rest = rng.permutation(np.arange(10, len(pool))).tolist()
    common = pool[0].labels[0] if len(pool[0].labels) else None
    for label in sorted({name for image in pool for name in image.labels} - {common}):
        chosen += [i for i in rest if label in pool[i].labels and i not in chosen][:6]
    chosen += [i for i in rest if i not in chosen]
    return chosen[:count]


def _arrays(images, classes: tuple[str, ...]) -> Split:
    """Of generated images, or of files."""
    split: Split = ([], [], [])
    for image in images:
        is_file = hasattr(image, "path")
        split[0].append(read_image(image.path, channels=3) if is_file else rgb(image))
        split[1].append(np.asarray(image.xyxy, np.float32).reshape(-1, 4))
        split[2].append(numbers(image.labels, classes))
    return split


if __name__ == "__main__":
    main()
