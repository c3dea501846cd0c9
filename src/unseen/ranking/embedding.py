"""One vector per image that says what its unseen pixels look like."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.errors import ShapeError


def pooled_features(features: Tensor, score: Tensor) -> Tensor:
    """The mean feature vector, each place weighted by the square of its unseen score.

    The square lets the few strong pixels speak; two images with the same kind of novelty then lie
    close together even if the rest of them differs. An image without any score gets the plain mean.

    Args:
        features: (B, D, h, w) float32, one vector per stride x stride px, starting top left.
        score: (B, H, W) float32 in [0, 1], with h = ceil(H / stride), w = ceil(W / stride).

    Returns:
        (B, D) float32 of length 1 (or 0 where all features are 0).

    Raises:
        ShapeError: the arguments do not fit each other.
    """
    if features.ndim != 4 or score.ndim != 3 or features.shape[0] != score.shape[0]:
        raise ShapeError(
            f"features have shape {tuple(features.shape)} and scores "
            f"{tuple(score.shape)}; expected (B, D, h, w) and (B, H, W)"
        )
    height, width = features.shape[2:]
    weights = F.adaptive_avg_pool2d(score[:, None].square(), (height, width))
    total = weights.sum(dim=(2, 3), keepdim=True)
    weights = torch.where(total > 0, weights / total.clamp_min(1e-30), 1 / (height * width))
    return F.normalize((features * weights).sum(dim=(2, 3)), dim=1)
