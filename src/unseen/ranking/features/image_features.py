"""What a pretrained network says about an image: one vector for the whole, and a map of patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.arrays.image_statistics import image_statistics
from unseen.errors import ShapeError
from unseen.ranking.features.backbones import Backbone
from unseen.structure.texture import KINDS, LEVELS, QUANTILES, log_energies, texture_features

Floats = npt.NDArray[np.float32]

#: Goes up whenever the same image would get other numbers, so that stored ones are not mixed with them.
VERSION = 1
#: Longest side at which an image is seen, px; a larger one is reduced.
LARGEST = 640
#: Shortest side, px: two steps of the coarsest stage. A smaller image is enlarged.
SMALLEST = 64
#: Most patches per side.
MOST_PATCHES = 20
#: Strides by which the blocks of the vector are named, fine to coarse.
STRIDES = (8, 16, 32)
#: Side of a cell of plain statistics, px.
CELL = 16
#: Scales of the derivatives in such a cell.
CELL_LEVELS = 3
_STATISTICS, _TEXTURE = 41, len(QUANTILES) * LEVELS * KINDS


@dataclass(frozen=True)
class ImageFeatures:
    """An image, described.

    Attributes:
        vector: (V,) float32, `blocks` tells what lies where.
        patches: (rows, columns, D) float32, at most `MOST_PATCHES` per side.
    """

    vector: Floats
    patches: Floats


def blocks(backbone: Backbone) -> dict[str, slice]:
    """Where each part of the vector lies.

    Args:
        backbone: any.

    Returns:
        "mean8", "mean16", "mean32", then "max8", "max16", "max32": a stage's channels, averaged over
        the image or at their highest. Without a network "statistics" and "texture".
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
    """Describe an image.

    The patches join the fine and the middle stage, each averaged over 3 x 3 places, on the grid of
    the middle one (16 px for convolutional networks). The coarse stage is too coarse for that.

    Args:
        backbone: of `backbones.find_backbone`.
        image: (H, W, 1 or 3) float32 in [0, 1]. Its longest side is reduced to `LARGEST`, its
            shortest enlarged to `SMALLEST`.

    Returns:
        The vector and the patches. The vector of EfficientNet-Lite0 has 944 numbers, a patch 152.

    Raises:
        ShapeError: the image has another shape.
    """
    planes = torch.from_numpy(np.ascontiguousarray(fitted(image).transpose(2, 0, 1)))
    pixels = planes[None].to(backbone.device).expand(-1, 3, -1, -1)
    if backbone.network is None:
        return _plain_features(pixels)
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
    return ImageFeatures(_array(torch.cat(vector, dim=1)[0]), _array(patches[0].permute(1, 2, 0)))


def fitted(image: Floats) -> Floats:
    """The image as it is seen: sides from `SMALLEST` to `LARGEST`, in proportion as far as that goes.

    Whoever reads many large images keeps this of each; `image_features` leaves it as it is.

    Args:
        image: (H, W, 1 or 3) float32.

    Raises:
        ShapeError: the image has another shape.
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
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[
        None
    ]
    if height <= sides[0] and width <= sides[1]:
        pixels = F.interpolate(pixels, (height, width), mode="area")
    else:
        pixels = F.interpolate(
            pixels, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
    return _array(pixels[0].permute(1, 2, 0))


def _grid(rows: int, columns: int) -> tuple[int, int]:
    return min(rows, MOST_PATCHES), min(columns, MOST_PATCHES)


def _plain_features(pixels: Tensor) -> ImageFeatures:
    """Statistics instead of a network; per cell mean, standard deviation and energies."""
    whole = image_statistics(pixels[0].permute(1, 2, 0).numpy())
    vector = np.concatenate([whole, texture_features(pixels)[0].numpy()])
    grey = pixels.mean(dim=1, keepdim=True)
    rows, columns = _grid(round(grey.shape[2] / CELL), round(grey.shape[3] / CELL))
    mean = F.adaptive_avg_pool2d(grey, (rows, columns))
    # About the image's mean: a small difference of large squares would lose digits.
    centred = grey - grey.mean()
    variance = F.adaptive_avg_pool2d(centred.square(), (rows, columns))
    variance = variance - F.adaptive_avg_pool2d(centred, (rows, columns)).square()
    energies = log_energies(grey, rows, columns, CELL_LEVELS)
    patches = torch.cat([mean, variance.clamp_min(0).sqrt(), energies], dim=1)
    return ImageFeatures(vector.astype(np.float32), _array(patches[0].permute(1, 2, 0)))


def _array(values: Tensor) -> Floats:
    return np.ascontiguousarray(values.float().cpu().numpy())
