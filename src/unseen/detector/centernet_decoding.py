"""From CenterNet's maps to boxes: the peaks of the heatmap, without comparing boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from unseen.detector.centernet_targets import cells_inside

#: Most boxes per image, and the least score, as torchvision's Faster R-CNN has them.
MOST_BOXES = 100
LEAST_SCORE = 0.05


def decode(
    heat: Tensor,
    offsets: Tensor,
    sizes: Tensor,
    image_sizes: list[tuple[int, int]],
    *,
    stride: int,
    most: int = MOST_BOXES,
    least: float = LEAST_SCORE,
) -> list[dict[str, Tensor]]:
    """The boxes around the highest peaks.

    A peak is a cell that none of its eight neighbours exceeds, which takes the place of non-maximum
    suppression (Zhou et al. 2019, section 4).

    Args:
        heat: (B, K, H, W) logits.
        offsets: (B, 2, H, W) x and y, cells.
        sizes: (B, 2, H, W) natural logarithm of width and height in cells.
        image_sizes: height and width in px of each image, without padding.
        stride: px per cell.
        most: boxes per image.
        least: lowest score, in [0, 1].

    Returns:
        Per image `boxes` (N, 4) float32 xyxy px inside the image, `labels` (N,) int64 from 1,
        `scores` (N,) float32 in [0, 1], the highest first.
    """
    heat, offsets, sizes = heat.float(), offsets.float(), sizes.float()
    is_inside = cells_inside(image_sizes, heat, stride=stride)
    heat = heat.masked_fill(~is_inside[:, None], -torch.inf)
    # Of the logits, because probabilities near 1 round to the same number.
    is_peak = heat == functional.max_pool2d(heat, 3, stride=1, padding=1)
    scores = torch.where(is_peak, heat, -torch.inf).sigmoid()
    found = []
    for image, (height, width) in enumerate(image_sizes):
        best, places = scores[image].flatten().topk(min(most, scores[image].numel()))
        best, places = best[best >= least], places[best >= least]
        labels, cells = places // heat[image, 0].numel(), places % heat[image, 0].numel()
        corners = torch.stack([cells % heat.shape[3], cells // heat.shape[3]], dim=1)
        centres = corners + offsets[image].flatten(1)[:, cells].t()
        halves = sizes[image].flatten(1)[:, cells].t().exp() / 2
        xyxy = torch.cat([centres - halves, centres + halves], dim=1) * stride
        limits = torch.tensor([width, height] * 2, device=xyxy.device)
        xyxy = torch.minimum(xyxy.clamp(min=0), limits)
        has_area = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
        found.append(
            {"boxes": xyxy[has_area], "labels": labels[has_area] + 1, "scores": best[has_area]}
        )
    return found
