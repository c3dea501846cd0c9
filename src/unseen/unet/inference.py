"""Images -> probability maps, fully convolutional, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unseen.arrays.devices import autocast
from unseen.arrays.illumination import evened
from unseen.errors import ShapeError
from unseen.unet.network import UNet
from unseen.unet.unseen_score import ProbabilityMaps, probability_maps

#: Pixels of an image whose deepest layers PyTorch takes to be small.
SMALL = 512 * 512


@dataclass(frozen=True)
class Inference:
    """The UNet's output for a batch of images, on the model's device."""

    maps: ProbabilityMaps  #: at the size of the images
    features: Tensor  #: (B, D, h, w) float32, one vector per `stride` x `stride` px, from top left


class _Tile(NamedTuple):
    """The computed and the kept part of a tile along one axis, px."""

    start: int
    stop: int
    kept_from: int
    kept_to: int

    def kept(self, stride: int = 1) -> slice:
        """The kept part in cells of `stride` px from the tile's start."""
        return slice((self.kept_from - self.start) // stride, (self.kept_to - self.start) // stride)


@torch.inference_mode()
def infer(
    model: UNet, images: Tensor, *, tile_size: int = 1536, precision: str = "auto"
) -> Inference:
    """Compute the maps of (B, C, H, W) float32 images in [0, 1] with a model in eval mode.

    As in training, each image is first levelled (`evened`). Sizes are padded by reflection to
    multiples of the stride and cut off again. An image larger than `tile_size` px (at least four
    receptive-field radii) is computed in tiles that overlap by the receptive field; only their
    centres are kept, so the result is the same as in one piece. At most tile_size^2 px pass through
    the network at a time. Raises `ShapeError` for another shape, or images without pixels.
    """
    if images.ndim != 4 or images.shape[1] != model.spec.in_channels or not images[:1].numel():
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; expected (B, {model.spec.in_channels}, H, W)"
            " with B, H and W > 0"
        )
    height, width = images.shape[2:]
    padded = _pad(evened(images, model.mean.to(images.device)), model.stride)
    limit = max(tile_size, 4 * model.halo)
    rows, columns = (_tiles(side, limit, model.halo, model.stride) for side in padded.shape[2:])
    area = max(r.stop - r.start for r in rows) * max(c.stop - c.start for c in columns)
    together = max(1, limit * limit // area)
    batches = []
    for batch in torch.split(padded, together):
        strips = [
            _join([_infer_tile(model, batch, row, column, precision) for column in columns], -1)
            for row in rows
        ]
        batches.append(_join(strips, -2))
    *maps, features = _join(batches, 0)
    return Inference(ProbabilityMaps(*(m[..., :height, :width] for m in maps)), features)


def _infer_tile(
    model: UNet, images: Tensor, row: _Tile, column: _Tile, precision: str
) -> tuple[Tensor, ...]:
    """Background, classes, unseen and features of the kept part of a tile."""
    device = model.mean.device
    tile = images[:, :, row.start : row.stop, column.start : column.stop].to(device)
    # PyTorch computes one small image alone with another kernel. As one of two it gets the same bits
    # as in any batch, so that results do not depend on how images were grouped.
    is_alone = len(tile) == 1 and tile[0, 0].numel() < SMALL
    pair = tile.expand(2, -1, -1, -1) if is_alone else tile
    with autocast(precision, device):
        output = model(pair.contiguous(memory_format=torch.channels_last))
    maps = (m[..., row.kept(), column.kept()] for m in probability_maps(output.logits, model.spec))
    stride = model.stride
    parts = (*maps, output.features[..., row.kept(stride), column.kept(stride)])
    return tuple(part[: len(tile)] for part in parts)


def _join(parts: list[tuple[Tensor, ...]], dim: int) -> tuple[Tensor, ...]:
    if len(parts) == 1:
        return parts[0]
    return tuple(torch.cat(same, dim) for same in zip(*parts, strict=True))


def _tiles(size: int, limit: int, halo: int, stride: int) -> list[_Tile]:
    """Cover [0, size) with tiles of at most `limit`; all numbers but `limit` divide by `stride`."""
    if size <= limit:
        return [_Tile(0, size, 0, size)]
    core = (limit - 2 * halo) // stride * stride
    ends = ((start, min(start + core, size)) for start in range(0, size, core))
    return [_Tile(max(0, a - halo), min(size, b + halo), a, b) for a, b in ends]


def _pad(images: Tensor, stride: int) -> Tensor:
    for dim in (2, 3):
        size = images.shape[dim]
        if extra := -size % stride:
            # Not F.pad: a small image is reflected more than once.
            indices = np.pad(np.arange(size), (0, extra), "symmetric")
            images = images.index_select(dim, torch.from_numpy(indices).to(images.device))
    return images
