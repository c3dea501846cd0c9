"""CenterNet's three losses, in float32 whatever the network computes in.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points", equations 1 to 4, with equal weights. (The
paper weights sizes, there in cells, by 0.1.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from unseen.detector.centernet.encoding import CentreTargets

#: Exponents of the focal loss: of confident cells, and of the neighbours of a centre.
FOCUS, FORGIVENESS = 2, 4


def centernet_losses(
    heat: Tensor, offsets: Tensor, sizes: Tensor, truth: CentreTargets, counts: Tensor
) -> dict[str, Tensor]:
    """loss_heat, loss_offset and loss_size, each () float32 and per object; minimise their sum.

    Takes (B, K, H, W) logits, the (B, 2, H, W) offsets and log sizes in cells, and (B, H, W) bool:
    cells of the padding, or that nobody looked at, do not count. Offset and size are absolute
    differences, averaged over the cells of each object.
    """
    image, row, column = truth.cells.unbind(1)
    objects = truth.weights.sum().clamp(min=1)

    def mean_difference(maps: Tensor, expected: Tensor) -> Tensor:
        away = (maps[image, :, row, column].float() - expected).abs().sum(1)
        return (truth.weights * away).sum() / objects

    return {
        "loss_heat": penalty_reduced_focal_loss(heat, truth.heat, counts),
        "loss_offset": mean_difference(offsets, truth.offsets),
        "loss_size": mean_difference(sizes, truth.sizes),
    }


def penalty_reduced_focal_loss(logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """The focal loss of the heatmap, which forgives heat near a centre; () float32, at least 0.

    With p the sigmoid of a logit and y its truth, both (B, K, H, W), summed over the cells that
    count and divided by the number of cells with y = 1 (by 1 if there is none):

        -(1 - p)^2 log p               where y = 1
        -(1 - y)^4 p^2 log(1 - p)      elsewhere
    """
    logits, truth = logits.float(), truth.float()
    # The logarithm of a probability that was rounded to 0 would be infinite: from the logits.
    log_p, log_not_p = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    p = torch.sigmoid(logits)
    is_centre = truth == 1
    at_centre = -((1 - p) ** FOCUS) * log_p
    elsewhere = -((1 - truth) ** FORGIVENESS) * p**FOCUS * log_not_p
    loss = torch.where(is_centre, at_centre, elsewhere) * counts[:, None]
    return loss.sum() / is_centre.sum().clamp(min=1)
