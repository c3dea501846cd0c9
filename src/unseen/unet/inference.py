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
from unseen.unet.unseen_score import ProbabilityMaps, maps_and_entropy

#: Pixels of an image whose deepest layers PyTorch takes to be small.
SMALL = 512 * 512
#: Numbers of a map that a processor keeps near while it computes the next.
_IN_CACHE = 2**18


class Inference(NamedTuple):
    """The UNet's output for images, on the model's device."""

    maps: ProbabilityMaps
    features: Tensor  #: (B, D, h, w) float32, one vector per `stride` x `stride` px, from top left


class Place(NamedTuple):
    """The part of some images of a batch that is kept of a tile."""

    images: slice
    rows: slice
    columns: slice
    above: int  #: px of the tile above it
    left: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, h, w)."""
        count, height, width = (s.stop - s.start for s in self[:3])
        return count, height, width


class Tile(NamedTuple):
    """A part of some images of a batch as the network takes it."""

    pixels: Tensor  #: (B, C, h, w) float32, levelled, with what surrounds the kept part
    place: Place


class MapPart(NamedTuple):
    """The maps of some rows of some images of a tile."""

    images: slice  #: of the tile
    rows: slice  #: of its kept part
    maps: ProbabilityMaps
    entropy: Tensor  #: (B, h, w) nats


@dataclass(frozen=True)
class TileOutput:
    """What the network says about a tile; its maps, which are larger, are made part by part."""

    place: Place
    features: Tensor  #: as of `Inference`, of the kept part
    _finest: Tensor
    _model: UNet | FoldedUNet

    def parts(self) -> Iterator[MapPart]:
        """The maps of the kept part: on a CPU of a strip of one image at a time, else in one."""
        (count, height, width), left = self.place.shape, self.place.left
        model = self._model
        step, images = height, [slice(0, count)]
        if self._finest.device.type == "cpu":
            per_row = len(model.spec.maps) * self._finest.shape[3] * model.shrink
            step = max(1, _IN_CACHE // per_row // model.stride) * model.stride
            images = [slice(i, i + 1) for i in range(count)]
        for chosen in images:
            for start in range(0, height, step):
                rows = slice(start, min(start + step, height))
                yield self._part(chosen, rows, slice(left, left + width))

    @torch.inference_mode()
    def _part(self, images: slice, rows: slice, columns: slice) -> MapPart:
        shrink = self._model.shrink
        first, last = rows.start + self.place.above, rows.stop + self.place.above
        # With a row more on both sides, of which the up-sampling takes a part.
        start = max(0, first // shrink - 1)
        finest = self._finest[images, :, start : -(-last // shrink) + 1]
        kept = slice(first - start * shrink, last - start * shrink)
        logits = self._model.logits(finest)[:, :, kept, columns]
        return MapPart(images, rows, *maps_and_entropy(logits, self._model.spec))


def infer(
    model: UNet | FoldedUNet, images: Tensor, *, tile_size: int = 1536, precision: str = "auto"
) -> Inference:
    """The maps of whole images in one; see `tiles`."""
    count, (height, width) = len(images), images.shape[2:]
    stride = model.stride
    new = model.mean.new_empty
    maps = ProbabilityMaps(
        new(count, height, width),
        new(count, len(model.spec.foreground_maps), height, width),
        new(count, height, width),
    )
    features = new(count, model.spec.channels[-1], -(-height // stride), -(-width // stride))
    for tile in tiles(model, images, tile_size=tile_size):
        output = infer_tile(model, tile, precision=precision)
        of_images, rows, columns = tile.place[:3]
        for part in output.parts():
            for whole, values in zip(maps, part.maps, strict=True):
                whole[of_images][part.images][..., rows, columns][..., part.rows, :] = values
        row, column = rows.start // stride, columns.start // stride
        down, across = output.features.shape[2:]
        features[of_images, :, row : row + down, column : column + across] = output.features
    return Inference(maps, features)


def tiles(model: UNet | FoldedUNet, images: Tensor, *, tile_size: int = 1536) -> Iterator[Tile]:
    """Cut (B, C, H, W) images, float32 in [0, 1] or integer `shares`, into what `infer_tile` takes.

    As in training, each image is first levelled (`evened`). Sizes are padded by reflection to
    multiples of the stride and cut off again. An image larger than `tile_size` px (at least four
    receptive-field radii) is computed in tiles that overlap by the receptive field; only their
    centres are kept, so the result is the same as in one piece. At most tile_size^2 px are floats at
    a time. Raises `ShapeError` for another shape, or images without pixels.
    """
    if images.ndim != 4 or images.shape[1] != model.spec.in_channels or not images[:1].numel():
        raise ShapeError(
            f"images have shape {tuple(images.shape)}; expected (B, {model.spec.in_channels}, H, W)"
            " with B, H and W > 0"
        )
    limit, stride = max(tile_size, 4 * model.halo), model.stride
    height, width = images.shape[2:]
    sides = [-(-side // stride) * stride for side in (height, width)]
    rows, columns = (_tiles(side, limit, model.halo, stride) for side in sides)
    area = max(r.stop - r.start for r in rows) * max(c.stop - c.start for c in columns)
    together = max(1, limit * limit // area)
    for first in range(0, len(images), together):
        batch = images[first : first + together]
        with torch.inference_mode():
            plane = fit_plane(batch)
        for row in rows:
            for column in columns:
                yield Tile(
                    _levelled(model, batch, plane, row, column),
                    Place(
                        slice(first, first + len(batch)),
                        slice(row.kept_from, min(row.kept_to, height)),
                        slice(column.kept_from, min(column.kept_to, width)),
                        row.kept_from - row.start,
                        column.kept_from - column.start,
                    ),
                )


@torch.inference_mode()
def infer_tile(model: UNet | FoldedUNet, tile: Tile, *, precision: str = "auto") -> TileOutput:
    """Run the network, which is in eval mode, on a tile."""
    pixels, place = tile
    # PyTorch computes one small image alone with another kernel. As one of two it gets the same bits
    # as in any batch, so that results do not depend on how images were grouped.
    is_alone = len(pixels) == 1 and pixels[0, 0].numel() < SMALL
    pair = pixels.expand(2, -1, -1, -1) if is_alone else pixels
    with autocast(precision, pixels.device):
        finest, deepest = model.features(pair.contiguous(memory_format=torch.channels_last))
    top, left = place.above // model.stride, place.left // model.stride
    rows, columns = (-(-side // model.stride) for side in place.shape[1:])
    kept = deepest[: len(pixels), :, top : top + rows, left : left + columns]
    return TileOutput(place, kept, finest[: len(pixels)], model)


def _levelled(
    model: UNet | FoldedUNet, images: Tensor, plane: Tensor, row: _Tile, column: _Tile
) -> Tensor:
    device = model.mean.device
    height, width = images.shape[2:]
    part = images[:, :, row.start : row.stop, column.start : column.stop]
    down = positions(height)[row.start : row.stop].to(device)
    across = positions(width)[column.start : column.stop].to(device)
    level = plane_at(plane.to(device), down, across) - model.mean[:, None, None]
    return _pad(shares(part.to(device)) - level, model.stride)


class _Tile(NamedTuple):
    """The computed and the kept part of a tile along one axis, px."""

    start: int
    stop: int
    kept_from: int
    kept_to: int


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
