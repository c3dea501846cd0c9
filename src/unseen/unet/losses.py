"""What the UNet minimises: cross-entropy, the generalised Dice loss, and the paper's losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.arrays.masks import BACKGROUND
from unseen.errors import ShapeError
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE


def unet_loss(logits: Tensor, target: Tensor, spec: UNetSpec, *, dice: float = 0.0) -> Tensor:
    """The mean loss over the pixels that are not IGNORE, () float32; 0 if there are none.

    Recommended mode: cross-entropy without class weights, plus `dice` times the generalised Dice
    loss. Paper mode: for both maps, background and foreground, the squared error of the linear
    output or the binary cross-entropy of its sigmoid. Takes (B, K, H, W) float32 logits and a
    (B, H, W) int64 target.
    """
    counts = target != IGNORE
    total = counts.sum().clamp_min(1)
    if not spec.is_paper:
        entropy = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum") / total
        return entropy + dice * generalised_dice_loss(logits, target) if dice else entropy
    truth = torch.stack([target == BACKGROUND, target > BACKGROUND], dim=1).to(logits.dtype)
    if spec.paper_loss == "mse":
        loss = F.mse_loss(logits, truth, reduction="none")
    else:
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (loss.mean(dim=1) * counts).sum() / total


def generalised_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The generalised Dice loss, which weighs every class alike however few pixels it has.

    Sudre, Li, Vercauteren, Ourselin & Cardoso 2017. Over all pixels of the batch, with r and p the
    truth and the softmax of class l at pixel n, and w_l = 1 / (sum_n r_ln)^2:

        1 - 2 sum_l w_l sum_n r_ln p_ln / sum_l w_l sum_n (r_ln + p_ln)

    A class without a pixel in the batch gets the largest weight of the others, so that predicting
    it costs as much as over-predicting the rarest class. The loss says little about confidence: add
    it to the cross-entropy instead of replacing it. Takes (B, K, H, W) logits and a (B, H, W) int64
    target; gives () float32 in [0, 1], 0 if every pixel is IGNORE.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError(
            f"logits of shape {tuple(logits.shape)} and a target of shape {tuple(target.shape)}; "
            "expected (B, K, H, W) and (B, H, W)"
        )
    counts = target != IGNORE
    p = logits.to(torch.promote_types(logits.dtype, torch.float32))
    p = p.movedim(1, -1)[counts].softmax(dim=1)  # (N, K)
    truth = F.one_hot(target[counts], logits.shape[1]).to(p.dtype)
    volume = truth.sum(0)
    # Scaled so that the largest weight is 1: squares of millions of pixels would underflow.
    smallest = torch.where(volume > 0, volume, torch.inf).amin()
    weight = torch.where(volume > 0, (smallest / volume.clamp(min=1)) ** 2, 1.0)
    overlap = (weight * (truth * p).sum(0)).sum()
    total = (weight * (volume + p.sum(0))).sum()
    # Without a pixel the sums over no rows are 0, and so is their gradient.
    return 1 - 2 * overlap / total if counts.any() else p.sum()
