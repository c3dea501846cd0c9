"""Images that are too large for their objects: the scale, the tiles, and one list of boxes again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_area, box_iou

from unseen.arrays.boxes import as_boxes, has_area
from unseen.arrays.scale import SMALL_QUANTILE, working_scale

#: Boxes thinner than this inside the detector, in px, cannot be learned.
MIN_SIDE = 1.0
#: Small objects that are thinner inside the detector than this share of its smallest anchor make it
#: look at tiles, in which they are about as wide as that anchor.
TOO_SMALL = 0.5
#: Large objects, this quantile of the longer sides, fit into the overlap of two tiles, which is this
#: share of a tile; unless that took tiles larger than this many px.
LARGE_QUANTILE, OVERLAP, LARGEST_TILE = 0.95, 1 / 3, 1024
#: Boxes that end as near as this share of a tile to its edge may be cut off by it.
NEAR = 0.04
#: Overlap above which boxes of a class are one object seen in two tiles; of pieces, the share of the
#: piece.
SAME = 0.5


def tile_scale(
    boxes: Sequence[npt.ArrayLike], longest_side: float, image_size: int, anchor: float
) -> tuple[float | None, int]:
    """At which scale to look at tiles, and their side in px; None where whole images will do.

    Takes the (N, 4) boxes of each labelled image and the longest side of the images, native px, and
    the longest side of an image and the smallest anchor inside the detector, px.
    """
    xyxy = np.concatenate([as_boxes([]), *map(as_boxes, boxes)])
    sides = (xyxy[:, 2:] - xyxy[:, :2])[has_area(xyxy)]
    fit = image_size / longest_side
    if fit >= 1 or not len(sides):
        return None, image_size
    short = sides.min(axis=1)
    if np.quantile(short, SMALL_QUANTILE) * fit >= TOO_SMALL * anchor:
        return None, image_size
    scale = working_scale(
        short, [longest_side], smallest_defect=anchor, smallest_image=float(image_size)
    )
    large = float(np.quantile(sides.max(axis=1), LARGE_QUANTILE)) * scale
    return scale, max(image_size, min(LARGEST_TILE, 32 * math.ceil(large / OVERLAP / 32)))


def tile_corners(size: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """(top, left) of the tiles that cover an image of (height, width), evenly spread."""
    rows, columns = (_starts(length, side) for length in size)
    return list(itertools.product(rows, columns))


def _starts(length: int, side: int) -> list[int]:
    step = side - OVERLAP * side
    count = max(1, math.ceil((length - side) / step) + 1)
    return [round(i) for i in np.linspace(0, max(0, length - side), count).tolist()]


def is_cut(xyxy: Tensor, corner: tuple[int, int], side: int, size: tuple[int, int]) -> Tensor:
    """(N,): which boxes, in px of a tile, end near an edge that the image goes beyond.

    Near, because the end of a box is only about right. Such objects are whole in the next tile.
    """
    (top, left), (height, width) = corner, size
    inner = [left > 0, top > 0, left + side < width, top + side < height]
    distance = torch.cat([xyxy[:, :2], side - xyxy[:, 2:]], dim=1)
    return ((distance < NEAR * side) & torch.tensor(inner)).any(1)


def merge(xyxy: Tensor, labels: Tensor, scores: Tensor, cut: Tensor) -> Tensor:
    """Positions of the boxes to keep of those of all tiles (N, 4), the most confident first.

    Of whole boxes of a class that overlap, the most confident stays; of what a tile has cut off,
    only what lies in no whole one.
    """
    whole, pieces = (~cut).nonzero()[:, 0], cut.nonzero()[:, 0]
    whole = whole[batched_nms(xyxy[whole], scores[whole], labels[whole], SAME)]
    pieces = pieces[batched_nms(xyxy[pieces], scores[pieces], labels[pieces], SAME)]
    if len(whole) and len(pieces):
        iou, areas = box_iou(xyxy[pieces], xyxy[whole]), box_area(xyxy)
        both = iou / (1 + iou) * (areas[pieces][:, None] + areas[whole])
        is_inside = both > SAME * areas[pieces][:, None]
        is_inside &= labels[pieces][:, None] == labels[whole]
        pieces = pieces[~is_inside.any(1)]
    kept = torch.cat([whole, pieces])
    return kept[scores[kept].argsort(descending=True, stable=True)]
