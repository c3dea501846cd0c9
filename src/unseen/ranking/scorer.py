"""Load a UNet once, score images many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.devices import resolve_device
from unseen.arrays.heatmap import heatmap
from unseen.arrays.images import as_float, read_pixels, resize
from unseen.errors import CheckpointError
from unseen.ranking.image_metrics import (
    alpha_metric,
    excess_metric,
    expected_counts,
    pixel_sum,
    pooled_features,
    threshold_metric,
)
from unseen.ranking.regions import region_strength, shown_regions, unseen_regions
from unseen.unet.checkpoints import load_checkpoint
from unseen.unet.inference import Inference, infer
from unseen.unet.network import UNet, UNetSpec
from unseen.unet.unseen_score import entropy

if TYPE_CHECKING:
    from unseen.steps.score_samples import ScoreConfig


@dataclass(frozen=True)
class Thresholds:
    """What the whole pool decides before single images can be finished."""

    metric: float  #: t of the threshold and excess metrics
    region: float  #: pixels above it form regions
    heatmap: float  #: unseen score that is shown at full strength


@dataclass(frozen=True)
class RawScore:
    """What the network says about one image; everything that needs no threshold is final.

    Areas are in native px: sums over pixels are divided by the squared working scale.
    """

    score: np.ndarray  #: (h, w) float16 unseen score at working scale, weighted
    present: np.ndarray  #: (h, w) uint8, 255 x the probability of anything but background, weighted
    counted: np.ndarray | None  #: (h, w) bool: pixels that weigh anything; None = all
    alpha: float
    entropy: float
    foreground: float
    expected_counts: np.ndarray  #: (K + 1,)
    embedding: np.ndarray  #: (D,)


@dataclass(frozen=True)
class ImageScore:
    """Everything that is stored for one image."""

    alpha: float
    threshold: float
    excess: float
    entropy: float
    foreground: float
    expected_counts: np.ndarray  #: (K + 1,) examples per class, unseen last
    embedding: np.ndarray  #: (D,) float32
    heatmap: np.ndarray | None  #: (h, w) uint8
    regions: list[tuple[float, float, float, float, float]]  #: relative x, y, w, h, confidence
    mean_score: float
    region_strength: float  #: of all regions, also those that are not shown


class Scorer:
    """A trained UNet with the parameters of scoring.

    `classes` are those that it tells apart, none in the paper mode; `scale` is the working scale,
    and `alpha`, the exponent of the alpha metric, may be changed before anything is scored.
    """

    def __init__(
        self, checkpoint: str | Path, config: ScoreConfig, *, digest: str | None = None
    ) -> None:
        """Load the checkpoint; raises `CheckpointError` if it, or its `digest`, is wrong."""
        weights, description = load_checkpoint(checkpoint, kind="unet", digest=digest)
        try:
            spec = UNetSpec.from_dict(description["spec"])
            self.scale = float(description["scale"])
            stored = description.get("value_range")
            self._value_range = (float(stored[0]), float(stored[1])) if stored else None
            self._mean_areas = [float(a) for a in description["mean_areas"]]
            model = UNet(spec)
            model.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint}: weights and description do not fit each other ({error}); train again"
            ) from error
        self.path = str(checkpoint)
        self.digest: str = description["digest"]
        self.classes = [] if spec.is_paper else list(spec.classes)
        self.device = resolve_device(config.device)
        self.alpha = config.alpha
        self._config = config
        self._channels = spec.in_channels
        # torch's types know the memory format of tensors only, not that of modules.
        self._model = model.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def read(self, path: str) -> np.ndarray:
        """(h, w, C) float32 at working scale; raises `ImageError` if the file cannot be read."""
        pixels = read_pixels(path, channels=self._channels, value_range=self._value_range)
        return as_float(resize(pixels, self.scale))

    def infer(self, images: Sequence[np.ndarray]) -> Inference:
        """The network's maps of a batch of equally large images."""
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # (B, C, h, w)
        config = self._config
        return infer(self._model, batch, tile_size=config.tile_size, precision=config.precision)

    @torch.inference_mode()
    def reduce(
        self,
        inference: Inference,
        images: Sequence[np.ndarray],
        weights: Sequence[np.ndarray | None] | None = None,
    ) -> list[RawScore]:
        """The numbers of each image of a batch; apart from `infer`, so that both can overlap.

        The maps of each image (h, w, C) are multiplied by its weights (h, w) in [0, 1], or by
        nothing if those are None, before anything is summed.
        """
        maps = inference.maps
        unseen, foreground, classes = maps.unseen, maps.foreground, maps.classes
        spread = entropy(maps)
        if weights is not None and any(w is not None for w in weights):
            whole = np.ones(tuple(unseen.shape[1:]), np.float32)
            stack = np.stack([whole if w is None else w for w in weights])
            weight = torch.from_numpy(stack).to(unseen.device)  # (B, h, w)
            unseen, foreground, spread = unseen * weight, foreground * weight, spread * weight
            classes = classes * weight[:, None]
        native = 1.0 / self.scale**2
        # One byte: many maps wait until the thresholds are known.
        present = (_array(foreground + unseen).clip(0, 1) * 255).round().astype(np.uint8)
        counted = [None if w is None else w > 0 for w in weights or [None] * len(images)]
        columns = (
            unseen.half().cpu().numpy(),
            present,
            counted,
            _array(alpha_metric(unseen, self.alpha) * native).tolist(),
            _array(pixel_sum(spread) * native).tolist(),
            _array(pixel_sum(foreground) * native).tolist(),
            _array(expected_counts(classes, unseen, self._mean_areas)),
            _array(pooled_features(inference.features, unseen)),
        )
        return [RawScore(*row) for row in zip(*columns, strict=True)]

    def finish(self, raw: RawScore, thresholds: Thresholds) -> ImageScore:
        """Metrics that need a threshold, regions and heatmap."""
        config = self._config
        score = raw.score.astype(np.float32)
        native = 1.0 / self.scale**2
        tensor = torch.from_numpy(score)[None]
        height, width = score.shape
        present = raw.present.astype(np.float32) / np.float32(255)
        regions = unseen_regions(score, thresholds.region, present=present)
        shown = shown_regions(regions, config.max_regions)
        boxes = xyxy_to_rel_xywh(shown.xyxy, width, height)
        size = config.heatmap_size
        return ImageScore(
            alpha=raw.alpha,
            threshold=float(threshold_metric(tensor, thresholds.metric)) * native,
            excess=float(excess_metric(tensor, thresholds.metric)) * native,
            entropy=raw.entropy,
            foreground=raw.foreground,
            expected_counts=raw.expected_counts,
            embedding=raw.embedding,
            heatmap=heatmap(score, thresholds.heatmap, size) if size else None,
            regions=[
                (float(x), float(y), float(w), float(h), float(s))
                for (x, y, w, h), s in zip(boxes, shown.confidence, strict=True)
            ],
            mean_score=float(score.mean()),
            region_strength=region_strength(regions.score, thresholds.region),
        )


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
