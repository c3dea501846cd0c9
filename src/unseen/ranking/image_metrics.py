"""Per-pixel maps -> numbers per image: the metrics that rank images, and their embedding.

`alpha_metric` and `threshold_metric` are those of Ivanov et al. 2021, III. As in the paper all
metrics sum over pixels, so that large images with more to see rank higher; higher = label sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.errors import ConfigError
from unseen.ranking.regions import above


def pixel_sum(maps: Tensor) -> Tensor:
    """The sum (B,) over all pixels of maps (B, H, W), such as entropy or P(foreground)."""
    return maps.sum(dim=(1, 2))


def alpha_metric(score: Tensor, alpha: float) -> Tensor:
    """M_alpha: the sum of the unseen scores (B, H, W) in [0, 1] at power alpha > 0.

    The higher alpha, the less pixels with a low score count. Raises `ConfigError` if it is not
    positive.
    """
    if not alpha > 0:
        raise ConfigError(f"alpha={alpha!r}; expected a positive number, such as 2")
    return pixel_sum(score.pow(alpha))


def threshold_metric(score: npt.NDArray[np.floating[Any]], threshold: float) -> int:
    """M_thresh: the number of pixels whose unseen score (h, w) >= 0 is above a threshold >= 0."""
    return int(np.count_nonzero(above(score, threshold)))


def excess_metric(score: npt.NDArray[np.floating[Any]], threshold: float) -> float:
    """The sum of max(0, S - t): like M_thresh, but continuous, and strong pixels count more.

    The threshold t >= 0 is usually a quantile of the scores S (h, w) >= 0 over the pool.
    """
    strong = score[above(score, threshold)].astype(np.float64)
    return float((strong - threshold).sum())


def expected_counts(mass: Tensor, mean_areas: Sequence[float]) -> Tensor:
    """The number of examples of each class expected in an image: probability mass / mean area.

    Masses (B, K + 1) are sums over the pixels of P(class), and of the unseen score in the last
    column. The K mean areas are those of the enlarged boxes, in px of the maps; an example of an
    unseen class is taken to be as large as their mean. Returns (B, K + 1).
    """
    typical = sum(mean_areas) / len(mean_areas) if len(mean_areas) else 1.0
    return mass / mass.new_tensor([*mean_areas, typical])


def feature_sums(features: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of features weighted by the squared unseen score, and of plain ones: (B, D) each.

    Tiles of an image add up. The square emphasises the few strong pixels, so that two images with
    the same novelty lie close together even if the rest of them differs. Features are (B, D, h, w),
    one vector per stride x stride px from the top left, and scores (B, H, W) in [0, 1].
    """
    height, width = features.shape[2:]
    weights = F.adaptive_avg_pool2d(score[:, None].square(), (height, width))
    weighted = features.flatten(2) @ weights.flatten(1)[:, :, None]
    return weighted[:, :, 0], features.sum(dim=(2, 3))


def pooled(weighted: Tensor, plain: Tensor) -> Tensor:
    """The embedding (B, D) from `feature_sums`, of length 1: the mean vector, if scored a weighted one.

    It is 0 if all features are.
    """
    is_scored = weighted.any(dim=1, keepdim=True)
    return F.normalize(torch.where(is_scored, weighted, plain), dim=1, eps=1e-30)
