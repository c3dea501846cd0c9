"""A detector trained on the labelled images of a run, and its quality on the test split."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.devices import resolve_device
from unseen.arrays.image_store import ImageStore
from unseen.benchmark.cases import LabelledFile
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.files import kept_as, write_json
from unseen.benchmark.pools import Pool
from unseen.detector.metrics import detection_metrics
from unseen.detector.models import detector_spec, resolve_architecture
from unseen.detector.training import Detections, TrainedDetector, detect, fit_detector
from unseen.errors import DatasetError
from unseen.steps.train_detector import TrainDetectorConfig

#: Precision, recall and F1 count predictions from this confidence on; AP counts all.
MIN_CONFIDENCE = 0.5
#: Least IoU of a match.
IOU = 0.5
_BATCH = 4


def train(
    pool: Pool, labelled: Sequence[int], config: BenchmarkConfig, *, seed: int
) -> TrainedDetector:
    """Train a detector on the labelled images."""
    files = [pool.files[i] for i in sorted(labelled)]
    images = ImageStore([file.path for file in files], channels=3, value_range=pool.value_range)
    files = [files[i] for i in images.kept]
    spec = detector_spec(
        _architecture(config),
        pool.classes,
        max(max(f.width, f.height) for f in (*pool.files, *pool.test)),
        image_size=config.image_size,
        detector=config.detector_kind,
        boxes=[file.boxes for file in files],
    )
    return fit_detector(
        images,
        [file.boxes for file in files],
        [file.numbers(pool.classes) for file in files],
        spec=spec,
        config=_training(config, seed),
        device=resolve_device(config.device),
    )


def predictions(
    trained: TrainedDetector, pool: Pool, files: Sequence[LabelledFile]
) -> list[Detections]:
    """What the detector predicts on each file; nothing where a file cannot be read."""
    paths = [file.path for file in files]
    store = ImageStore(paths, channels=3, value_range=pool.value_range)
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    detections = [none] * len(files)
    for start in range(0, len(store), _BATCH):
        rows = range(start, min(start + _BATCH, len(store)))
        found = detect(trained.model, [store[i] for i in rows], trained.spec)
        for row, one in zip(rows, found, strict=True):
            detections[store.kept[row]] = one
    return detections


def measure(
    pool: Pool, labelled: Sequence[int], config: BenchmarkConfig, *, seed: int, cache: Path
) -> tuple[dict[str, Any], float]:
    """Train and evaluate; returns the record and the seconds of training, cached on disk.

    Raises `DatasetError` without a test split.
    """
    if not pool.test:
        raise DatasetError(
            "there is no labelled test split to measure a detector on; tag one, or pass "
            "detector='never'"
        )
    training = _training(config, seed).to_dict()
    about = [pool.digest, sorted(map(int, labelled)), training, _architecture(config)]
    path = cache / f"{seed}-detector-{kept_as([*about, config.image_size])}.json"
    if not path.is_file():
        start = time.perf_counter()
        trained = train(pool, labelled, config, seed=seed)
        seconds = time.perf_counter() - start
        write_json({"record": _record(trained, pool), "seconds": seconds}, path)
    stored = json.loads(path.read_text())
    return stored["record"], stored["seconds"]


def confidence_margin(detections: Detections) -> float:
    """How uncertain a detector is about an image: the sum over its boxes of 1 - |2 c - 1|.

    With confidence c against background, |2 c - 1| is the margin between the two (1-vs-2, summed:
    Brust, Kaeding & Denzler 2019).
    """
    return float((1 - np.abs(2 * detections.scores.astype(np.float64) - 1)).sum())


def _architecture(config: BenchmarkConfig) -> str:
    device = resolve_device(config.device)
    return resolve_architecture(config.architecture, device, detector=config.detector_kind)[0]


def _training(config: BenchmarkConfig, seed: int) -> TrainDetectorConfig:
    """By epochs, or by as many steps as those epochs take at the end of a run."""
    steps = config.detector_steps
    if config.schedule == "steps" and steps is None:
        batches = config.wanted_images / TrainDetectorConfig().batch_size
        steps = math.ceil(config.epochs * batches)
    return TrainDetectorConfig(
        detector=config.detector_kind,
        epochs=config.epochs,
        steps=steps,
        device=config.device,
        seed=seed,
    )


def _record(trained: TrainedDetector, pool: Pool) -> dict[str, Any]:
    metrics = detection_metrics(
        [
            (xyxy_to_rel_xywh(one.xyxy, 1, 1), one.labels, one.scores)
            for one in predictions(trained, pool, pool.test)
        ],
        [(xyxy_to_rel_xywh(file.boxes, 1, 1), file.numbers(pool.classes)) for file in pool.test],
        len(pool.classes),
        iou=IOU,
        min_confidence=MIN_CONFIDENCE,
    )
    return {
        "schedule": trained.schedule,
        "weights": trained.message,
        "per_class": {
            name: {
                "precision": float(metrics.precision[k]),
                "recall": float(metrics.recall[k]),
                "f1": float(metrics.f1[k]),
                "ap": None if np.isnan(metrics.ap[k]) else float(metrics.ap[k]),
                "support": int(metrics.support[k]),
            }
            for k, name in enumerate(pool.classes)
        },
        "macro_f1": metrics.macro_f1,
        "mean_ap": metrics.mean_ap,
    }
