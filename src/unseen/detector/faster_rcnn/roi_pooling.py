"""What the head sees of each proposed box: samples of the feature pyramid.

The samples of torchvision's `roi_align` with one sample per bin, by one weighted gather for all
levels together: on a CPU that takes much less time, above all backwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class RoIPooling(nn.Module):
    """Bilinear samples at the centres of a grid of equal bins in each box.

    A box is looked at on one level, chosen by its longer side: a thin line that is looked at too
    finely passes between the samples. Boxes of at least `coarsest_from` px are looked at on the
    coarsest of the `strides` (px, finest first); each halving goes one level finer. The grid has
    `size` bins per side and spans `reach` sides of the box; beyond 1 it sees whether the object
    goes on outside the box.
    """

    def __init__(
        self, strides: Sequence[int], *, size: int, coarsest_from: float, reach: float = 1.0
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.size = size
        self.reach = reach
        self.coarsest_from = coarsest_from

    def forward(
        self,
        features: Mapping[str, Tensor],
        boxes: Sequence[Tensor],
        image_shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Levels (B, C, H / s, W / s) and per image (N, 4) xyxy px -> (sum of N, S, S, C) float32.

        The image shapes, which torchvision passes, are unused.
        """
        levels = list(features.values())
        rows = torch.cat([level.permute(0, 2, 3, 1).flatten(0, 2) for level in levels]).float()
        index, weight = self._samples(levels, boxes)
        with torch.autocast(rows.device.type, enabled=False):
            if rows.device.type in ("cpu", "cuda"):
                pooled = functional.embedding_bag(
                    index.flatten(0, 2), rows, per_sample_weights=weight.flatten(0, 2), mode="sum"
                )
            else:
                pooled = (rows[index] * weight[..., None]).sum(-2)
        return pooled.reshape(*index.shape[:3], rows.shape[1])

    def _samples(self, levels: list[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Rows of the four neighbours of each sample, and their weights: both (N, S, S, 4)."""
        xyxy = torch.cat(list(boxes))
        device = xyxy.device
        level = self._level(xyxy)
        shapes = torch.tensor([one.shape[-2:] for one in levels], device=device)
        per_image = shapes.prod(1)
        starts = (per_image.cumsum(0) - per_image) * len(boxes)
        image = torch.arange(len(boxes), device=device).repeat_interleave(
            torch.tensor([len(one) for one in boxes], device=device)
        )
        first = starts[level] + image * per_image[level]  # (N,)

        centres = (torch.arange(self.size, device=device) + 0.5) / self.size
        centres = 0.5 + self.reach * (centres - 0.5)
        at = xyxy[:, None, :2] + centres[:, None] * (xyxy[:, None, 2:] - xyxy[:, None, :2])
        stride = torch.tensor(self.strides, device=device, dtype=at.dtype)[level]
        last = shapes[level].flip(1)[:, None] - 1  # (N, 1, 2): of x and y
        # Pixel i of a map has its centre at i + 0.5.
        at = torch.minimum((at / stride[:, None, None] - 0.5).clamp(min=0), last)  # (N, S, 2)
        low = at.floor()
        share = at - low
        neighbours = torch.stack([low.long(), torch.minimum(low.long() + 1, last)], -1)
        shares = torch.stack([1 - share, share], -1)  # (N, S, 2, 2): x or y, low or high
        x, y = neighbours.unbind(2)
        share_x, share_y = shares.unbind(2)
        y = first[:, None, None] + y * shapes[level, 1][:, None, None]
        index = y[:, :, None, :, None] + x[:, None, :, None, :]
        weight = share_y[:, :, None, :, None] * share_x[:, None, :, None, :]
        return index.flatten(3), weight.flatten(3)

    def _level(self, xyxy: Tensor) -> Tensor:
        longest = (xyxy[:, 2:] - xyxy[:, :2]).amax(1).clamp(min=1e-6)
        coarsest = len(self.strides) - 1
        # The small term keeps a side of exactly `coarsest_from` from rounding down.
        level = coarsest + torch.log2(longest / self.coarsest_from) + 1e-6
        return level.floor().clamp(0, coarsest).long()
