"""The scope of a partially labelled image: the rectangles that an annotator looked at.

Inside its scope an image is labelled completely: whatever no box covers is background, so annotators
draw every object that reaches into it, and draw it whole. Outside only the boxes are known. An image
without a scope (None) is labelled as a whole.

In training, a pixel, an anchor or a cell without a box is background only if it is known to be; in
the evaluation a box counts when its centre lies in the scope. Boxes and rectangles are (N, 4) xyxy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unseen.arrays.boxes import FloatArray, as_boxes, has_area
from unseen.arrays.masks import foreground_mask
from unseen.errors import ShapeError

#: Share of a box that may lie outside the scope while the box still counts as background. It then
#: overlaps a hidden object outside by at most this IoU, torchvision's limit of background in the head.
MOST_UNKNOWN = 0.5
#: Least margin around a region, native px: by so much the UNet's boxes are enlarged.
LEAST_MARGIN = 10.0
#: The margin is half the longer side of the box at this quantile: most of an object is visible when
#: one of its ends is unseen.
USUAL_SHARE = 0.9


def centre_in_scope(xyxy: npt.ArrayLike, scope: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """(N,): whether the centre of each box lies in a rectangle [x1, x2) x [y1, y2)."""
    boxes, rectangles = as_boxes(xyxy).astype(np.float64), as_boxes(scope).astype(np.float64)
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    is_in = (centre >= rectangles[:, :2]) & (centre < rectangles[:, 2:])
    return np.asarray(np.any(is_in.all(axis=2), axis=1))


def reaches_scope(xyxy: npt.ArrayLike, scope: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """(N,): whether each box shares some area with a rectangle."""
    boxes, rectangles = as_boxes(xyxy)[:, None], as_boxes(scope)
    first = np.maximum(boxes[..., :2], rectangles[:, :2])
    last = np.minimum(boxes[..., 2:], rectangles[:, 2:])
    return np.asarray(np.any((first < last).all(axis=2), axis=1))


def scope_mask(
    scope: npt.ArrayLike, *, height: int, width: int, scale: float = 1.0
) -> npt.NDArray[np.bool_]:
    """(height, width) bool at working scale: the pixels whose centre lies in the scope."""
    return foreground_mask(scope, height=height, width=width, scale=scale, margin=0.0)


def scope_around(
    regions: npt.ArrayLike, *, margin: float, width: float, height: float
) -> FloatArray:
    """The scope that shows (N, 4) regions with `margin` px around them.

    Each region is enlarged and clipped to the image; those that then overlap are replaced by the
    rectangle around them until none do. Returns (M <= N, 4) px, sorted from left to right.
    """
    edges = as_boxes(regions) + np.asarray([-margin, -margin, margin, margin], dtype=np.float32)
    clipped = np.clip(edges, 0, np.asarray([width, height, width, height], dtype=np.float32))
    rectangles = clipped[:0]
    for box in clipped[has_area(clipped)]:
        joined = box[None]
        while (near := reaches_scope(rectangles, joined)).any():
            together = np.concatenate([rectangles[near], joined])
            joined = np.hstack([together[:, :2].min(axis=0), together[:, 2:].max(axis=0)])[None]
            rectangles = rectangles[~near]
        rectangles = np.concatenate([rectangles, joined])
    return as_boxes(sorted(rectangles.tolist()))


def usual_margin(boxes: Sequence[npt.ArrayLike]) -> float:
    """The margin to show around a region, px, from the (N, 4) boxes of each labelled image."""
    together = np.concatenate([np.zeros((0, 4), dtype=np.float32), *map(as_boxes, boxes)])
    longer = (together[:, 2:] - together[:, :2]).max(axis=1)
    usual = float(np.quantile(longer, USUAL_SHARE)) if longer.size else 0.0
    return max(LEAST_MARGIN, usual / 2)


def outside(scope: npt.ArrayLike, *, height: float, width: float) -> FloatArray:
    """The rest of the image as (M, 4) disjoint rectangles; the scope may overlap and stick out."""
    boxes = np.clip(as_boxes(scope), 0, np.asarray([width, height, width, height], np.float32))
    xs = np.unique(np.concatenate([boxes[:, 0::2].ravel(), np.asarray([0, width], np.float32)]))
    ys = np.unique(np.concatenate([boxes[:, 1::2].ravel(), np.asarray([0, height], np.float32)]))
    # The edges make a grid, each cell of which is inside or outside as a whole.
    is_out = np.ones((len(ys) - 1, len(xs) - 1), dtype=bool)
    for x1, y1, x2, y2 in boxes:
        (top, bottom), (left, right) = np.searchsorted(ys, [y1, y2]), np.searchsorted(xs, [x1, x2])
        is_out[top:bottom, left:right] = False
    steps = np.diff(np.pad(is_out, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, first), (_, last) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return as_boxes(np.stack([xs[first], ys[rows], xs[last], ys[rows + 1]], axis=1))


def without(
    scope: npt.ArrayLike | None, ignored: npt.ArrayLike, *, height: float, width: float
) -> FloatArray | None:
    """The scope less `ignored` rectangles, as disjoint ones; None is still the whole image."""
    hidden = as_boxes(ignored)
    if scope is None and not len(hidden):
        return None
    if scope is not None:
        hidden = np.concatenate([hidden, outside(scope, height=height, width=width)])
    return outside(hidden, height=height, width=width)


def is_known(xyxy: Tensor, unknown: Tensor) -> Tensor:
    """(N,): whether at most MOST_UNKNOWN of each box lies in the `unknown` rectangles of `outside`.

    Only such a box is background when no object is in it. Nothing beyond the image is unknown.
    """
    left, top, right, bottom = xyxy.unbind(1)
    hidden = torch.zeros_like(left)
    for x1, y1, x2, y2 in unknown.tolist():
        across = (right.clamp(max=x2) - left.clamp(min=x1)).clamp_(min=0)
        hidden += across.mul_((bottom.clamp(max=y2) - top.clamp(min=y1)).clamp_(min=0))
    return hidden <= MOST_UNKNOWN * (right - left) * (bottom - top)


def known_cells(unknown: Tensor, *, shape: tuple[int, int], stride: int) -> Tensor:
    """(rows, columns) bool: the cells of `stride` px whose centre is in no `unknown` rectangle."""
    y, x = ((torch.arange(n, device=unknown.device) + 0.5) * stride for n in shape)
    known = torch.ones(shape, dtype=torch.bool, device=unknown.device)
    for x1, y1, x2, y2 in unknown.tolist():
        known &= ~(((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2)))
    return known


def check_scopes(scopes: Sequence[npt.ArrayLike | None] | None, count: int) -> None:
    """Raise `ShapeError` unless each of `count` images has a scope with a rectangle, or None."""
    if scopes is not None and len(scopes) != count:
        raise ShapeError(
            f"{count} images have {len(scopes)} scopes; expected one per image, None where the whole "
            "image is labelled"
        )
    for index, scope in enumerate(scopes or []):
        if scope is not None and not len(as_boxes(scope)):
            raise ShapeError(
                f"image {index} has a scope without rectangles, so none of it is labelled; leave the "
                "image out, or pass None if all of it is labelled"
            )
