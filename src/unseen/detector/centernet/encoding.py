"""Boxes as CenterNet's three maps - Gaussian peaks, offsets and sizes - and back.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points", sections 3 and 4, with the radius of Law & Deng
2018, "CornerNet". Three things differ from the paper, because a few dozen images and some hundred
steps have to suffice:

- Peaks are wider, and as long and thin as their box. With the paper's (radius of the short side,
  deviation of a third of it) almost every neighbour of a centre counts as background. The middle of
  a long scratch or a faint stain is ambiguous by some cells, so their scores never rise.
- The neighbours learn offset and size as well: the highest cell of a new image is often one of
  them.
- Sizes are logarithms: 10 % too large costs the same for every object, as it does in overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_convert, clip_boxes_to_image

#: px per cell of the maps.
STRIDE = 4
#: A box that differs from the truth by the radius of its peak overlaps it at least this much.
MIN_OVERLAP = 0.7
#: Standard deviation of a peak: in radii, and at least, in cells. (Yin et al. 2021, "CenterPoint",
#: widen the peaks of small objects likewise.)
WIDTH, MIN_WIDTH = 3.0, 1.0
#: Cells whose heat is at least this learn offset and size too.
CORE = 0.4
#: The lowest score, as in torchvision's Faster R-CNN.
LEAST_SCORE = 0.05
#: Shortest side that a logarithm is taken of, in cells; far below a pixel.
_LEAST_SIDE = 2.0**-6
#: Boxes whose peaks are drawn at once; bounds the memory of many boxes on a large image.
_CHUNK = 32


class CentreTargets(NamedTuple):
    """The truth of a batch, in cells of the output."""

    #: (B, K, H, W) float32 in [0, 1]; exactly 1 in the cell of each centre
    heat: Tensor
    #: (M, 3) int64: image, row, column of the cells that hold or surround a centre, each cell once
    cells: Tensor
    #: (M,) float32 above 0; those of one object sum to 1
    weights: Tensor
    #: (M, 2) float32, x and y of the centre from the cell's corner; in [0, 1] in the centre's cell
    offsets: Tensor
    #: (M, 2) float32, natural logarithm of the box's width and height
    sizes: Tensor


def encode(
    targets: Sequence[Mapping[str, Tensor]], *, n_classes: int, shape: tuple[int, int]
) -> CentreTargets:
    """The maps, of (rows, columns) `shape`, for each image's `boxes` (N, 4) px and `labels` from 1.

    A centre on the right or lower edge belongs to the last cell. Where several centres share a
    cell, it learns the smallest box, as the smaller box is on top elsewhere; the peaks of all
    classes stay. Of two boxes of one class in one cell only the smaller can be found. The order of
    the boxes does not matter.
    """
    maps = [
        _encode_one(target["boxes"].float() / STRIDE, target["labels"] - 1, n_classes, shape)
        for target in targets
    ]
    for image, one in enumerate(maps):
        one.cells[:, 0] = image
    return CentreTargets(*(torch.cat(same) for same in zip(*maps, strict=True)))


def _encode_one(
    xyxy: Tensor, classes: Tensor, n_classes: int, shape: tuple[int, int]
) -> CentreTargets:
    # By area, and equal ones by their place.
    x1, y1, x2, y2 = xyxy.cpu().numpy().T
    order = torch.from_numpy(np.lexsort((x1, y1, x2, y2, (x2 - x1) * (y2 - y1)))).to(xyxy.device)
    classes = classes[order]
    centres, sides = box_convert(xyxy[order], "xyxy", "cxcywh").split(2, dim=1)
    last = torch.tensor([shape[1] - 1, shape[0] - 1], device=xyxy.device)
    corners = torch.minimum(centres.floor().clamp(min=0).long(), last)
    heat = torch.zeros(n_classes, *shape, device=xyxy.device)
    highest = torch.zeros(shape, device=xyxy.device)
    owner = torch.zeros(shape, dtype=torch.int64, device=xyxy.device)
    for first in range(0, len(xyxy), _CHUNK):
        some = slice(first, first + _CHUNK)
        peaks = _peaks(corners[some], sides[some], shape)
        for label in set(classes[some].tolist()):
            heat[label] = torch.maximum(heat[label], peaks[classes[some] == label].amax(0))
        height = peaks.amax(0)
        # Of equal ones argmax takes the first, and `>` leaves what was there: the smallest box.
        owner = torch.where(height > highest, first + peaks.argmax(0), owner)
        highest = torch.maximum(highest, height)
    rows, columns = (highest >= CORE).nonzero().unbind(1)
    own, weights = owner[rows, columns], highest[rows, columns]
    total = torch.zeros(len(xyxy), device=xyxy.device).index_add_(0, own, weights)
    cells = torch.stack([torch.zeros_like(rows), rows, columns], dim=1)
    offsets = centres[own] - cells[:, [2, 1]]
    return CentreTargets(
        heat[None], cells, weights / total[own], offsets, sides[own].clamp(min=_LEAST_SIDE).log()
    )


def _peaks(corners: Tensor, sides: Tensor, shape: tuple[int, int]) -> Tensor:
    """(N, H, W): a Gaussian around each cell, 1 in it."""
    spread = 2 * (WIDTH * gaussian_radius(sides)).clamp(min=MIN_WIDTH) ** 2  # (N, 2)
    columns = torch.arange(shape[1], device=corners.device)
    rows = torch.arange(shape[0], device=corners.device)
    across = torch.exp(-((columns - corners[:, :1]) ** 2) / spread[:, :1])  # (N, W)
    down = torch.exp(-((rows - corners[:, 1:]) ** 2) / spread[:, 1:])  # (N, H)
    return down[:, :, None] * across[:, None, :]


def gaussian_radius(sides: Tensor) -> Tensor:
    """How far a box's corners may move while its IoU stays at MIN_OVERLAP, (N, 2) like the sides.

    CornerNet's rule, along each axis in proportion to the side; for a square it is the same. The
    worst case is that two opposite corners both move inward, which leaves (1 - 2 r / side)^2 of the
    area.
    """
    return sides * ((1 - math.sqrt(MIN_OVERLAP)) / 2)


def cells_inside(image_sizes: Sequence[tuple[int, int]], maps: Tensor) -> Tensor:
    """(B, H, W) bool: which cells of (B, C, H, W) maps show an image, not only padding.

    Takes the (height, width) of each image, px.
    """
    limits = torch.tensor(image_sizes, device=maps.device)  # (B, 2)
    rows = torch.arange(maps.shape[2], device=maps.device) * STRIDE < limits[:, :1]
    columns = torch.arange(maps.shape[3], device=maps.device) * STRIDE < limits[:, 1:]
    return rows[:, :, None] & columns[:, None, :]


def decode(
    heat: Tensor,
    offsets: Tensor,
    sizes: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    most: int,
) -> list[dict[str, Tensor]]:
    """The boxes around the `most` highest peaks of (B, K, H, W) logits, as in torchvision's detectors.

    A peak is a cell that none of its eight neighbours exceeds; this replaces non-maximum
    suppression. Takes also the (B, 2, H, W) offsets and log sizes in cells, and each image's height
    and width without padding, px. Gives per image `boxes` (N, 4) float32 xyxy px inside the image,
    `labels` (N,) int64 from 1 and `scores` (N,) float32 in [0, 1], the highest first.
    """
    heat, offsets, sizes = heat.float(), offsets.float(), sizes.float()
    heat = heat.masked_fill(~cells_inside(image_sizes, heat)[:, None], -torch.inf)
    # Of the logits, because probabilities near 1 round to the same number.
    is_peak = heat == functional.max_pool2d(heat, 3, stride=1, padding=1)
    scores = torch.where(is_peak, heat, -torch.inf).sigmoid()
    detections = []
    for image, image_size in enumerate(image_sizes):
        best, places = scores[image].flatten().topk(min(most, scores[image].numel()))
        best, places = best[best >= LEAST_SCORE], places[best >= LEAST_SCORE]
        labels, cells = places // heat[image, 0].numel(), places % heat[image, 0].numel()
        corners = torch.stack([cells % heat.shape[3], cells // heat.shape[3]], dim=1)
        centres = corners + offsets[image].flatten(1)[:, cells].t()
        sides = sizes[image].flatten(1)[:, cells].t().exp()
        xyxy = box_convert(torch.cat([centres, sides], dim=1), "cxcywh", "xyxy") * STRIDE
        xyxy = clip_boxes_to_image(xyxy, image_size)
        has_area = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
        one = {"boxes": xyxy, "labels": labels + 1, "scores": best}
        detections.append({name: values[has_area] for name, values in one.items()})
    return detections
