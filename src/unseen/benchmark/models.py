"""A UNet trained on the labelled images, and its scores of the whole pool.

The package's own training and scoring, on files instead of a dataset. Scores are cached, because all
strategies start from the same initial images.
"""

from __future__ import annotations

import json
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
from unseen.benchmark.config import PAPER_STRATEGIES, BenchmarkConfig, Strategy
from unseen.benchmark.files import kept_as, whole_file
from unseen.benchmark.pools import Pool
from unseen.errors import ImageError, TrainingError
from unseen.ranking.image_metrics import pixel_sum
from unseen.ranking.local import LocalScoring
from unseen.ranking.scorer import RawScore, Scorer
from unseen.steps.score_samples import ScoreConfig
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.checkpoints import save_checkpoint
from unseen.unet.network import UNetSpec
from unseen.unet.training import fit_unet
from unseen.unet.unseen_score import ProbabilityMaps, entropy


@dataclass(frozen=True)
class PoolScores:
    """The scores of one UNet; row i is image i, NaN if it cannot be read.

    `columns` has (N,) per image metric, higher = label sooner, `expected_counts` (N, K + 1), examples
    per class with unseen last, and `embedding` (N, D).
    """

    columns: dict[str, np.ndarray]
    classes: tuple[str, ...]  #: (K,) classes that the UNet knows
    #: of S on unlabelled images: pixels in boxes of rare classes against pixels outside their
    #: enlarged boxes; None without any
    pixel_auroc: float | None
    mean_score: float  #: mean S
    seconds: dict[str, float]  #: of training and of scoring


def pool_scores(
    pool: Pool,
    labelled: Sequence[int],
    strategy: Strategy,
    config: BenchmarkConfig,
    *,
    seed: int,
    cache: Path,
) -> PoolScores:
    """Train on the labelled images and score all, or read the cache.

    Raises `TrainingError` if none of the labelled images can be read.
    """
    training = _training(strategy, config, seed)
    key = kept_as([pool.digest, sorted(map(int, labelled)), training.to_dict()])
    path = cache / f"{seed}-unet-{key}.npz"
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            checkpoint = _train(pool, sorted(labelled), training, Path(folder))
            trained = time.perf_counter()
            columns, about = _score(pool, set(labelled), checkpoint, config, training)
        about["seconds"] = {"train_unet": trained - start, "score": time.perf_counter() - trained}
        with whole_file(path) as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {"about": np.asarray(json.dumps(about)), **columns}
            np.savez(file, **arrays)
    with np.load(path) as stored:
        columns = {name: stored[name] for name in stored.files}
    return PoolScores(columns, **json.loads(str(columns.pop("about"))))


def disagreement(
    pool: Pool, labelled: Sequence[int], strategy: Strategy, config: BenchmarkConfig, *, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Disagreement of several UNets: (N,) nats, summed over pixels; and seconds.

    The mutual information of prediction and model: entropy of the mean prediction minus mean entropy
    (BALD: Houlsby et al. 2011; as an ensemble: Beluch et al. 2018).
    """
    members: list[Scorer] = []
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for member in range(config.members):
            training = _training(strategy, config, seed + 7919 * member)
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
        maps = [member.infer(image).maps for member in members]
        mean = ProbabilityMaps(*(torch.stack(of).mean(dim=0) for of in zip(*maps, strict=True)))
        own = torch.stack([entropy(m) for m in maps]).mean(dim=0)
        values[index] = float(pixel_sum((entropy(mean) - own).clamp_min(0))[0]) * native
    return values, {"train_unet": trained - start, "score": time.perf_counter() - trained}


def _training(strategy: Strategy, config: BenchmarkConfig, seed: int) -> TrainUnetConfig:
    settings: dict[str, Any] = {}
    if strategy.name in PAPER_STRATEGIES:
        settings = {"mode": "paper", "paper_loss": strategy.name.rpartition("_")[2]}
    return TrainUnetConfig(steps=config.unet_steps, device=config.device, seed=seed, **settings)


def _train(pool: Pool, labelled: list[int], config: TrainUnetConfig, folder: Path) -> Path:
    """Train and save a checkpoint in the folder."""
    files = [pool.files[i] for i in labelled]
    sides = [min(x2 - x1, y2 - y1) for file in files for x1, y1, x2, y2 in file.xyxy]
    scale = config.working_scale or working_scale(sides, [max(f.width, f.height) for f in files])
    images = ImageStore([f.path for f in files], scale=scale, value_range=pool.value_range)
    files = [files[i] for i in images.kept]
    if not files:
        raise TrainingError(
            f"none of the {len(labelled)} labelled images could be read: "
            f"{next(iter(images.failures.values()))}"
        )
    classes = tuple(sorted({label for file in files for label in file.labels}))
    spec = UNetSpec(config.mode, config.paper_loss, config.channels, classes, images.channels)
    trained = fit_unet(
        images,
        [file.boxes for file in files],
        [file.numbers(classes) for file in files],
        spec=spec,
        config=config,
        scale=scale,
        device=resolve_device(config.device),
    )
    description = {**trained.description, "iteration": 0, "value_range": pool.value_range}
    return save_checkpoint(folder, "unet", trained.model.state_dict(), description)[0]


def _score(
    pool: Pool,
    labelled: set[int],
    checkpoint: Path,
    config: BenchmarkConfig,
    training: TrainUnetConfig,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns of `PoolScores`, and its other attributes but the seconds."""
    settings = ScoreConfig(device=config.device, heatmap_size=0)
    scorer = Scorer(checkpoint, settings)
    pixels = _RarePixels(pool, scorer.scale, training.box_margin)
    left = [i for i in range(len(pool.files)) if i not in labelled]
    options: dict[str, Any] = {
        "quantile": settings.threshold_quantile,
        "region_quantile": settings.region_quantile,
        "batch_size": settings.batch_size,
        "workers": 1,
        "seed": settings.seed,
    }
    columns: dict[str, np.ndarray] = {}
    means: list[float] = []
    # As in `score_samples`, only unlabelled images set the thresholds.
    scoring = LocalScoring(scorer, observe=lambda i, raw: pixels(left[i], raw), **options)
    for places in (left, sorted(labelled)):
        for result in scoring.score([pool.files[i].path for i in places]):
            if result.score is None:
                continue
            values = dict(vars(result.score))
            mean = values.pop("mean_score")
            if places is left:
                means.append(mean)
            for name in values.keys() - {"heatmap", "regions"}:
                row = np.asarray(values[name], dtype=np.float64)
                missing = np.full((len(pool.files), *row.shape), np.nan)
                columns.setdefault(name, missing)[places[result.index]] = row
        scoring = LocalScoring(scorer, thresholds=scoring.thresholds, **options)
    return columns, {
        "classes": tuple(scorer.classes),
        "pixel_auroc": pixels.areas.area(),
        "mean_score": float(np.mean(means)) if means else 0.0,
    }


class _RarePixels:
    """AUROC of the scores it observes: pixels in rare boxes against pixels far from them."""

    def __init__(self, pool: Pool, scale: float, margin: float) -> None:
        self._pool, self._scale, self._margin = pool, scale, margin
        self.areas = StreamingAuroc()
        self._lock = threading.Lock()

    def __call__(self, index: int, raw: RawScore) -> None:
        file = self._pool.files[index]
        boxes = file.boxes[np.asarray([label in self._pool.rare for label in file.labels], bool)]
        height, width = raw.score.shape
        options = {"height": height, "width": width, "scale": self._scale}
        inside = foreground_mask(boxes, margin=0, **options)
        counted = inside | ~foreground_mask(boxes, margin=self._margin, **options)
        with self._lock:
            self.areas.add(raw.score[counted], inside[counted])
