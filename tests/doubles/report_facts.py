"""A loop with round numbers, and ranked batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.loop.curves import ClassMetrics, IterationSummary
from unseen.report.pictures import BatchPicture

CLASSES = ["particle", "scratch", "stain"]
SUPPORT = {"particle": 350, "scratch": 22, "stain": 9}
FACTS = {
    "iou": 0.5,
    "min_confidence": 0.5,
    "test_images": 60,
    "seed": 51,
    "mean unseen score": 0.0131,
}


def metrics(f1: float, support: int = 30, precision: float = 0.5, recall: float = 0.5):
    return ClassMetrics(precision=precision, recall=recall, f1=f1, support=support, ap=f1 * 0.9)


def point(
    series: str,
    strategy: str,
    iteration: int,
    f1: dict[str, float] | None,
    counts: dict[str, int],
    images: int | None = None,
) -> IterationSummary:
    """One iteration with 10 images per batch; `f1` None means that no detector was evaluated."""
    per_class = f1 and {c: metrics(v, SUPPORT.get(c, 30)) for c, v in f1.items()}
    mean = float(np.mean(list(f1.values()))) if f1 else None
    return IterationSummary(
        series=series,
        strategy=strategy,
        iteration=iteration,
        images=10 * (iteration + 1) if images is None else images,
        boxes=sum(counts.values()),
        class_counts=counts,
        schedule="600 steps",
        architecture="small",
        pretrained=False,
        per_class=per_class or None,
        macro_f1=mean,
        mean_ap=None if mean is None else 0.9 * mean,
        seconds={"train_unet": 9.1, "score_samples": 8.2, "train_detector": 160.0 + iteration},
    )


def counted(particle: int, scratch: int, stain: int) -> dict[str, int]:
    return {"particle": particle, "scratch": scratch, "stain": stain}


def scored(particle: float, scratch: float, stain: float) -> dict[str, float]:
    return {"particle": particle, "scratch": scratch, "stain": stain}


@pytest.fixture
def loop() -> list[IterationSummary]:
    """A loop whose ranking won; the baselines share iteration 0 and do not repeat it."""
    return [
        point("", "diverse", 0, scored(0.61, 0.28, 0.0), counted(58, 4, 0)),
        point("", "diverse", 1, scored(0.72, 0.49, 0.41), counted(131, 13, 7)),
        point("", "diverse", 2, scored(0.76, 0.66, 0.62), counted(196, 22, 12)),
        point("sequential", "sequential", 1, scored(0.66, 0.31, 0.0), counted(115, 7, 0)),
        point("sequential", "sequential", 2, scored(0.70, 0.32, 0.0), counted(174, 10, 0)),
        point("random", "random", 1, scored(0.65, 0.33, 0.0), counted(118, 8, 0)),
        point("random", "random", 2, scored(0.73, 0.38, 0.03), counted(180, 11, 2)),
    ]


def full_set() -> IterationSummary:
    return point("full", "full", 0, scored(0.81, 0.63, 0.58), counted(1170, 68, 22), images=200)


def ranked_batches(folder: Path, per_batch: int) -> list[BatchPicture]:
    """Two ranked batches of one grey image, with a heatmap, a region and a box."""
    path = folder / "wafer.png"
    Image.new("L", (64, 64), 128).save(path)
    shown = {
        "filepath": str(path),
        "metric_name": "excess",
        "metric_value": 0.1,
        "heatmap": np.arange(256, dtype=np.uint8).reshape(16, 16),
        "full_scale": 0.12,
        "regions": [((0.2, 0.2, 0.6, 0.6), 0.1)],
        "boxes": [((0.1, 0.1, 0.7, 0.7), "stain")],
    }
    return [
        BatchPicture(batch=f"batch_{number:02d}", iteration=number, rank=rank + 1, **shown)
        for number in (1, 2)
        for rank in range(per_batch)
    ]
