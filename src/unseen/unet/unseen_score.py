"""S_unseen: how far a pixel is neither background nor a seen object (Ivanov et al. 2021, III)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from unseen.errors import ShapeError
from unseen.unet.network import UNetSpec


class ProbabilityMaps(NamedTuple):
    """Per-pixel probabilities, float32 in [0, 1].

    In the recommended mode background + sum of classes + unseen = 1. The two maps of the paper mode
    are independent and need not add up to anything.
    """

    background: Tensor  #: (B, H, W)
    classes: Tensor  #: (B, K, H, W); the paper mode has K = 1, all seen objects
    unseen: Tensor  #: (B, H, W), S_unseen; higher = more novel

    @property
    def foreground(self) -> Tensor:
        """(B, H, W): probability of any seen object."""
        return self.classes.sum(dim=1)


def probability_maps(logits: Tensor, spec: UNetSpec) -> ProbabilityMaps:
    """Turn the (B, K, H, W) float32 output of a `UNet` into probabilities and the unseen score.

    Recommended mode: softmax over {background, classes, unseen}. P(unseen) equals 1 - P(bg) - P(fg)
    but is read off directly: a difference of numbers near 1 has no digits left. Paper mode: the
    maps as they are (mse) or through a sigmoid (bce). Raises `ShapeError` if the maps are not the
    spec's.
    """
    if logits.ndim != 4 or logits.shape[1] != len(spec.maps):
        raise ShapeError(
            f"logits have shape {tuple(logits.shape)}; expected (B, {len(spec.maps)}, H, W) for "
            f"the maps {', '.join(spec.maps)}"
        )
    if not spec.is_paper:
        p = logits.softmax(dim=1)
        return ProbabilityMaps(p[:, 0], p[:, 1:-1], p[:, -1])
    maps = logits.sigmoid() if spec.paper_loss == "bce" else logits
    score = unseen_score(maps[:, 0], maps[:, 1])
    # Linear maps leave [0, 1]. The score uses them unclipped; areas and counts need probabilities.
    maps = maps.clamp(0, 1)
    return ProbabilityMaps(maps[:, 0], maps[:, 1:], score)


def maps_and_entropy(logits: Tensor, spec: UNetSpec) -> tuple[ProbabilityMaps, Tensor]:
    """`probability_maps` and their `entropy`, together in half of the time on a CPU."""
    if spec.is_paper:
        maps = probability_maps(logits, spec)
        return maps, entropy(maps)
    # With e = exp(l - max) and z = sum e: p = e / z and H = log z - sum p (l - max).
    below = logits - logits.amax(dim=1, keepdim=True)
    p = _exp(below)
    total = p.sum(dim=1, keepdim=True)
    p *= total.reciprocal()
    spread = _log_(total)[:, 0] - below.mul_(p).sum(dim=1)
    return ProbabilityMaps(p[:, 0], p[:, 1:-1], p[:, -1]), spread.clamp_min_(0)


def unseen_score(background: Tensor, foreground: Tensor) -> Tensor:
    """S = 1 - P(background) - P(foreground), clipped to [0, 1]; any shape."""
    return (1 - background - foreground).clamp(0, 1)


def entropy(maps: ProbabilityMaps) -> Tensor:
    """Entropy over {background, classes, unseen}, (B, H, W) in nats, in [0, log(K + 2)].

    The paper mode's maps are first divided by their sum, which is never below 1 with S included.
    """
    # With total = sum p: H = log(total) - sum(p log p) / total. One map after the other in one
    # buffer; `torch.special.entr` over all maps takes six times as long on a CPU (torch 2.15).
    negative, total = torch.zeros_like(maps.background), torch.zeros_like(maps.background)
    buffer = torch.empty_like(maps.background)
    for p in (maps.background, *maps.classes.unbind(dim=1), maps.unseen):
        torch.clamp_min(p, 1e-30, out=buffer)
        negative.addcmul_(_log_(buffer), p, value=-1)
        total.add_(p)
    return negative.div_(total).add_(_log_(total)).clamp_min_(0)


def _exp(values: Tensor) -> Tensor:
    """The exponential; on CPUs that of OpenCV, which takes a seventh of the time (torch 2.14)."""
    if values.device.type != "cpu":
        return values.exp()
    flat = values.reshape(len(values), -1)
    return torch.from_numpy(cv2.exp(flat.numpy())).view(values.shape)


def _log_(values: Tensor) -> Tensor:
    """The logarithm in place; on CPUs that of NumPy, which takes a third of the time."""
    if values.device.type != "cpu":
        return values.log_()
    np.log(values.numpy(), out=values.numpy())
    return values
