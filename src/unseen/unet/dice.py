"""The generalised Dice loss, which weighs every class alike however few pixels it has.

Sudre, Li, Vercauteren, Ourselin & Cardoso 2017, "Generalised Dice overlap as a deep learning loss
function for highly unbalanced segmentations".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.errors import ShapeError
from unseen.unet.outlier_exposure import IGNORE


def generalised_dice_loss(logits: Tensor, target: Tensor, *, ignore: int = IGNORE) -> Tensor:
    """One minus the overlap of probabilities and truth, over all pixels of the batch together.

    With r and p the truth and the softmax of class l at pixel n, and w_l = 1 / (sum_n r_ln)^2:

        1 - 2 sum_l w_l sum_n r_ln p_ln / sum_l w_l sum_n (r_ln + p_ln)

    A class without a pixel in the batch has no such weight; it gets the largest one of the others,
    so that predicting it there costs as much as predicting too much of the smallest class. The loss
    says little about how sure the network is: add it to the cross-entropy, not in its place.

    Args:
        logits: (B, K, H, W).
        target: (B, H, W) int64 in [0, K) or `ignore`.
        ignore: target of the pixels that do not count.

    Returns:
        () float32 in [0, 1]; 0 when no pixel counts.

    Raises:
        ShapeError: the two do not belong together.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError(
            f"logits of shape {tuple(logits.shape)} and a target of shape {tuple(target.shape)}; "
            "expected (B, K, H, W) and (B, H, W)"
        )
    n_classes = logits.shape[1]
    counts = target != ignore
    # (N, K): where whole batches are empty, sums over no rows are 0 and so is the gradient.
    p = logits.to(torch.promote_types(logits.dtype, torch.float32))
    p = p.movedim(1, -1)[counts].softmax(dim=1)
    truth = F.one_hot(target[counts], n_classes).to(p.dtype)
    volume = truth.sum(0)
    weight = _weights(volume)
    overlap = (weight * (truth * p).sum(0)).sum()
    total = (weight * (volume + p.sum(0))).sum()
    # Nothing counts: 1 - 2 * 0 / 0 is to be 0.
    return torch.where(total > 0, 1 - 2 * overlap / total.clamp_min(1e-30), p.sum())


def _weights(volume: Tensor) -> Tensor:
    """(K,) pixels per class -> (K,) weights, scaled so that the largest is 1."""
    is_present = volume > 0
    # The factor cancels in the ratio; without it, squares of millions of pixels would underflow.
    smallest = torch.where(is_present, volume, torch.inf).amin()
    weight: Tensor = torch.where(is_present, (smallest / volume.clamp(min=1)) ** 2, 1.0)
    return torch.where(torch.isfinite(smallest), weight, torch.zeros_like(weight))
