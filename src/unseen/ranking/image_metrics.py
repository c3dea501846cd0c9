"""Per-pixel maps -> one number per image, by which images are ranked.

The first two are those of Ivanov et al. 2021, III. All sum over pixels, so that large images with
more to see rank higher, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unseen.errors import ConfigError, ShapeError


def alpha_metric(score: Tensor, alpha: float) -> Tensor:
    """M_alpha: the sum of all unseen scores at power alpha.

    Args:
        score: (B, H, W) float32 in [0, 1]; 1 = neither background nor seen foreground.
        alpha: exponent > 0; the higher, the less the low-scoring pixels count.

    Returns:
        (B,) float32 in [0, H * W]; higher = label sooner.

    Raises:
        ShapeError: score is not (B, H, W).
        ConfigError: alpha is not positive.
    """
    if not alpha > 0:
        raise ConfigError(f"alpha={alpha!r}; expected a positive number, such as 2")
    return _maps(score).pow(alpha).sum(dim=(1, 2))


def threshold_metric(score: Tensor, threshold: float) -> Tensor:
    """M_thresh: the number of pixels whose unseen score is above a threshold.

    Args:
        score: (B, H, W) float32 in [0, 1].
        threshold: t; pixels at exactly t do not count.

    Returns:
        (B,) float32 in [0, H * W]; higher = label sooner.
    """
    return (_maps(score) > threshold).sum(dim=(1, 2)).float()


def excess_metric(score: Tensor, threshold: float) -> Tensor:
    """The sum of max(0, S - t): like M_thresh, but strong pixels count more and none counts a jump.

    Args:
        score: (B, H, W) float32 in [0, 1].
        threshold: t, usually a quantile of S over the pool.

    Returns:
        (B,) float32 in [0, H * W]; higher = label sooner.
    """
    return (_maps(score) - threshold).clamp_min(0).sum(dim=(1, 2))


def entropy_metric(entropy: Tensor) -> Tensor:
    """The sum of the entropy over all pixels.

    Args:
        entropy: (B, H, W) float32, nats.

    Returns:
        (B,) float32 >= 0, nats; higher = label sooner.
    """
    return _maps(entropy).sum(dim=(1, 2))


def foreground_area(foreground: Tensor) -> Tensor:
    """The expected number of foreground pixels: the sum of P(foreground).

    Args:
        foreground: (B, H, W) float32 in [0, 1].

    Returns:
        (B,) float32 in [0, H * W], px at working scale; higher = label sooner.
    """
    return _maps(foreground).sum(dim=(1, 2))


def expected_counts(
    class_probabilities: Tensor, unseen: Tensor, mean_areas: Sequence[float]
) -> Tensor:
    """How many examples of each class an image is expected to hold: probability mass / mean area.

    Args:
        class_probabilities: (B, K, H, W) float32 in [0, 1].
        unseen: (B, H, W) float32 in [0, 1].
        mean_areas: (K,) mean area of a class's enlarged boxes, px of the maps, > 0. An example
            of an unseen class is taken to be as large as the mean of these.

    Returns:
        (B, K + 1) float32 >= 0, examples; the last column is `unseen`.

    Raises:
        ShapeError: the arguments do not fit each other.
    """
    count = class_probabilities.shape[1] if class_probabilities.ndim == 4 else -1
    if count != len(mean_areas) or min(mean_areas, default=1.0) <= 0:
        raise ShapeError(
            f"class probabilities have shape {tuple(class_probabilities.shape)} and there are "
            f"{len(mean_areas)} mean areas {list(mean_areas)}; expected (B, K, H, W) and K "
            "positive areas"
        )
    mass = torch.cat(
        [class_probabilities.sum(dim=(2, 3)), _maps(unseen).sum(dim=(1, 2))[:, None]], 1
    )
    typical = sum(mean_areas) / len(mean_areas) if len(mean_areas) else 1.0
    areas = torch.tensor([*mean_areas, typical], dtype=torch.float32, device=mass.device)
    return mass / areas


def _maps(maps: Tensor) -> Tensor:
    if maps.ndim != 3 or not maps.shape[1] * maps.shape[2]:
        raise ShapeError(f"maps have shape {tuple(maps.shape)}; expected (B, H, W) with H * W > 0")
    return maps
