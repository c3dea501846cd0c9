"""CenterNet's three losses, in float32 whatever the network computes in.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points", equations 1 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from unseen.detector.centernet_targets import CentreTargets

#: Exponents: how little sure cells count, and how little the neighbours of a centre count.
FOCUS, FORGIVENESS = 2, 4
#: Weights of size and offset beside the heatmap. (The paper has 0.1 for sizes in cells.)
SIZE_WEIGHT, OFFSET_WEIGHT = 1.0, 1.0


def centernet_losses(
    heat: Tensor, offsets: Tensor, sizes: Tensor, truth: CentreTargets, is_inside: Tensor
) -> dict[str, Tensor]:
    """The weighted losses; their sum is what to minimise.

    Args:
        heat: (B, K, H, W) logits.
        offsets: (B, 2, H, W) x and y, cells.
        sizes: (B, 2, H, W) natural logarithm of width and height in cells.
        truth: what they should be.
        is_inside: (B, H, W) bool; cells of the padding, or that nobody looked at, do not count.

    Returns:
        loss_heat, loss_offset and loss_size, each () float32 and divided by the number of objects;
        the latter two are absolute differences, over the cells of an object in the mean.
    """
    image, row, column = truth.cells.unbind(1)
    centres = truth.weights.sum().clamp(min=1)
    away = [
        (truth.weights * (found[image, :, row, column].float() - expected).abs().sum(1)).sum()
        / centres
        for found, expected in ((offsets, truth.offsets), (sizes, truth.sizes))
    ]
    return {
        "loss_heat": penalty_reduced_focal_loss(heat, truth.heat, is_inside),
        "loss_offset": OFFSET_WEIGHT * away[0],
        "loss_size": SIZE_WEIGHT * away[1],
    }


def penalty_reduced_focal_loss(logits: Tensor, truth: Tensor, is_inside: Tensor) -> Tensor:
    """The focal loss of the heatmap, which forgives heat near a centre.

    With p the sigmoid of a logit and y its truth, summed over cells and divided by the number of
    cells with y = 1 (by 1 where there is none):

        -(1 - p)^2 log p               where y = 1
        -(1 - y)^4 p^2 log(1 - p)      elsewhere

    Args:
        logits: (B, K, H, W).
        truth: (B, K, H, W) in [0, 1].
        is_inside: (B, H, W) bool; other cells do not count.

    Returns:
        () float32, at least 0; finite with finite gradients for all finite logits.
    """
    logits, truth = logits.float(), truth.float()
    # The logarithm of a probability that was rounded to 0 would be infinite: from the logits.
    log_p, log_not_p = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    p = torch.sigmoid(logits)
    is_centre = truth == 1
    at_centre = -((1 - p) ** FOCUS) * log_p
    elsewhere = -((1 - truth) ** FORGIVENESS) * p**FOCUS * log_not_p
    loss = torch.where(is_centre, at_centre, elsewhere) * is_inside[:, None]
    return loss.sum() / is_centre.sum().clamp(min=1)
