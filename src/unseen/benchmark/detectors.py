"""A detector trained on the labelled images of a run, and how well it does on the test split."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unseen.arrays.devices import resolve_device
from unseen.arrays.image_store import ImageStore
from unseen.benchmark.cases import LabelledFile
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.json_file import write_json
from unseen.benchmark.pools import Pool
from unseen.detector.faster_rcnn import detector_spec, resolve_architecture
from unseen.detector.metrics import detection_metrics
from unseen.detector.training import Detections, TrainedDetector, detect, fit_detector
from unseen.errors import DatasetError
from unseen.steps.train_detector import TrainDetectorConfig

#: Precision, recall and F1 count predictions from this confidence on; AP counts all.
MIN_CONFIDENCE = 0.5
#: Overlap from which a prediction counts as found.
IOU = 0.5
#: What the detector is shown at a time.
_TOGETHER = 4


@dataclass(frozen=True)
class Trained:
    """A detector of this process."""

    found: TrainedDetector
    classes: tuple[str, ...]
    seconds: float


def train(
    pool: Pool, labelled: Sequence[int], config: BenchmarkConfig, *, schedule: str, seed: int
) -> Trained:
    """Train on the labelled images, by epochs or by steps."""
    start = time.perf_counter()
    files = [pool.files[i] for i in sorted(labelled)]
    images = ImageStore([file.path for file in files], channels=3)
    files = [files[i] for i in images.kept]
    training = _training(config, schedule, seed)
    device = resolve_device(config.device)
    architecture, _ = resolve_architecture(config.architecture, device)
    longest = max(max(f.width, f.height) for f in (*pool.files, *pool.test))
    spec = detector_spec(
        architecture,
        pool.classes,
        longest,
        image_size=config.image_size,
        detector=config.detector_kind,
    )
    found = fit_detector(
        images,
        [np.asarray(f.xyxy, np.float32).reshape(-1, 4) for f in files],
        [np.asarray([pool.classes.index(n) for n in f.labels], np.int64) for f in files],
        spec=spec,
        config=training,
        device=device,
    )
    return Trained(found, pool.classes, time.perf_counter() - start)


def _training(config: BenchmarkConfig, schedule: str, seed: int) -> TrainDetectorConfig:
    return TrainDetectorConfig(
        detector=config.detector_kind,
        epochs=config.epochs,
        steps=steps_of(config) if schedule == "steps" else None,
        device=config.device,
        seed=seed,
    )


def steps_of(config: BenchmarkConfig) -> int:
    """Steps of the schedule `steps`: as many as the epochs are with all images of a run labelled."""
    batch_size = TrainDetectorConfig().batch_size
    return config.detector_steps or math.ceil(config.epochs * config.wanted_images / batch_size)


def predictions(trained: Trained, files: Sequence[LabelledFile]) -> list[Detections]:
    """What the detector finds in each file, in order; nothing where a file cannot be read."""
    store = ImageStore([file.path for file in files], channels=3)
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    found = [none] * len(files)
    for start in range(0, len(store), _TOGETHER):
        places = store.kept[start : start + _TOGETHER]
        images = [store[i] for i in range(start, min(start + _TOGETHER, len(store)))]
        for place, one in zip(places, detect(trained.found.model, images), strict=True):
            found[place] = one
    return found


def measure(
    pool: Pool,
    labelled: Sequence[int],
    config: BenchmarkConfig,
    *,
    schedule: str,
    seed: int,
    cache: Path,
) -> tuple[dict[str, Any], float]:
    """The detector's record, and the seconds of its training; from disk where it is known.

    Raises:
        DatasetError: there is no test split.
    """
    if not pool.test:
        raise DatasetError(
            "there is no labelled test split to measure a detector on; tag one, or pass "
            "detector='never'"
        )
    training = _training(config, schedule, seed)
    # Where "auto" means something else, what was measured before is of another detector.
    architecture, _ = resolve_architecture(config.architecture, resolve_device(config.device))
    # By steps, not by the name of the schedule: both come to the same in the last iteration.
    about = {
        "labelled": sorted(map(int, labelled)),
        "steps": training.steps or math.ceil(config.epochs * len(labelled) / training.batch_size),
        "detector": [config.detector_kind, architecture, config.image_size],
    }
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{seed}-detector-{name}.json"
    if path.is_file():
        stored = json.loads(path.read_text())
        return stored["record"], stored["seconds"]
    trained = train(pool, labelled, config, schedule=schedule, seed=seed)
    record = evaluated(trained, pool)
    write_json({"record": record, "seconds": trained.seconds}, path)
    return record, trained.seconds


def evaluated(trained: Trained, pool: Pool) -> dict[str, Any]:
    """Precision, recall, F1 and AP per class on the test split, and the counts per image."""
    names = list(pool.classes)
    found = detection_metrics(
        [(one.xyxy, one.labels, one.scores) for one in predictions(trained, pool.test)],
        [
            (
                np.asarray(f.xyxy, np.float32).reshape(-1, 4),
                np.asarray([names.index(n) for n in f.labels], np.int64),
            )
            for f in pool.test
        ],
        len(names),
        iou=IOU,
        min_confidence=MIN_CONFIDENCE,
    )
    per_class = {
        name: {
            "precision": float(found.precision[k]),
            "recall": float(found.recall[k]),
            "f1": float(found.f1[k]),
            "ap": None if np.isnan(found.ap[k]) else float(found.ap[k]),
            "support": int(found.support[k]),
        }
        for k, name in enumerate(names)
    }
    return {
        "schedule": trained.found.schedule,
        "weights": trained.found.message,
        "per_class": per_class,
        "macro_f1": found.macro_f1,
        "mean_ap": found.mean_ap,
        "counts": found.counts.tolist(),
    }


def confidence_margin(found: Detections) -> float:
    """How undecided a detector is about an image: the sum over its boxes of 1 - |2 c - 1|.

    With confidence c against "nothing there" as the only other answer, |2 c - 1| is the margin
    between the two (1-vs-2, summed: Brust, Kaeding & Denzler 2019).
    """
    return float((1 - np.abs(2 * found.scores.astype(np.float64) - 1)).sum())
