"""What CenterNet should say about an image: Gaussian peaks, offsets and sizes.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points", section 3; the width of the peaks after
Law & Deng 2018, "CornerNet".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: A box that differs from the truth by the radius of its peak overlaps it at least this much.
MIN_OVERLAP = 0.7
#: Boxes whose peaks are drawn at once; bounds the memory that many boxes on a large image take.
_CHUNK = 32


@dataclass(frozen=True)
class CentreTargets:
    """The truth of a batch, in cells of the output.

    Attributes:
        heat: (B, K, H, W) float32 in [0, 1]; exactly 1 in the cell of each centre.
        cells: (N, 3) int64: image, row, column of the cells that hold a centre, each cell once.
        offsets: (N, 2) float32, x and y of the centre from the cell's corner, in [0, 1], cells.
        sizes: (N, 2) float32, width and height of the box, cells.
    """

    heat: Tensor
    cells: Tensor
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
    several boxes lie in one cell, offset and size are those of the smallest box, as the smaller box
    is on top elsewhere; the peaks of all classes stay. Two boxes of one class in one cell cannot
    be told apart: of these only the smaller can be found. The order of the boxes has no influence.

    Args:
        boxes: per image (N, 4) xyxy px; N may be 0.
        labels: per image (N,) class indices from 0.
        n_classes: K.
        shape: rows and columns of the output.
        stride: px per cell.
    """
    device = boxes[0].device
    heat = torch.zeros(len(boxes), n_classes, *shape, device=device)
    cells, offsets, sizes = [], [], []
    for image, (xyxy, classes) in enumerate(zip(boxes, labels, strict=True)):
        centres, sides = centres_and_sides(xyxy.float() / stride)
        last = torch.tensor([shape[1] - 1, shape[0] - 1], device=device)
        corners = torch.minimum(centres.floor().clamp(min=0).long(), last)
        _draw_peaks(heat[image], corners, sides, classes)
        chosen = _smallest_per_cell(corners, centres, sides, columns=shape[1])
        corners, centres, sides = corners[chosen], centres[chosen], sides[chosen]
        cells.append(torch.cat([torch.full_like(corners[:, :1], image), corners.flip(1)], dim=1))
        offsets.append(centres - corners)
        sizes.append(sides)
    return CentreTargets(heat, torch.cat(cells), torch.cat(offsets), torch.cat(sizes))


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
    """How far two opposite corners of a box may each move while the overlap stays at `min_overlap`.

    Both corners moving inward by r in x and y costs most: (w - 2r)(h - 2r) = min_overlap w h.
    (CornerNet's code takes the least of three cases, of which this always is the least, but solves
    the quadratic equations wrongly and gets radii about three times as large.)

    Args:
        sides: (N, 2) width and height.
        min_overlap: intersection over union, in (0, 1).

    Returns:
        (N,) in the unit of the sides.
    """
    total, area = sides.sum(1), sides.prod(1)
    return (total - (total**2 - 4 * (1 - min_overlap) * area).clamp(min=0).sqrt()) / 4


def _draw_peaks(heat: Tensor, corners: Tensor, sides: Tensor, classes: Tensor) -> None:
    """Raise heat (K, H, W) to a Gaussian around each cell, with a radius of three deviations."""
    sigma = (2 * gaussian_radius(sides) + 1) / 6
    rows = torch.arange(heat.shape[1], device=heat.device)
    columns = torch.arange(heat.shape[2], device=heat.device)
    for label in classes.unique().tolist():
        for some in (classes == label).nonzero()[:, 0].split(_CHUNK):
            spread = 2 * sigma[some, None] ** 2
            across = torch.exp(-((columns - corners[some, :1]) ** 2) / spread)  # (n, W)
            down = torch.exp(-((rows - corners[some, 1:]) ** 2) / spread)  # (n, H)
            peaks = (down[:, :, None] * across[:, None, :]).amax(0)
            heat[label] = torch.maximum(heat[label], peaks)


def _smallest_per_cell(corners: Tensor, centres: Tensor, sides: Tensor, *, columns: int) -> Tensor:
    """Indices of the boxes, one per cell, in an order that does not depend on theirs."""
    keys = [*centres.unbind(1), sides[:, 0], sides.prod(1), corners[:, 1] * columns + corners[:, 0]]
    order = torch.arange(len(corners), device=corners.device)
    # Least important first: each sort keeps the order of what it finds equal.
    for key in keys:
        order = order[key[order].argsort(stable=True)]
    cell = keys[-1][order]
    is_first = torch.ones_like(cell, dtype=torch.bool)
    is_first[1:] = cell[1:] != cell[:-1]
    return order[is_first]
