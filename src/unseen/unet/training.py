"""Fit the UNet to the labelled images, from scratch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.adamw import adamw

from unseen.arrays.devices import autocast
from unseen.arrays.images import Pixels
from unseen.arrays.read_ahead import iterate_ahead
from unseen.errors import TrainingError
from unseen.progress import Progress, silent
from unseen.unet.crops import CropSampler, LabelledImages
from unseen.unet.losses import unet_loss
from unseen.unet.network import UNet, UNetSpec
from unseen.unet.outlier_exposure import PatchSource

if TYPE_CHECKING:
    from unseen.steps.train_unet import TrainUnetConfig

_WARM_UP = 0.15
#: Share of the crops with synthetic unseen patches (recommended mode).
PATCH_SHARE = 0.7
_WEIGHT_DECAY = 1e-4
_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainedUNet:
    """A trained network and what was recorded on the way."""

    model: UNet  #: in eval mode, on the device it was trained on
    losses: list[float]  #: of each step
    mean_areas: list[float]  #: of the enlarged boxes of each foreground map, px at working scale
    scale: float  #: working px per native px

    @property
    def description(self) -> dict[str, Any]:
        """All that is needed to use its weights, as JSON data for `save_checkpoint`."""
        spec = self.model.spec.to_dict()
        return {"kind": "unet", "spec": spec, "scale": self.scale, "mean_areas": self.mean_areas}


def fit_unet(
    images: Sequence[Pixels],
    boxes: Sequence[npt.ArrayLike],
    labels: Sequence[npt.ArrayLike],
    *,
    spec: UNetSpec,
    config: TrainUnetConfig,
    scopes: Sequence[npt.ArrayLike | None] | None = None,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> TrainedUNet:
    """Train on random crops with AdamW and one cycle of the learning rate.

    Reproducible on one machine's CPU for the same seed; the global random state is neither read nor
    changed.

    Args:
        images: each (h, w, C) at working scale, of any size: float32 in [0, 1], or integers as
            shares of their type's largest value. An `ImageStore` is read crop by crop.
        boxes: for each image (N, 4) xyxy, px of the *native* image; N may be 0.
        labels: for each image (N,) indices into `spec.classes`.
        spec: the network.
        config: steps, batch and crop size, learning rate, margin, patches, precision, seed.
        scopes: for each image the labelled rectangles, (N, 4) xyxy, px of the *native* image, or
            None for all of it; outside only the boxes count. None: all images are fully labelled.
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
        channels=spec.in_channels,
        scopes=scopes,
    )
    model = _new_model(spec, data, seed=config.seed).to(device)
    patches = None
    if not spec.is_paper:
        ring = round(config.box_margin * scale)
        patches = PatchSource(data, data.std, unseen=len(spec.classes) + 1, ring=ring)
    # No larger than the largest image needs, and a multiple of the stride.
    size = min(config.crop_size, max(map(max, data.sizes)))
    # Batch normalisation needs more than one value at the coarsest level.
    size = max(2, math.ceil(size / model.stride)) * model.stride
    sampler = CropSampler(data, size=size, patches=patches, patch_share=PATCH_SHARE, rng=rng)
    losses = _optimise(model, sampler, config, progress)
    return TrainedUNet(model.eval(), losses, data.mean_areas(len(spec.foreground_maps)), scale)


def one_cycle(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step from 0 to steps - 1, in (0, 1].

    A linear warm-up over 15 % of the steps, then half a cosine.
    """
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    left = (steps - step) / (steps - warm_up + 1)
    return (1 - math.cos(math.pi * left)) / 2


class AdamW:
    """`torch.optim.AdamW` with a limit on the gradient's norm, for all weights as one vector.

    Weights and gradients become views of two vectors, so that a step is a few long operations and
    not thousands of short ones. And the class loads all of torch.compile when it is first made, which
    takes as long as 50 steps.
    """

    def __init__(
        self, weights: Iterable[Tensor], *, weight_decay: float, most_norm: float = math.inf
    ) -> None:
        weights = list(weights)
        self._decay, self._most_norm = weight_decay, most_norm
        self._weights = weights[0].new_empty(sum(w.numel() for w in weights))
        zeros = (torch.zeros_like(self._weights) for _ in range(3))
        self._gradient, self._mean, self._square = zeros
        self._step = self._weights.new_zeros(())
        start = 0
        for w in weights:
            place = w.shape, w.stride(), start  # each keeps its layout in memory
            start += w.numel()
            w.data = self._weights.as_strided(*place).copy_(w.data)
            w.grad = self._gradient.as_strided(*place)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Follow the gradients at this learning rate, and set them to 0."""
        norm = self._gradient.norm()
        self._gradient.mul_((self._most_norm / (norm + 1e-6)).clamp(max=1))
        vectors = [self._weights], [self._gradient], [self._mean], [self._square], list[Tensor]()
        limits: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
        limits |= {"lr": rate, "weight_decay": self._decay, "amsgrad": False, "maximize": False}
        # Not on MPS, where older versions of PyTorch cannot.
        fused = norm.device.type in ("cpu", "cuda")
        adamw(*vectors, [self._step], fused=fused, **limits)
        self._gradient.zero_()


def _optimise(
    model: UNet,
    sampler: CropSampler,
    config: TrainUnetConfig,
    progress: Progress,
) -> list[float]:
    device = model.mean.device
    model.train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    weights = model.parameters()
    optimiser = AdamW(weights, weight_decay=_WEIGHT_DECAY, most_norm=_GRADIENT_NORM)
    losses: list[float] = []
    steps = range(config.optimiser_steps)
    batches = (sampler.batch(config.batch_size) for _ in steps)
    for step, batch in zip(steps, iterate_ahead(batches, ahead=1), strict=True):
        images, target = (part.to(device) for part in batch)
        with autocast(config.precision, device):
            logits = model(images.contiguous(memory_format=torch.channels_last)).logits
        loss = unet_loss(logits, target, model.spec, dice=config.dice)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"the loss is {losses[-1]} at step {step + 1} of {config.optimiser_steps}; lower "
                f"learning_rate (now {config.learning_rate:g}), or use precision fp32"
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step(config.learning_rate * one_cycle(step, config.optimiser_steps))
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
