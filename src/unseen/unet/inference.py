"""Images -> probability maps, fully convolutional, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unseen.arrays.devices import autocast
from unseen.arrays.illumination import fit_plane, plane_at, positions, shares
from unseen.errors import ShapeError
from unseen.unet.folded import FoldedUNet
from unseen.unet.network import UNet
from unseen.unet.unseen_score import ProbabilityMaps, probability_maps

#: Pixels of an image whose deepest layers PyTorch takes to be small.
SMALL = 512 * 512


@dataclass(frozen=True)
class Inference:
    """The UNet's output for a part of a batch of images, on the model's device."""

    maps: ProbabilityMaps  #: of these images, rows and columns
    features: Tensor  #: (B, D, h, w) float32, one vector per `stride` x `stride` px, from top left
    images: slice
    rows: slice
    columns: slice


class _Tile(NamedTuple):
    """The computed and the kept part of a tile along one axis, px."""

    start: int
    stop: int
    kept_from: int
    kept_to: int

    def kept(self, stride: int = 1) -> slice:
        """The kept part in cells of `stride` px from the tile's start."""
        return slice((self.kept_from - self.start) // stride, (self.kept_to - self.start) // stride)


def infer(
    model: UNet | FoldedUNet, images: Tensor, *, tile_size: int = 1536, precision: str = "auto"
) -> Inference:
    """The maps of whole images in one; see `infer_tiles`, which needs less memory."""
    parts = list(infer_tiles(model, images, tile_size=tile_size, precision=precision))
    if len(parts) == 1:
        return parts[0]
    count, (height, width) = len(images), images.shape[2:]
    stride = model.stride
    cells = -(-height // stride), -(-width // stride)
    first = (*parts[0].maps, parts[0].features)
    joined = [
        part.new_empty(
            (count, *part.shape[1:-2], *(cells if part is first[-1] else (height, width)))
        )
        for part in first
    ]
    for part in parts:
        corner = part.rows.start // stride, part.columns.start // stride
        rows, columns = (
            slice(a, a + side) for a, side in zip(corner, part.features.shape[2:], strict=True)
        )
        for whole, values in zip(joined[:-1], part.maps, strict=True):
            whole[part.images, ..., part.rows, part.columns] = values
        joined[-1][part.images, ..., rows, columns] = part.features
    *maps, features = joined
    everything = slice(0, count), slice(0, height), slice(0, width)
    return Inference(ProbabilityMaps(*maps), features, *everything)


def infer_tiles(
    model: UNet | FoldedUNet, images: Tensor, *, tile_size: int = 1536, precision: str = "auto"
) -> Iterator[Inference]:
    """Compute the maps of (B, C, H, W) images, float32 in [0, 1] or integer `shares`, in tiles.

    The model is in eval mode. As in training, each image is first levelled (`evened`). Sizes are
    padded by reflection to multiples of the stride and cut off again. An image larger than
    `tile_size` px (at least four receptive-field radii) is computed in tiles that overlap by the
    receptive field; only their centres are kept, so the result is the same as in one piece. At most
    tile_size^2 px are floats and pass through the network at a time. Raises `ShapeError` for another
    shape, or images without pixels.
    """
    if images.ndim != 4 or images.shape[1] != model.spec.in_channels or not images[:1].numel():
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; expected (B, {model.spec.in_channels}, H, W)"
            " with B, H and W > 0"
        )
    limit, stride = max(tile_size, 4 * model.halo), model.stride
    sides = [-(-side // stride) * stride for side in images.shape[2:]]
    rows, columns = (_tiles(side, limit, model.halo, stride) for side in sides)
    area = max(r.stop - r.start for r in rows) * max(c.stop - c.start for c in columns)
    together = max(1, limit * limit // area)
    for first in range(0, len(images), together):
        batch = images[first : first + together]
        with torch.inference_mode():
            plane = fit_plane(batch)
        for row in rows:
            for column in columns:
                maps, features = _infer_tile(model, batch, plane, row, column, precision)
                yield Inference(
                    maps,
                    features,
                    slice(first, first + len(batch)),
                    slice(row.kept_from, row.kept_from + maps.unseen.shape[1]),
                    slice(column.kept_from, column.kept_from + maps.unseen.shape[2]),
                )


@torch.inference_mode()
def _infer_tile(
    model: UNet | FoldedUNet,
    images: Tensor,
    plane: Tensor,
    row: _Tile,
    column: _Tile,
    precision: str,
) -> tuple[ProbabilityMaps, Tensor]:
    """Maps and features of the kept part of a tile."""
    device, stride = model.mean.device, model.stride
    height, width = images.shape[2:]
    part = images[:, :, row.start : row.stop, column.start : column.stop]
    down = positions(height)[row.start : row.stop].to(device)
    across = positions(width)[column.start : column.stop].to(device)
    level = plane_at(plane.to(device), down, across) - model.mean[:, None, None]
    tile = _pad(shares(part.to(device)) - level, stride)
    # PyTorch computes one small image alone with another kernel. As one of two it gets the same bits
    # as in any batch, so that results do not depend on how images were grouped.
    is_alone = len(tile) == 1 and tile[0, 0].numel() < SMALL
    pair = tile.expand(2, -1, -1, -1) if is_alone else tile
    with autocast(precision, device):
        output = model(pair.contiguous(memory_format=torch.channels_last))
    down_kept = slice(row.kept().start, min(row.kept_to, height) - row.start)
    across_kept = slice(column.kept().start, min(column.kept_to, width) - column.start)
    maps = probability_maps(output.logits[: len(tile)], model.spec)
    features = output.features[: len(tile), :, row.kept(stride), column.kept(stride)]
    return ProbabilityMaps(*(m[..., down_kept, across_kept] for m in maps)), features


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
