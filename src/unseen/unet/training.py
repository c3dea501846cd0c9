"""Fit the UNet to the labelled images, from scratch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.arrays.devices import autocast
from unseen.arrays.masks import BACKGROUND
from unseen.errors import TrainingError
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.dice import generalised_dice_loss
from unseen.unet.near_misses import NearMissSource
from unseen.unet.network import UNet, UNetSpec
from unseen.unet.outlier_exposure import IGNORE, PatchSource

if TYPE_CHECKING:
    from unseen.steps.train_unet import TrainUnetConfig

#: `progress(done, total, label)`.
ProgressListener = Callable[[float, float, str], None]

_WARM_UP = 0.15
_WEIGHT_DECAY = 1e-4
_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainedUNet:
    """A fitted network and what was noted on the way.

    Attributes:
        model: in eval mode, on the device it was trained on.
        losses: of each step.
        mean_areas: of the enlarged boxes of each of `spec.foreground_maps`, px at working scale;
            the paper mode has one for all objects.
    """

    model: UNet
    losses: list[float]
    mean_areas: list[float]


def fit_unet(
    images: Sequence[npt.NDArray[np.float32]],
    boxes: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike],
    *,
    spec: UNetSpec,
    config: TrainUnetConfig,
    scopes: Sequence[npt.ArrayLike | None] | None = None,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
    progress: ProgressListener | None = None,
) -> TrainedUNet:
    """Train from scratch on random crops.

    AdamW, one cycle of the learning rate. Reproducible on one machine's CPU for the same seed; the
    global random state is neither read nor changed.

    Args:
        images: each (h, w, C) float32 in [0, 1] at working scale; sizes may differ, also below the
            crop size.
        boxes: for each image (N, 4) xyxy, px of the *native* image; N may be 0.
        labels: for each image (N,) indices into `spec.classes`.
        spec: the network.
        config: steps, batch and crop size, learning rate, margin, patches, precision, seed.
        scopes: for each image the rectangles that are labelled, (N, 4) xyxy, px of the *native*
            image, or None for all of it; outside only the boxes count. None: for all images.
        scale: working px per native px.
        device: where to train.
        progress: called after each step.

    Raises:
        TrainingError: there are no images, or the loss is not finite.
        ShapeError: the arguments do not fit each other.
    """
    device = torch.device(device)
    rng = np.random.default_rng(config.seed)
    data = LabelledImages.of(
        images,
        boxes,
        labels,
        class_count=len(spec.classes),
        scale=scale,
        margin=config.box_margin,
        scopes=scopes,
    )
    model = _new_model(spec, data, seed=config.seed).to(device)
    sampler = CropSampler(
        data,
        size=_crop_size(config.crop_size, data, model.stride),
        patches=_patches(spec, data, config, ring=round(config.box_margin * scale)),
        patch_share=config.patch_share,
        rng=rng,
    )
    losses = _optimise(model, sampler, config, progress)
    model.eval()
    if spec.is_paper:
        merged = [np.zeros_like(k) for k in data.labels]
        data = LabelledImages(data.images, data.targets, data.pixels, merged, data.mean, data.std)
    return TrainedUNet(model, losses, data.mean_areas(len(spec.foreground_maps)))


def unet_loss(logits: Tensor, target: Tensor, spec: UNetSpec, *, dice: float = 0.0) -> Tensor:
    """The mean loss over the pixels that count.

    Recommended mode: cross-entropy without class weights, and on request a share of the generalised
    Dice loss. Paper mode: for both maps, background and
    foreground, squared error of the linear output or binary cross-entropy of its sigmoid.

    Args:
        logits: (B, K, H, W) float32.
        target: (B, H, W) int64; IGNORE pixels do not count.
        spec: the network's.
        dice: weight of the Dice loss, >= 0.

    Returns:
        () float32; 0 when no pixel counts.
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


def one_cycle(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up over 15 % of the steps, then half a cosine.

    Args:
        step: from 0 to steps - 1.
        steps: in all.

    Returns:
        In (0, 1].
    """
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    left = (steps - step) / (steps - warm_up + 1)
    return (1 - math.cos(math.pi * left)) / 2


def _optimise(
    model: UNet,
    sampler: CropSampler,
    config: TrainUnetConfig,
    progress: ProgressListener | None,
) -> list[float]:
    device = model.mean.device
    model.train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    losses: list[float] = []
    for step in range(config.optimiser_steps):
        images, target = (part.to(device) for part in sampler.batch(config.batch_size))
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * one_cycle(step, config.optimiser_steps)
        with autocast(config.precision, device):
            logits = model(images.contiguous(memory_format=torch.channels_last)).logits
        loss = unet_loss(logits, target, model.spec, dice=config.dice)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"the loss is {losses[-1]} at step {step + 1} of {config.optimiser_steps}; lower "
                f"learning_rate (now {config.learning_rate:g}), or use precision fp32"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        optimiser.step()
        if progress is not None:
            progress(step + 1, config.optimiser_steps, "train UNet")
    return losses


def _new_model(spec: UNetSpec, data: LabelledImages, *, seed: int) -> UNet:
    # Made on the CPU, so that the weights do not depend on the device.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet(spec)
    model.mean.copy_(torch.from_numpy(data.mean))
    model.std.copy_(torch.from_numpy(data.std))
    return model


def _patches(
    spec: UNetSpec, data: LabelledImages, config: TrainUnetConfig, *, ring: int
) -> PatchSource | None:
    if spec.is_paper:
        return None
    kind = NearMissSource if config.near_misses else PatchSource
    return kind(data.images, data.std, unseen=len(spec.classes) + 1, ring=ring)


def _crop_size(wanted: int, data: LabelledImages, stride: int) -> int:
    """The crop size as a multiple of the stride, not larger than the largest image needs."""
    largest: int = max(max(target.shape) for target in data.targets)
    return math.ceil(min(wanted, largest) / stride) * stride
