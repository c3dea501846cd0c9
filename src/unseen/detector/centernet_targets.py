"""What CenterNet should say about an image: Gaussian peaks, offsets and sizes.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points", section 3, with the radius of Law & Deng 2018,
"CornerNet". Three things differ from the paper, because a few dozen images and some hundred steps
are to be enough:

- Peaks are wider, and as long and thin as their box. With the paper's (radius of the short side,
  deviation of a third of it) almost every neighbour of a centre counts as background. Nobody can say
  to the cell where the middle of a long scratch or a faint stain is, so their scores never rise.
- The neighbours learn offset and size as well: the highest cell of a new image is often one of them.
- Sizes are logarithms: 10 % too large costs the same for every object, as it does in overlap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: A box that differs from the truth by the radius of its peak overlaps it at least this much.
MIN_OVERLAP = 0.7
#: Standard deviation of a peak: in radii, and at least, in cells. (Yin et al. 2021, "CenterPoint",
#: widen the peaks of small objects likewise.)
WIDTH, MIN_WIDTH = 3.0, 1.0
#: Cells whose heat is at least this learn offset and size too.
CORE = 0.4
#: Shortest side that a logarithm is taken of, in cells; far below a pixel.
_LEAST_SIDE = 2.0**-6
#: Boxes whose peaks are drawn at once; bounds the memory that many boxes on a large image take.
_CHUNK = 32


@dataclass(frozen=True)
class CentreTargets:
    """The truth of a batch, in cells of the output.

    Attributes:
        heat: (B, K, H, W) float32 in [0, 1]; exactly 1 in the cell of each centre.
        cells: (M, 3) int64: image, row, column of the cells that hold or surround a centre, each
            cell once.
        weights: (M,) float32 above 0; those of one object have the sum 1.
        offsets: (M, 2) float32, x and y of the centre from the cell's corner, cells; in the cell of
            the centre in [0, 1].
        sizes: (M, 2) float32, natural logarithm of width and height of the box in cells.
    """

    heat: Tensor
    cells: Tensor
    weights: Tensor
    offsets: Tensor
    sizes: Tensor


def encode(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    n_classes: int,
    shape: tuple[int, int],
    stride: int,
) -> CentreTargets:
    """Boxes as the three maps hold them.

    A centre on the right or lower edge of the map belongs to the last cell. Where the centres of
    several boxes lie in one cell, this cell learns the smallest of them, as the smaller box
    is on top elsewhere; the peaks of all classes stay. Two boxes of one class in one cell cannot
    be told apart: of these only the smaller can be found. The order of the boxes has no influence.

    Args:
        boxes: per image (N, 4) xyxy px; N may be 0.
        labels: per image (N,) class indices from 0.
        n_classes: K.
        shape: rows and columns of the output.
        stride: px per cell.
    """
    maps = [
        _encode_one(xyxy.float() / stride, classes, n_classes, shape)
        for xyxy, classes in zip(boxes, labels, strict=True)
    ]
    image = torch.cat([torch.full_like(one.cells[:, :1], index) for index, one in enumerate(maps)])
    return CentreTargets(
        heat=torch.cat([one.heat for one in maps]),
        cells=torch.cat([image, torch.cat([one.cells[:, 1:] for one in maps])], dim=1),
        weights=torch.cat([one.weights for one in maps]),
        offsets=torch.cat([one.offsets for one in maps]),
        sizes=torch.cat([one.sizes for one in maps]),
    )


def _encode_one(
    xyxy: Tensor, classes: Tensor, n_classes: int, shape: tuple[int, int]
) -> CentreTargets:
    order = _smallest_first(xyxy)
    (centres, sides), classes = centres_and_sides(xyxy[order]), classes[order]
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


def centres_and_sides(xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 4) xyxy -> centres (N, 2) as x, y and sides (N, 2) as width, height."""
    return (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]


def cells_inside(image_sizes: Sequence[tuple[int, int]], maps: Tensor, *, stride: int) -> Tensor:
    """Which cells show something of an image, and not only the padding around it.

    Args:
        image_sizes: height and width of each image, px.
        maps: (B, C, H, W), of whose cells the question is.
        stride: px per cell.

    Returns:
        (B, H, W) bool.
    """
    limits = torch.tensor(image_sizes, device=maps.device)  # (B, 2)
    rows = torch.arange(maps.shape[2], device=maps.device) * stride < limits[:, :1]
    columns = torch.arange(maps.shape[3], device=maps.device) * stride < limits[:, 1:]
    return rows[:, :, None] & columns[:, None, :]


def gaussian_radius(sides: Tensor, *, min_overlap: float = MIN_OVERLAP) -> Tensor:
    """How far the corners of a box may move while its overlap stays at `min_overlap` or more.

    CornerNet's rule, along each axis in proportion to the side; for a square it is the same. What
    costs most is that two opposite corners both move inward, which leaves (1 - 2 r / side)^2 of the
    area.

    Args:
        sides: (N, 2) width and height.
        min_overlap: intersection over union, in (0, 1).

    Returns:
        (N, 2) radius in x and y, in the unit of the sides.
    """
    return sides * ((1 - math.sqrt(min_overlap)) / 2)


def _peaks(corners: Tensor, sides: Tensor, shape: tuple[int, int]) -> Tensor:
    """(N, H, W): a Gaussian around each cell, 1 in it."""
    spread = 2 * (WIDTH * gaussian_radius(sides)).clamp(min=MIN_WIDTH) ** 2  # (N, 2)
    columns = torch.arange(shape[1], device=corners.device)
    rows = torch.arange(shape[0], device=corners.device)
    across = torch.exp(-((columns - corners[:, :1]) ** 2) / spread[:, :1])  # (N, W)
    down = torch.exp(-((rows - corners[:, 1:]) ** 2) / spread[:, 1:])  # (N, H)
    return down[:, :, None] * across[:, None, :]


def _smallest_first(xyxy: Tensor) -> Tensor:
    """Indices that sort boxes by area, and equal ones by their place."""
    order = torch.arange(len(xyxy), device=xyxy.device)
    sides = xyxy[:, 2:] - xyxy[:, :2]
    # Least important first: each sort keeps the order of what it finds equal.
    for key in (*xyxy.unbind(1), sides.prod(1)):
        order = order[key[order].argsort(stable=True)]
    return order
