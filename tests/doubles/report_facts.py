"""A loop with round numbers, and ranked batches of real generated wafers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from unseen.benchmark.synthetic.dataset import generate
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


def wafer_loop() -> list[IterationSummary]:
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


@pytest.fixture
def loop() -> list[IterationSummary]:
    return wafer_loop()


def wafer_batches(folder: Path, per_batch: int = 10, batches: int = 2) -> list[BatchPicture]:
    """Ranked batches over generated wafers; the heatmap is strong on rare marks, as S should be."""
    rng = np.random.default_rng(7)
    images = generate("bare", per_batch * batches, seed=7, size=256, start=90)
    found = []
    for i, image in enumerate(images):
        path = folder / f"wafer_{i:03d}.png"
        Image.fromarray(image.pixels).save(path)
        height, width = image.pixels.shape
        relative = image.xyxy / [width, height, width, height]
        boxes = [(tuple(map(float, b)), n) for b, n in zip(relative, image.labels, strict=True)]
        heatmap, regions = _heatmap(boxes, rng)
        found.append(
            BatchPicture(
                batch=f"batch_{i // per_batch + 1:02d}",
                iteration=i // per_batch + 1,
                rank=i % per_batch + 1,
                filepath=str(path),
                metric_name="excess",
                metric_value=float(heatmap.mean()),
                heatmap=heatmap,
                full_scale=0.12,
                regions=regions,
                boxes=boxes,
            )
        )
    found.sort(key=lambda p: (p.iteration, -p.metric_value))
    return [replace(p, rank=i % per_batch + 1) for i, p in enumerate(found)]


def _heatmap(boxes, rng: np.random.Generator):
    """A map like that of a UNet: specks everywhere, blobs on what is not a particle."""
    score = gaussian_filter(np.maximum(0, rng.normal(0, 0.3, (96, 96))), 1.0) * 0.12
    ys, xs = np.mgrid[0:96, 0:96] / 96
    regions = []
    for (x1, y1, x2, y2), label in boxes:
        strength = 0.02 if label == "particle" else rng.uniform(0.07, 0.13)
        x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, 0.02), max(y2 - y1, 0.02)
        blob = np.exp(-4 * (((xs - x) / w) ** 2 + ((ys - y) / h) ** 2))
        score += strength * blob * rng.uniform(0.6, 1.0, blob.shape)
        if label != "particle":
            shrunk = (x - 0.38 * w, y - 0.38 * h, x + 0.38 * w, y + 0.38 * h)
            regions.append((tuple(map(float, shrunk)), strength))
    heatmap = np.clip(score / 0.12 * 255, 0, 255).astype(np.uint8)
    return heatmap, sorted(regions, key=lambda r: -r[1])
