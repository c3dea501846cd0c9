"""How fast the detectors train and find, how well, and what helps where classes are rare.

    python benchmarks/detector.py --kind bare --images 30 --seeds 1 2 3
    python benchmarks/detector.py --settings ours centernet balanced rectified --seeds 1 2 --threads 1
    python benchmarks/detector.py --data FOLDER --images 30 --steps 750 --settings ours

| settings | |
|---|---|
| ours | Faster R-CNN, small or with another --architecture |
| naive | torchvision's `FasterRCNN` with its default settings (2000 proposals, 512 boxes per image in the head, 7 x 7 RoIAlign) on the same backbone and anchors, in float32 |
| centernet | CenterNet of the same size |
| balanced, centernet-balanced | the same two, with images of rare classes repeated (--threshold) |
| rectified | Faster R-CNN with the class rectification loss (--eta) |

All train on the same images for the same steps with the same hyper-parameters, one after the other, so
that the ratio of their times means something also on a busy machine; "cpu" is processor time, which
does not wait for others. Synthetic training images are the first ten of the pool, then as many with
each rare class as the batch allows: what a good ranking would choose. With --sequential they are the
first of the pool, in which a class may have one box or none: what the remedies are for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from unseen.arrays.boxes import iou
from unseen.arrays.devices import resolve_device
from unseen.arrays.images import read_image
from unseen.benchmark.synthetic.dataset import CLASSES, KINDS, generate
from unseen.detector import faster_rcnn
from unseen.detector import training as detector_training
from unseen.detector.centernet import build_centernet
from unseen.detector.small_faster_rcnn import SmallBackbone
from unseen.detector.training import Detections, detect, fit_detector
from unseen.steps.train_detector import TrainDetectorConfig
from unseen.unet.class_balance import THRESHOLD, add_class_rectification, balanced_order
from unseen.unet.imbalance import class_imbalance

SETTINGS = ("ours", "naive", "centernet", "balanced", "centernet-balanced", "rectified")

Split = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def main() -> None:
    """Measure, print a table, and end with a JSON line."""
    options = _options()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    rows = []
    for seed in options.seeds:
        classes, train, test = _splits(options, seed)
        for settings in options.settings:
            rows.append(_measure(options, settings, seed, classes, train, test, device))
            _print(rows[-1], header=len(rows) == 1)
    print(json.dumps({"options": {k: str(v) for k, v in vars(options).items()}, "rows": rows}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, default="bare", help="synthetic wafer")
    parser.add_argument("--data", type=Path, help="COCO folder with train/ and test/ instead")
    parser.add_argument("--images", type=int, default=30, help="training images")
    parser.add_argument("--test-images", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--steps", type=int, help="optimiser steps instead of epochs")
    parser.add_argument("--architecture", choices=faster_rcnn.ARCHITECTURES, default="small")
    parser.add_argument("--image-size", type=int, help="longest side inside the detector, px")
    parser.add_argument("--weights", help="file with pretrained weights, or 'none'")
    parser.add_argument("--sequential", action="store_true", help="train on the first images")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["ours", "naive"])
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="share of images")
    parser.add_argument("--eta", type=float, default=0.1, help="of the rectification loss")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def _measure(options, settings, seed, classes, train, test, device) -> dict:
    config = TrainDetectorConfig(
        epochs=options.epochs,
        steps=options.steps,
        weights=options.weights,
        seed=seed,
        precision="fp32" if settings == "naive" else "auto",
    )
    longest = max(max(image.shape[:2]) for image in train[0])
    spec = faster_rcnn.detector_spec(
        options.architecture, classes, longest, image_size=options.image_size
    )
    with _as_set(settings, options, train):
        started, worked = time.perf_counter(), time.process_time()
        trained = fit_detector(*train, spec=spec, config=config, device=device)
        trained_in, worked_for = time.perf_counter() - started, time.process_time() - worked
    started = time.perf_counter()
    found = []
    for first in range(0, len(test[0]), 4):
        batch = test[0][first : first + 4]
        found += detect(trained.model, batch, precision=config.precision)
    found_in = time.perf_counter() - started
    scores = _scores(found, test, len(classes))
    return {
        "settings": settings,
        "seed": seed,
        "schedule": trained.schedule,
        "ms_per_step": round(1e3 * trained_in / trained.steps, 1),
        "cpu_ms_per_step": round(1e3 * worked_for / trained.steps, 1),
        "images_per_second": round(len(test[0]) / found_in, 1),
        "mean_f1": round(float(np.mean([s["f1"] for s in scores])), 3),
        "classes": dict(zip(classes, scores, strict=True)),
    }


@contextlib.contextmanager
def _as_set(settings: str, options, train: Split) -> Iterator[None]:
    """Training as the settings have it."""
    with contextlib.ExitStack() as changes:
        change = changes.enter_context
        if settings == "naive":
            change(mock.patch.object(faster_rcnn, "_small", _naive))
        if settings.startswith("centernet"):
            change(mock.patch.object(detector_training, "build_detector", _centernet))
        if settings.endswith("balanced"):

            def order(n: int, rng: np.random.Generator) -> Iterator[int]:
                return balanced_order(train[2], rng, threshold=options.threshold)

            change(mock.patch.object(detector_training, "_endless", order))
        if settings == "rectified":
            counts = np.unique(np.concatenate(train[2]), return_counts=True)[1]

            def build(spec, *, weights=None):
                built = faster_rcnn.build_detector(spec, weights=weights)
                add_class_rectification(built[0], weight=options.eta * class_imbalance(counts))
                return built

            change(mock.patch.object(detector_training, "build_detector", build))
        yield


def _centernet(spec: faster_rcnn.DetectorSpec, *, weights: str | None = None):
    return build_centernet(
        len(spec.classes),
        architecture=spec.architecture,
        image_size=spec.image_size,
        shortest_side=spec.shortest_side or spec.image_size,
        weights=weights,
    )


def _naive(spec: faster_rcnn.DetectorSpec, backbone: Any = None) -> FasterRCNN:
    backbone = backbone or SmallBackbone()
    return FasterRCNN(
        backbone,
        len(spec.classes) + 1,
        rpn_anchor_generator=AnchorGenerator(
            spec.anchor_sizes, (spec.aspect_ratios,) * len(spec.anchor_sizes)
        ),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        min_size=spec.shortest_side or spec.image_size,
        max_size=spec.image_size,
        _skip_resize=True,
    )


def _scores(found: list[Detections], test: Split, n_classes: int) -> list[dict]:
    """Precision, recall and F1 per class at confidence 0.5 and IoU 0.5, the confident first."""
    scores = []
    for label in range(n_classes):
        right = predicted = present = 0
        for detections, boxes, labels in zip(found, test[1], test[2], strict=True):
            chosen = detections.xyxy[(detections.labels == label) & (detections.scores >= 0.5)]
            truth = boxes[labels == label]
            predicted += len(chosen)
            present += len(truth)
            overlap = iou(chosen, truth)
            free = np.ones(len(truth), dtype=bool)
            for row in overlap:
                row = np.where(free, row, 0)
                if len(row) and row.max() >= 0.5:
                    free[row.argmax()] = False
                    right += 1
        f1 = 2 * right / max(predicted + present, 1)
        precision, recall = right / max(predicted, 1), right / max(present, 1)
        scores.append({"precision": precision, "recall": recall, "f1": f1, "boxes": present})
    return scores


def _splits(options, seed: int) -> tuple[tuple[str, ...], Split, Split]:
    if options.data is not None:
        classes, train = _coco(options.data / "train", options.images, options.sequential)
        _, test = _coco(options.data / "test", options.test_images, sequential=False)
        return classes, train, test
    classes = tuple(CLASSES[options.kind])
    pool = list(generate(options.kind, max(200, options.images), seed=seed))
    chosen = range(options.images)
    if not options.sequential:
        chosen = _as_if_ranked(pool, options.images, np.random.default_rng(seed))
    train = _arrays([pool[i] for i in chosen], classes)
    test = generate(options.kind, options.test_images, seed=seed, split="test")
    return classes, train, _arrays(list(test), classes)


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
    return (
        [np.repeat(image.pixels[:, :, None] / np.float32(255), 3, axis=2) for image in images],
        [np.asarray(image.xyxy, dtype=np.float32).reshape(-1, 4) for image in images],
        [np.asarray([classes.index(x) for x in image.labels], dtype=int) for image in images],
    )


def _coco(folder: Path, count: int, sequential: bool) -> tuple[tuple[str, ...], Split]:
    """The first images by name, or as many evenly spaced ones."""
    data = json.loads((folder / "labels.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    classes = tuple(sorted(names.values()))
    images = sorted(data["images"], key=lambda image: image["file_name"])
    if not sequential:
        places = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
        images = [images[i] for i in places]
    split: Split = ([], [], [])
    for image in images[:count]:
        own = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        boxes = np.asarray([a["bbox"] for a in own], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        split[0].append(read_image(folder / "data" / Path(image["file_name"]).name, channels=3))
        split[1].append(boxes)
        split[2].append(np.asarray([classes.index(names[a["category_id"]]) for a in own], int))
    return classes, split


def _print(row: dict, *, header: bool) -> None:
    if header:
        columns = "".join(f"{name[:12]:>13}" for name in row["classes"])
        print(
            f"{'settings':19}{'seed':>5}{'ms/step':>9}{'cpu':>7}{'images/s':>10}{'mean F1':>9}{columns}"
        )
    values = "".join(f"{score['f1']:13.2f}" for score in row["classes"].values())
    print(
        f"{row['settings']:19}{row['seed']:5}{row['ms_per_step']:9.0f}{row['cpu_ms_per_step']:7.0f}"
        f"{row['images_per_second']:10.1f}{row['mean_f1']:9.3f}{values}",
        flush=True,
    )


if __name__ == "__main__":
    main()
