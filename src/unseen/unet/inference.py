"""Images -> probability maps, fully convolutional, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
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


@dataclass(frozen=True)
class Inference:
    """What the UNet says about a batch of images; tensors on the model's device.

    Attributes:
        maps: (B, H, W) and (B, K, H, W) float32, at the size of the images.
        features: (B, D, h, w) float32, one vector per `stride` x `stride` px, starting top left.
    """

    maps: ProbabilityMaps
    features: Tensor


class _Tile(NamedTuple):
    """What is computed, and which part of it is kept; px along one axis."""

    start: int
    stop: int
    kept_from: int
    kept_to: int


@torch.inference_mode()
def infer(
    model: UNet, images: Tensor, *, tile_size: int = 1536, precision: str = "auto"
) -> Inference:
    """Compute the maps of a batch of equally large images.

    Each image is first given the training images' level, without gradient (`evened`), as they were.
    Sizes are padded by reflection to multiples of the network's stride, and cut off again. Beyond
    `tile_size` the image is computed in tiles that overlap by the receptive field on each side;
    only their centres are kept, so the result is the same as in one piece. At most tile_size^2 px
    pass through the network at a time.

    Args:
        model: in eval mode (batch normalisation must not see the batch).
        images: (B, C, H, W) float32 in [0, 1].
        tile_size: longest side computed in one piece, px. Less than four receptive-field radii is
            taken as that, because almost all of a smaller tile would be overlap.
        precision: "auto", "bf16" or "fp32".

    Raises:
        ShapeError: images have another shape, or no pixels.
    """
    if images.ndim != 4 or images.shape[1] != model.spec.in_channels or not images[:1].numel():
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; expected (B, {model.spec.in_channels}, H, W)"
            " with B, H and W > 0"
        )
    height, width = images.shape[2:]
    stride = model.stride
    padded = _pad(evened(images, model.mean.to(images.device)), stride)
    limit = max(tile_size, 4 * model.halo)
    rows = list(_tiles(padded.shape[2], limit, model.halo, stride))
    columns = list(_tiles(padded.shape[3], limit, model.halo, stride))
    area = max(r.stop - r.start for r in rows) * max(c.stop - c.start for c in columns)
    together = max(1, limit * limit // area)
    batches = [
        _infer_tiled(model, batch, rows, columns, precision)
        for batch in torch.split(padded, together)
    ]
    maps = (torch.cat(parts) for parts in zip(*(maps for maps, _ in batches), strict=True))
    cropped = ProbabilityMaps(*(m[..., :height, :width] for m in maps))
    return Inference(cropped, torch.cat([features for _, features in batches]))


def _infer_tiled(
    model: UNet, images: Tensor, rows: list[_Tile], columns: list[_Tile], precision: str
) -> tuple[ProbabilityMaps, Tensor]:
    strips = []
    for row in rows:
        parts = [_infer_tile(model, images, row, column, precision) for column in columns]
        strips.append(_joined(parts, dim=-1))
    return _joined(strips, dim=-2)


def _infer_tile(
    model: UNet, images: Tensor, row: _Tile, column: _Tile, precision: str
) -> tuple[ProbabilityMaps, Tensor]:
    device = model.mean.device
    tile = images[:, :, row.start : row.stop, column.start : column.stop].to(device)
    with autocast(precision, device):
        output = model(tile.contiguous(memory_format=torch.channels_last))
    maps = probability_maps(output.logits, model.spec)
    kept = ProbabilityMaps(*(_centre(m, row, column, 1) for m in maps))
    return kept, _centre(output.features, row, column, model.stride)


def _centre(values: Tensor, row: _Tile, column: _Tile, stride: int) -> Tensor:
    top, bottom = row.kept_from - row.start, row.kept_to - row.start
    left, right = column.kept_from - column.start, column.kept_to - column.start
    return values[..., top // stride : bottom // stride, left // stride : right // stride]


def _joined(
    parts: list[tuple[ProbabilityMaps, Tensor]], dim: int
) -> tuple[ProbabilityMaps, Tensor]:
    if len(parts) == 1:
        return parts[0]
    maps = ProbabilityMaps(
        *(torch.cat(same, dim) for same in zip(*(maps for maps, _ in parts), strict=True))
    )
    return maps, torch.cat([features for _, features in parts], dim)


def _tiles(size: int, limit: int, halo: int, stride: int) -> Iterator[_Tile]:
    """Cover [0, size) with tiles of at most `limit`; all numbers but `limit` divide by `stride`."""
    if size <= limit:
        yield _Tile(0, size, 0, size)
        return
    core = (limit - 2 * halo) // stride * stride
    for kept_from in range(0, size, core):
        kept_to = min(kept_from + core, size)
        yield _Tile(max(0, kept_from - halo), min(size, kept_to + halo), kept_from, kept_to)


def _pad(images: Tensor, stride: int) -> Tensor:
    for dim in (2, 3):
        size = images.shape[dim]
        padded = -(-size // stride) * stride
        if padded != size:
            indices = torch.from_numpy(np.pad(np.arange(size), (0, padded - size), "symmetric")).to(
                images.device
            )
            images = images.index_select(dim, indices)
    return images
