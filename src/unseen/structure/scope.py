"""The scope of an image that is labelled in part: the rectangles that somebody looked at.

Inside of its scope an image is labelled: what no box covers there is background. So whoever labels
draws every object that reaches into it, and draws it whole; an object of which a part were left out
would be taught as background. Outside nothing is known but what those boxes say. An image without a
scope (None) is labelled as a whole.

In training a pixel, an anchor or a cell that no box covers asks whether it is *known to be background*,
and gets the benefit of the doubt. In the evaluation a box counts when its centre lies in the scope: of
an object that reaches in, a detector may find as much or as little as it likes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unseen.arrays.boxes import FloatArray, as_boxes
from unseen.arrays.masks import covered_pixels
from unseen.errors import ShapeError

#: Share of a box that may lie outside of the scope while the box still counts as background. A
#: hidden object wholly outside then overlaps it by no more than this, which is torchvision's limit
#: between background and object in the head.
MOST_UNKNOWN = 0.5
#: A region is shown with at least this much around it, native px: the enlargement of the boxes that
#: the UNet learns.
LEAST_MARGIN = 10.0
#: The margin is half the longer side that this share of the labelled boxes does not exceed. So most
#: of an object is seen when one of its ends is unseen, and something of what lies around it.
USUAL_SHARE = 0.9


def centre_in_scope(xyxy: npt.ArrayLike, scope: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether the centre of each box lies in one of the rectangles [x1, x2) x [y1, y2).

    Args:
        xyxy: (N, 4).
        scope: (M, 4), in the same unit.

    Returns:
        (N,) bool.
    """
    boxes, rectangles = as_boxes(xyxy).astype(np.float64), as_boxes(scope).astype(np.float64)
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    x1, y1, x2, y2 = (side[None] for side in rectangles.T)
    is_in = (x[:, None] >= x1) & (x[:, None] < x2) & (y[:, None] >= y1) & (y[:, None] < y2)
    return np.asarray(is_in.any(axis=1))


def reaches_scope(xyxy: npt.ArrayLike, scope: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each box shares some area with one of the rectangles.

    Args:
        xyxy: (N, 4).
        scope: (M, 4), in the same unit.

    Returns:
        (N,) bool.
    """
    boxes, rectangles = as_boxes(xyxy)[:, None], as_boxes(scope)[None]
    first = np.maximum(boxes[..., :2], rectangles[..., :2])
    last = np.minimum(boxes[..., 2:], rectangles[..., 2:])
    shared = np.asarray((first < last).all(axis=2))
    return np.asarray(shared.any(axis=1))


def scope_mask(
    scope: npt.ArrayLike, *, height: int, width: int, scale: float = 1.0
) -> npt.NDArray[np.bool_]:
    """The pixels whose centre lies in the scope.

    Args:
        scope: (N, 4) xyxy in px of the native image.
        height: of the mask, px at working scale.
        width: of the mask, px at working scale.
        scale: working px per native px.

    Returns:
        (height, width) bool.
    """
    mask = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in covered_pixels(
        scope, height=height, width=width, scale=scale, margin=0.0
    ):
        mask[top:bottom, left:right] = True
    return mask


def scope_around(
    regions: npt.ArrayLike, *, margin: float, width: float, height: float
) -> FloatArray:
    """The scope that shows these regions with their surroundings.

    Each region is enlarged, cut at the image's border, and joined with those it then overlaps to
    the rectangle around both, until none overlap.

    Args:
        regions: (N, 4) xyxy px.
        margin: on each side, px, >= 0.
        width: of the image, px.
        height: of the image, px.

    Returns:
        (M, 4) float32 xyxy px, M <= N, from the left and then from the top.
    """
    edges = as_boxes(regions) + np.asarray([-margin, -margin, margin, margin], dtype=np.float32)
    left = np.clip(edges, 0, np.asarray([width, height, width, height], dtype=np.float32))
    found: list[FloatArray] = []
    for box in left[(left[:, 2:] > left[:, :2]).all(axis=1)]:
        joined = box
        while near := [other for other in found if _overlap(joined, other)]:
            found = [other for other in found if not _overlap(joined, other)]
            joined = _around([joined, *near])
        found.append(joined)
    return as_boxes(sorted(box.tolist() for box in found))


def usual_margin(boxes: Sequence[npt.ArrayLike]) -> float:
    """How much is shown around a region, px.

    Args:
        boxes: (N, 4) xyxy px of each labelled image; N may be 0.

    Returns:
        At least LEAST_MARGIN.
    """
    sides = [(xyxy[:, 2:] - xyxy[:, :2]).max(axis=1) for xyxy in map(as_boxes, boxes)]
    longer = np.concatenate([*sides, np.zeros(0, dtype=np.float32)])
    usual = float(np.quantile(longer, USUAL_SHARE)) if longer.size else 0.0
    return max(LEAST_MARGIN, usual / 2)


def outside(scope: npt.ArrayLike, *, height: float, width: float) -> FloatArray:
    """The rest of the image as rectangles that do not overlap.

    Args:
        scope: (N, 4) xyxy px; may overlap and reach beyond the image.
        height: of the image, px.
        width: of the image, px.

    Returns:
        (M, 4) float32 xyxy px; (0, 4) when the scope is the whole image.
    """
    limits = np.asarray([width, height, width, height], dtype=np.float32)
    boxes = np.clip(as_boxes(scope), 0, limits)
    xs = np.unique(np.concatenate([boxes[:, 0::2].ravel(), np.asarray([0, width], np.float32)]))
    ys = np.unique(np.concatenate([boxes[:, 1::2].ravel(), np.asarray([0, height], np.float32)]))
    # Between two neighbouring edges nothing changes: one cell of this grid is in or out as a whole.
    is_out = np.ones((len(ys) - 1, len(xs) - 1), dtype=bool)
    for x1, y1, x2, y2 in boxes:
        (top, bottom), (left, right) = np.searchsorted(ys, [y1, y2]), np.searchsorted(xs, [x1, x2])
        is_out[top:bottom, left:right] = False
    steps = np.diff(np.pad(is_out, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, first), (_, last) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return as_boxes(np.stack([xs[first], ys[rows], xs[last], ys[rows + 1]], axis=1))


def is_known(xyxy: Tensor, unknown: Tensor) -> Tensor:
    """Whether a box counts as background when no object is in it.

    Args:
        xyxy: (N, 4), such as anchors; may reach beyond the image, where nothing is unknown.
        unknown: (M, 4) rectangles that do not overlap, as `outside` gives them.

    Returns:
        (N,) bool: at most MOST_UNKNOWN of its area is unknown.
    """
    left, top, right, bottom = xyxy.unbind(1)
    hidden = torch.zeros_like(left)
    for x1, y1, x2, y2 in unknown.tolist():
        across = (right.clamp(max=x2) - left.clamp(min=x1)).clamp_(min=0)
        hidden += across.mul_((bottom.clamp(max=y2) - top.clamp(min=y1)).clamp_(min=0))
    return hidden <= MOST_UNKNOWN * (right - left) * (bottom - top)


def known_cells(unknown: Tensor, *, shape: tuple[int, int], stride: int) -> Tensor:
    """The cells of a map whose centre is not unknown.

    Args:
        unknown: (M, 4) rectangles, px.
        shape: rows and columns of the map.
        stride: px per cell.

    Returns:
        (rows, columns) bool.
    """
    y = (torch.arange(shape[0], device=unknown.device) + 0.5) * stride
    x = (torch.arange(shape[1], device=unknown.device) + 0.5) * stride
    known = torch.ones(shape, dtype=torch.bool, device=unknown.device)
    for x1, y1, x2, y2 in unknown.tolist():
        known &= ~(((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2)))
    return known


def check_scopes(scopes: Sequence[npt.ArrayLike | None] | None, count: int) -> None:
    """Make sure that there is a scope, or None, for each image.

    Raises:
        ShapeError: there are more or fewer, or one holds no rectangle.
    """
    if scopes is not None and len(scopes) != count:
        raise ShapeError(
            f"{count} images have {len(scopes)} scopes; expected as many, None where the whole "
            "image is labelled"
        )
    for index, scope in enumerate(scopes or []):
        if scope is not None and not len(as_boxes(scope)):
            raise ShapeError(
                f"image {index} has a scope without a rectangle, so that nothing of it is labelled; "
                "leave the image out, or pass None where all of it is"
            )


def _overlap(one: FloatArray, other: FloatArray) -> bool:
    return bool((one[:2] < other[2:]).all() and (other[:2] < one[2:]).all())


def _around(boxes: list[FloatArray]) -> FloatArray:
    together = np.stack(boxes)
    return np.concatenate([together[:, :2].min(axis=0), together[:, 2:].max(axis=0)])
