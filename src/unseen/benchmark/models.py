"""A UNet trained on the labelled images, and what it says about every image of the pool.

Training and scoring are those of the package, on files. What several strategies need - the UNet of the
initial images - is computed once and kept on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unseen.arrays.auroc import StreamingAuroc
from unseen.arrays.devices import resolve_device
from unseen.arrays.image_store import ImageStore
from unseen.arrays.masks import foreground_mask
from unseen.arrays.scale import working_scale
from unseen.benchmark.cases import LabelledFile
from unseen.benchmark.config import BenchmarkConfig
from unseen.benchmark.pools import Pool
from unseen.errors import ImageError, TrainingError
from unseen.ranking.image_metrics import entropy_metric
from unseen.ranking.local import LocalScoring
from unseen.ranking.scorer import RawScore, Scorer
from unseen.steps.score_samples import ScoreConfig
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.checkpoints import save_checkpoint
from unseen.unet.network import UNetSpec
from unseen.unet.training import fit_unet
from unseen.unet.unseen_score import ProbabilityMaps, entropy


@dataclass(frozen=True)
class UnetVariant:
    """How a UNet is trained.

    Attributes:
        mode: "recommended", "paper_mse" or "paper_bce".
        near_misses: trained on near misses as well.
        member: number within an ensemble; each has a seed of its own.
    """

    mode: str = "recommended"
    near_misses: bool = False
    member: int = 0

    def training(self, config: BenchmarkConfig, seed: int) -> TrainUnetConfig:
        """The parameters of `train_unet`."""
        settings: dict[str, Any] = {
            "steps": config.unet_steps,
            "device": config.device,
            "seed": seed + 7919 * self.member,
        }
        if self.mode != "recommended":
            settings |= {"mode": "paper", "paper_loss": self.mode.rpartition("_")[2]}
        else:
            settings["near_misses"] = self.near_misses
        return TrainUnetConfig(**settings)

    @property
    def name(self) -> str:
        """For file names."""
        return f"{self.mode}{'-near' if self.near_misses else ''}-{self.member}"


@dataclass(frozen=True)
class PoolScores:
    """What one UNet says about the whole pool; row i is image i of the pool.

    Attributes:
        metrics: name -> (N,) image metrics, higher = label sooner; NaN for unreadable images.
        counts: (N, K + 1) expected examples per class, unseen last.
        embeddings: (N, D).
        classes: (K,) classes that the UNet knows.
        pixel_auroc: of S on pixels of rare boxes of unlabelled images against all outside of their
            enlarged boxes; None where there are none.
        mean_score: mean S.
        seconds: of training and of scoring.
    """

    metrics: dict[str, np.ndarray]
    counts: np.ndarray
    embeddings: np.ndarray
    classes: tuple[str, ...]
    pixel_auroc: float | None
    mean_score: float
    seconds: dict[str, float]


def pool_scores(
    pool: Pool,
    labelled: Sequence[int],
    variant: UnetVariant,
    config: BenchmarkConfig,
    *,
    seed: int,
    cache: Path,
) -> PoolScores:
    """Train on the labelled images and score all, or read what an earlier run found.

    Raises:
        TrainingError: none of the labelled images could be read.
    """
    training = variant.training(config, seed)
    key = json.dumps([sorted(map(int, labelled)), training.to_dict()], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache / f"{seed}-{variant.name}-{name}.npz"
    if path.is_file():
        return _read(path)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        checkpoint = _train(pool, sorted(labelled), training, Path(folder))
        trained = time.perf_counter()
        scores = _score(pool, set(labelled), checkpoint, config, training)
    seconds = {"train_unet": trained - start, "score": time.perf_counter() - trained}
    found = PoolScores(**scores, seconds=seconds)
    _write(found, path)
    return found


def disagreement(
    pool: Pool, labelled: Sequence[int], config: BenchmarkConfig, *, near_misses: bool, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """How much several UNets differ on each image: (N,) nats, summed over pixels, and seconds.

    The mutual information between prediction and model, the entropy of the mean prediction minus the
    mean entropy (Houlsby et al. 2011; as an ensemble: Beluch et al. 2018).
    """
    members: list[Scorer] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for member in range(config.members):
            training = UnetVariant(near_misses=near_misses, member=member).training(config, seed)
            checkpoint = _train(pool, sorted(labelled), training, Path(folder))
            members.append(Scorer(checkpoint, ScoreConfig(device=config.device)))
    trained = time.perf_counter()
    native = 1 / members[0].scale ** 2
    values = np.full(len(pool.files), np.nan)
    for index, file in enumerate(pool.files):
        try:
            image = members[0].read(file.path)
        except ImageError:
            continue
        maps = [member.infer([image]).maps for member in members]
        mean = ProbabilityMaps(*(torch.stack(of).mean(dim=0) for of in zip(*maps, strict=True)))
        own = torch.stack([entropy(m) for m in maps]).mean(dim=0)
        values[index] = float(entropy_metric((entropy(mean) - own).clamp_min(0))[0]) * native
    seconds = {"train_unet": trained - start, "score": time.perf_counter() - trained}
    return values, seconds


def _boxes(file: LabelledFile) -> np.ndarray:
    return np.asarray(file.xyxy, np.float32).reshape(-1, 4)


def _train(pool: Pool, labelled: list[int], config: TrainUnetConfig, folder: Path) -> Path:
    files = [pool.files[i] for i in labelled]
    sides = [min(x2 - x1, y2 - y1) for file in files for x1, y1, x2, y2 in file.xyxy]
    scale = config.working_scale or working_scale(sides, [max(f.width, f.height) for f in files])
    images = ImageStore([file.path for file in files], scale=scale)
    files = [files[i] for i in images.kept]
    if not files:
        raise TrainingError(
            f"none of the {len(labelled)} labelled images could be read: "
            f"{next(iter(images.failures.values()))}"
        )
    classes = tuple(sorted({label for file in files for label in file.labels}))  # as train_unet
    spec = UNetSpec(config.mode, config.paper_loss, config.channels, classes, images.channels)
    trained = fit_unet(
        images,
        [_boxes(file) for file in files],
        [np.asarray([classes.index(n) for n in file.labels], np.int64) for file in files],
        spec=spec,
        config=config,
        scale=scale,
        device=resolve_device(config.device),
    )
    description = {
        "kind": "unet",
        "spec": spec.to_dict(),
        "scale": scale,
        "mean_areas": [float(a) for a in trained.mean_areas],
        "iteration": 0,
    }
    return save_checkpoint(folder, "unet", trained.model.state_dict(), description)[0]


def _score(
    pool: Pool,
    labelled: set[int],
    checkpoint: Path,
    config: BenchmarkConfig,
    training: TrainUnetConfig,
) -> dict[str, Any]:
    settings = ScoreConfig(device=config.device, heatmap_size=0)
    scorer = Scorer(checkpoint, settings)
    pixels = _RarePixels(pool, scorer.scale, training.box_margin)
    options: dict[str, Any] = {
        "quantile": settings.threshold_quantile,
        "region_quantile": settings.region_quantile,
        "batch_size": settings.batch_size,
        "workers": config.threads,
        "seed": settings.seed,
    }
    count = len(pool.files)
    left = [i for i in range(count) if i not in labelled]
    columns: dict[str, np.ndarray] = {}
    means: list[float] = []
    # What is labelled has no say in the thresholds, as in `score_samples`; peers need its vectors.
    scoring = LocalScoring(scorer, observe=lambda i, raw: pixels(left[i], raw), **options)
    for places in (left, sorted(labelled)):
        for result in scoring.score([pool.files[i].path for i in places]):
            if result.score is None:
                continue
            if places is left:
                means.append(result.score.mean_score)
            for name, value in vars(result.score).items():
                if name in ("heatmap", "regions", "mean_score"):
                    continue
                row = np.asarray(value, dtype=np.float64)
                column = columns.setdefault(name, np.full((count, *row.shape), np.nan))
                column[places[result.index]] = row
        scoring = LocalScoring(scorer, thresholds=scoring.thresholds, **options)
    counts, embeddings = columns.pop("expected_counts"), columns.pop("embedding")
    return {
        "metrics": columns,
        "counts": counts,
        "embeddings": embeddings,
        "classes": tuple(scorer.classes),
        "pixel_auroc": pixels.area(),
        "mean_score": float(np.mean(means)) if means else 0.0,
    }


class _RarePixels:
    """Listens to the scores and counts pixels of rare boxes against pixels far from them."""

    def __init__(self, pool: Pool, scale: float, margin: float) -> None:
        self._pool = pool
        self._scale, self._margin = scale, margin
        self._areas = StreamingAuroc()
        self._lock = threading.Lock()

    def __call__(self, index: int, raw: RawScore) -> None:
        file = self._pool.files[index]
        is_rare = np.asarray([label in self._pool.rare for label in file.labels], bool)
        boxes = _boxes(file)[is_rare]
        height, width = raw.score.shape
        options = {"height": height, "width": width, "scale": self._scale}
        inside = foreground_mask(boxes, margin=0, **options)
        counted = inside | ~foreground_mask(boxes, margin=self._margin, **options)
        with self._lock:
            self._areas.add(raw.score[counted], inside[counted])

    def area(self) -> float | None:
        with self._lock:
            return self._areas.area()


def _write(scores: PoolScores, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "classes": scores.classes,
        "pixel_auroc": scores.pixel_auroc,
        "mean_score": scores.mean_score,
        "seconds": scores.seconds,
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    arrays: dict[str, Any] = {f"metric_{name}": row for name, row in scores.metrics.items()}
    arrays |= {"counts": scores.counts, "embeddings": scores.embeddings}
    with temporary.open("wb") as file:
        np.savez(file, about=np.asarray(json.dumps(about)), **arrays)
    temporary.replace(path)


def _read(path: Path) -> PoolScores:
    with np.load(path) as stored:
        about = json.loads(str(stored["about"]))
        metrics = {n[7:]: stored[n] for n in stored.files if n.startswith("metric_")}
        return PoolScores(
            metrics=metrics,
            counts=stored["counts"],
            embeddings=stored["embeddings"],
            classes=tuple(about["classes"]),
            pixel_auroc=about["pixel_auroc"],
            mean_score=about["mean_score"],
            seconds=about["seconds"],
        )
