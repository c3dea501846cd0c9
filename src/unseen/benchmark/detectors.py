"""A detector trained on the labelled images of a run, and how good it is on the test split."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unseen.arrays.devices import resolve_device
from unseen.arrays.image_store import ImageStore
from unseen.benchmark.cases import LabelledFile
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.files import write_json
from unseen.benchmark.pools import Pool
from unseen.detector.metrics import detection_metrics
from unseen.detector.models import detector_spec, resolve_architecture
from unseen.detector.training import Detections, TrainedDetector, detect, fit_detector
from unseen.errors import DatasetError
from unseen.steps.train_detector import TrainDetectorConfig

#: Precision, recall and F1 count predictions from this confidence on; AP counts all.
MIN_CONFIDENCE = 0.5
#: Smallest overlap of a match.
IOU = 0.5
#: Images that the detector sees at a time.
_TOGETHER = 4


def train(
    pool: Pool, labelled: Sequence[int], config: BenchmarkConfig, *, schedule: str, seed: int
) -> TrainedDetector:
    """Train on the labelled images, by epochs or by steps."""
    files = [pool.files[i] for i in sorted(labelled)]
    images = ImageStore([file.path for file in files], channels=3)
    files = [files[i] for i in images.kept]
    device = resolve_device(config.device)
    architecture, _ = resolve_architecture(
        config.architecture, device, detector=config.detector_kind
    )
    spec = detector_spec(
        architecture,
        pool.classes,
        max(max(f.width, f.height) for f in (*pool.files, *pool.test)),
        image_size=config.image_size,
        detector=config.detector_kind,
    )
    return fit_detector(
        images,
        [file.boxes for file in files],
        [file.numbers(pool.classes) for file in files],
        spec=spec,
        config=_training(config, schedule, seed),
        device=device,
    )


def _training(config: BenchmarkConfig, schedule: str, seed: int) -> TrainDetectorConfig:
    return TrainDetectorConfig(
        detector=config.detector_kind,
        epochs=config.epochs,
        steps=steps_of(config) if schedule == "steps" else None,
        device=config.device,
        seed=seed,
    )


def steps_of(config: BenchmarkConfig) -> int:
    """Steps of the schedule `steps`: default as many as the epochs take at the end of a run."""
    batch_size = TrainDetectorConfig().batch_size
    return config.detector_steps or math.ceil(config.epochs * config.wanted_images / batch_size)


def predictions(trained: TrainedDetector, files: Sequence[LabelledFile]) -> list[Detections]:
    """What the detector finds in each file; nothing in one that cannot be read."""
    store = ImageStore([file.path for file in files], channels=3)
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    detections = [none] * len(files)
    for start in range(0, len(store), _TOGETHER):
        rows = range(start, min(start + _TOGETHER, len(store)))
        for row, one in zip(rows, detect(trained.model, [store[i] for i in rows]), strict=True):
            detections[store.kept[row]] = one
    return detections


def measure(
    pool: Pool,
    labelled: Sequence[int],
    config: BenchmarkConfig,
    *,
    schedule: str,
    seed: int,
    cache: Path,
) -> tuple[dict[str, Any], float]:
    """The detector's record and the seconds of its training, from disk if they are there.

    Raises:
        DatasetError: there is no test split.
    """
    if not pool.test:
        raise DatasetError(
            "there is no labelled test split to measure a detector on; tag one, or pass "
            "detector='never'"
        )
    training = _training(config, schedule, seed)
    architecture, _ = resolve_architecture(
        config.architecture, resolve_device(config.device), detector=config.detector_kind
    )
    # By steps, not by the name of the schedule: both are the same in the last iteration.
    about = {
        "labelled": sorted(map(int, labelled)),
        "steps": training.steps or math.ceil(config.epochs * len(labelled) / training.batch_size),
        "detector": [config.detector_kind, architecture, config.image_size],
    }
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{seed}-detector-{name}.json"
    if not path.is_file():
        start = time.perf_counter()
        trained = train(pool, labelled, config, schedule=schedule, seed=seed)
        seconds = time.perf_counter() - start
        write_json({"record": _record(trained, pool), "seconds": seconds}, path)
    stored = json.loads(path.read_text())
    return stored["record"], stored["seconds"]


def _record(trained: TrainedDetector, pool: Pool) -> dict[str, Any]:
    metrics = detection_metrics(
        [(one.xyxy, one.labels, one.scores) for one in predictions(trained, pool.test)],
        [(file.boxes, file.numbers(pool.classes)) for file in pool.test],
        len(pool.classes),
        iou=IOU,
        min_confidence=MIN_CONFIDENCE,
    )
    per_class = {
        name: {
            "precision": float(metrics.precision[k]),
            "recall": float(metrics.recall[k]),
            "f1": float(metrics.f1[k]),
            "ap": None if np.isnan(metrics.ap[k]) else float(metrics.ap[k]),
            "support": int(metrics.support[k]),
        }
        for k, name in enumerate(pool.classes)
    }
    return {
        "schedule": trained.schedule,
        "weights": trained.message,
        "per_class": per_class,
        "macro_f1": metrics.macro_f1,
        "mean_ap": metrics.mean_ap,
        "counts": metrics.counts.tolist(),
    }


def confidence_margin(detections: Detections) -> float:
    """How uncertain a detector is about an image: the sum over its boxes of 1 - |2 c - 1|.

    With confidence c against "nothing there" as the only alternative, |2 c - 1| is the margin
    between the two (1-vs-2, summed: Brust, Kaeding & Denzler 2019).
    """
    return float((1 - np.abs(2 * detections.scores.astype(np.float64) - 1)).sum())
