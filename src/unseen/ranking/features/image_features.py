"""What a pretrained network says about an image: one vector for the whole, and a map of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.arrays.image_statistics import image_statistics
from unseen.arrays.texture import KINDS, LEVELS, QUANTILES, log_energies, texture_features
from unseen.errors import ShapeError
from unseen.ranking.features.backbones import Backbone

Floats = npt.NDArray[np.float32]

#: Increases whenever the same image would get other numbers, so that stored ones never mix.
VERSION = 1
#: Longest side, px; a larger image is reduced.
LARGEST = 640
#: Shortest side, px, two steps of the coarsest stage; a smaller image is enlarged.
SMALLEST = 64
#: Most patches per side.
MOST_PATCHES = 20
#: Strides that name the blocks of the vector, fine to coarse.
STRIDES = (8, 16, 32)
#: Side of a cell of plain statistics, px, and scales of the derivatives in it.
CELL, CELL_LEVELS = 16, 3
_STATISTICS, _TEXTURE = 41, len(QUANTILES) * LEVELS * KINDS


@dataclass(frozen=True)
class ImageFeatures:
    """An image, described."""

    vector: Floats  #: (V,) float32; `blocks` tells what lies where
    patches: Floats  #: (rows, columns, D) float32, at most `MOST_PATCHES` per side


def blocks(backbone: Backbone) -> dict[str, slice]:
    """Where each part of the vector lies.

    "mean8", "mean16", "mean32", then "max8", "max16", "max32": the mean and the maximum over the
    image of a stage's channels. Without a network "statistics" and "texture".
    """
    sizes = {"statistics": _STATISTICS, "texture": _TEXTURE}
    if backbone.channels:
        named = list(zip(STRIDES, backbone.channels, strict=True))
        sizes = {f"{kind}{stride}": c for kind in ("mean", "max") for stride, c in named}
    ends = np.cumsum(list(sizes.values())).tolist()
    return {name: slice(end - sizes[name], end) for name, end in zip(sizes, ends, strict=True)}


def vector_size(backbone: Backbone) -> int:
    """V, the length of the vector."""
    return 2 * sum(backbone.channels) if backbone.channels else _STATISTICS + _TEXTURE


def patch_size(backbone: Backbone) -> int:
    """D, the numbers per patch."""
    return sum(backbone.channels[:2]) if backbone.channels else 2 + CELL_LEVELS * KINDS


def image_features(backbone: Backbone, image: Floats) -> ImageFeatures:
    """Describe an image (H, W, 1 or 3) in [0, 1], which is resized first (`fitted`).

    A patch joins the fine and the middle stage, each averaged over 3 x 3 positions, on the grid of
    the middle one (16 px for convolutional networks). With EfficientNet-Lite0 the vector has 944
    numbers and a patch 152. Raises `ShapeError` for another shape.
    """
    return batch_features(backbone, [fitted(image)])[0]


def batch_features(backbone: Backbone, images: Sequence[Floats]) -> list[ImageFeatures]:
    """`image_features` of images of one shape that are `fitted`: the same numbers in less time."""
    pixels = torch.cat([_tensor(image) for image in images]).to(backbone.device)
    pixels = pixels.expand(-1, 3, -1, -1)
    if backbone.network is None:
        return [_plain_features(image[None]) for image in pixels]
    stages = backbone.stages(pixels)
    vector = [stage.mean(dim=(2, 3)) for stage in stages]
    vector += [stage.amax(dim=(2, 3)) for stage in stages]
    fine, middle = (
        F.avg_pool2d(stage, 3, stride=1, padding=1, count_include_pad=False) for stage in stages[:2]
    )
    grid = _grid(middle.shape[2], middle.shape[3])
    # In two steps, so that a patch of a reduced grid is the mean of patches.
    fine = F.adaptive_avg_pool2d(fine, (middle.shape[2], middle.shape[3]))
    patches = F.adaptive_avg_pool2d(torch.cat([fine, middle], dim=1), grid)
    columns = _array(torch.cat(vector, dim=1)), _array(patches.permute(0, 2, 3, 1))
    return [ImageFeatures(*row) for row in zip(*columns, strict=True)]


def fitted(image: Floats) -> Floats:
    """The image (H, W, 1 or 3) with sides from `SMALLEST` to `LARGEST`, in proportion if possible.

    Raises `ShapeError` for another shape.
    """
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ShapeError(
            f"the image has shape {image.shape}; expected (H, W, 1) or (H, W, 3), not empty"
        )
    sides = image.shape[:2]
    scale = min(max(1.0, SMALLEST / min(sides)), LARGEST / max(sides))
    height, width = (max(SMALLEST, round(side * scale)) for side in sides)
    if (height, width) == sides:
        return image.astype(np.float32, copy=False)
    pixels = _tensor(image.astype(np.float32))
    if height <= sides[0] and width <= sides[1]:
        pixels = F.interpolate(pixels, (height, width), mode="area")
    else:
        pixels = F.interpolate(
            pixels, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
    return _image(pixels)


def _grid(rows: int, columns: int) -> tuple[int, int]:
    return min(rows, MOST_PATCHES), min(columns, MOST_PATCHES)


def _plain_features(pixels: Tensor) -> ImageFeatures:
    """Statistics instead of a network; per cell mean, standard deviation and energies."""
    whole = image_statistics(pixels[0].permute(1, 2, 0).numpy())
    vector = np.concatenate([whole, texture_features(pixels)[0].numpy()])
    grey = pixels.mean(dim=1, keepdim=True)
    rows, columns = _grid(round(grey.shape[2] / CELL), round(grey.shape[3] / CELL))
    mean = F.adaptive_avg_pool2d(grey, (rows, columns))
    # Around the mean of the image: a small difference of large squares would lose digits.
    centred = grey - grey.mean()
    variance = F.adaptive_avg_pool2d(centred.square(), (rows, columns))
    variance = variance - F.adaptive_avg_pool2d(centred, (rows, columns)).square()
    energies = log_energies(grey, rows, columns, CELL_LEVELS)
    patches = torch.cat([mean, variance.clamp_min(0).sqrt(), energies], dim=1)
    return ImageFeatures(vector.astype(np.float32), _image(patches))


def _tensor(image: Floats) -> Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


def _image(maps: Tensor) -> Floats:
    """(1, C, H, W) -> (H, W, C)."""
    return _array(maps[0].permute(1, 2, 0))


def _array(values: Tensor) -> Floats:
    return np.ascontiguousarray(values.float().cpu().numpy())
