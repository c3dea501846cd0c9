"""Load a UNet once, score images many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.devices import resolve_device
from unseen.arrays.heatmap import heatmap
from unseen.arrays.images import Pixels, read_pixels, resize
from unseen.errors import CheckpointError
from unseen.ranking.image_metrics import (
    alpha_metric,
    excess_metric,
    expected_counts,
    feature_sums,
    pixel_sum,
    pooled,
    threshold_metric,
)
from unseen.ranking.regions import region_strength, shown_regions, unseen_regions
from unseen.unet.checkpoints import load_checkpoint
from unseen.unet.folded import folded
from unseen.unet.inference import Inference, Place, Tile, TileOutput, infer, infer_tile, tiles
from unseen.unet.network import UNet, UNetSpec
from unseen.unet.unseen_score import ProbabilityMaps

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
    mean_score: float
    expected_counts: np.ndarray  #: (K + 1,)
    embedding: np.ndarray  #: (D,)


class PixelSums(NamedTuple):
    """What a tile of some images adds to their `RawScore`."""

    place: Place
    score: np.ndarray  #: (B, h, w) float16
    present: np.ndarray  #: (B, h, w) uint8
    sums: tuple[torch.Tensor, ...]  #: (B, ...) float64 each


@dataclass(frozen=True)
class ImageScore:
    """Everything that is stored for one image; from a cluster the arrays come `packed`."""

    alpha: float
    threshold: float
    excess: float
    entropy: float
    foreground: float
    expected_counts: np.ndarray  #: (K + 1,) examples per class, unseen last
    embedding: np.ndarray | bytes  #: (D,) float32
    heatmap: np.ndarray | bytes | None  #: (h, w) uint8
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
        model = model.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._model = folded(model, config.precision)

    def read(self, path: str) -> Pixels:
        """(h, w, C) shares at working scale; raises `ImageError` if the file cannot be read."""
        pixels = read_pixels(path, channels=self._channels, value_range=self._value_range)
        return resize(pixels, self.scale)

    def tiles(self, images: Sequence[Pixels]) -> Iterator[Tile]:
        """A batch of equally large images as the network takes it, part by part."""
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # (B, C, h, w)
        return tiles(self._model, batch, tile_size=self._config.tile_size)

    def run(self, tile: Tile) -> TileOutput:
        """Run the network on a tile."""
        return infer_tile(self._model, tile, precision=self._config.precision)

    def infer(self, image: Pixels) -> Inference:
        """The network's maps of one image, all of it."""
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        config = self._config
        return infer(self._model, batch, tile_size=config.tile_size, precision=config.precision)

    @torch.inference_mode()
    def sums(self, output: TileOutput, weights: Sequence[np.ndarray | None]) -> PixelSums:
        """What the scores of a batch need of one tile of it.

        The maps of each image are multiplied by its weights (h, w) in [0, 1], of the whole image, or
        by nothing if those are None, before anything is summed.
        """
        place, device = output.place, output.features.device
        unseen = torch.empty(place.shape, device=device)
        present = np.empty(place.shape, np.uint8)
        spread = torch.zeros(len(unseen), dtype=torch.float64, device=device)
        mass = spread.new_zeros(len(unseen), len(self._mean_areas) + 1)
        for images, rows, maps, entropy in output.parts():
            parts = [
                w if w is None else w[place.rows, place.columns][rows]
                for w in weights[place.images][images]
            ]
            if any(part is not None for part in parts):
                whole = np.ones(tuple(entropy.shape[1:]), np.float32)
                stack = np.stack([whole if part is None else part for part in parts])
                weight = torch.from_numpy(stack).to(device)  # (B, h, w)
                entropy = entropy * weight
                maps = ProbabilityMaps(
                    *(m * (weight if m.ndim == 3 else weight[:, None]) for m in maps)
                )
            unseen[images, rows] = maps.unseen
            # One byte: many maps wait until the thresholds are known.
            likely = _array(maps.foreground + maps.unseen)
            present[images, rows] = cv2.convertScaleAbs(
                likely.reshape(len(likely), -1), alpha=255
            ).reshape(likely.shape)
            spread[images] += pixel_sum(entropy)
            mass[images, :-1] += maps.classes.sum(dim=(2, 3))
        mass[:, -1] = pixel_sum(unseen)
        return PixelSums(
            place,
            unseen.half().cpu().numpy(),
            present,
            tuple(
                values.double().cpu()
                for values in (
                    alpha_metric(unseen, self.alpha),
                    spread,
                    mass,
                    *feature_sums(output.features, unseen),
                )
            ),
        )

    def reduce(
        self, tiles: Sequence[PixelSums], weights: Sequence[np.ndarray | None]
    ) -> list[RawScore]:
        """The numbers of each image of a batch, from all of its tiles."""
        native = 1.0 / self.scale**2
        height, width = tiles[-1].place.rows.stop, tiles[-1].place.columns.stop
        scores: list[RawScore] = []
        for place in (t.place for t in tiles if t.place.rows.start == t.place.columns.start == 0):
            same = [tile for tile in tiles if tile.place.images == place.images]
            alpha, spread, mass, weighted, plain = (
                torch.stack(parts).sum(dim=0) for parts in zip(*(t.sums for t in same), strict=True)
            )
            columns = (
                _joined([(t, t.score) for t in same], height, width),
                _joined([(t, t.present) for t in same], height, width),
                [w if w is None else w > 0 for w in weights[place.images]],
                (alpha * native).tolist(),
                (spread * native).tolist(),
                (mass[:, :-1].sum(dim=1) * native).tolist(),
                (mass[:, -1] / (height * width)).tolist(),
                _array(expected_counts(mass, self._mean_areas)),
                _array(pooled(weighted, plain)),
            )
            scores += [RawScore(*row) for row in zip(*columns, strict=True)]
        return scores

    def finish(self, raw: RawScore, thresholds: Thresholds) -> ImageScore:
        """Metrics that need a threshold, regions and heatmap."""
        config = self._config
        native = 1.0 / self.scale**2
        height, width = raw.score.shape
        regions = unseen_regions(raw.score, thresholds.region, present=raw.present)
        shown = shown_regions(regions, config.max_regions)
        boxes = xyxy_to_rel_xywh(shown.xyxy, width, height)
        size = config.heatmap_size
        return ImageScore(
            alpha=raw.alpha,
            threshold=threshold_metric(raw.score, thresholds.metric) * native,
            excess=excess_metric(raw.score, thresholds.metric) * native,
            entropy=raw.entropy,
            foreground=raw.foreground,
            expected_counts=raw.expected_counts,
            embedding=raw.embedding,
            heatmap=heatmap(raw.score, thresholds.heatmap, size) if size else None,
            regions=[
                (float(x), float(y), float(w), float(h), float(s))
                for (x, y, w, h), s in zip(boxes, shown.confidence, strict=True)
            ],
            mean_score=raw.mean_score,
            region_strength=region_strength(regions.score, thresholds.region),
        )


def _joined(tiles: Sequence[tuple[PixelSums, np.ndarray]], height: int, width: int) -> np.ndarray:
    if len(tiles) == 1:
        return tiles[0][1]
    values = tiles[0][1]
    whole = np.empty((len(values), height, width), values.dtype)
    for tile, values in tiles:
        whole[:, tile.place.rows, tile.place.columns] = values
    return whole


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
