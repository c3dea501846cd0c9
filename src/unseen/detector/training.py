"""Training and using a detector: arrays in, a model or boxes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from unseen.arrays.devices import autocast, seeded
from unseen.arrays.scope import check_scopes
from unseen.detector.data import TrainingSet, augment, zoom
from unseen.detector.faster_rcnn import DetectorSpec, build_detector
from unseen.detector.lite_levels import BACKBONE_RATE, slow_parameters
from unseen.errors import ConfigError, LabelError, ShapeError, TrainingError
from unseen.progress import Progress, silent
from unseen.unet.class_balance import add_class_rectification, balanced_order
from unseen.unet.imbalance import class_imbalance

if TYPE_CHECKING:
    from unseen.steps.train_detector import TrainDetectorConfig

#: Peak learning rates: of layers without pretrained weights, and of a whole pretrained detector.
SCRATCH_RATE = 2e-3
PRETRAINED_RATE = 2e-4
WARM_UP = 0.15
WEIGHT_DECAY = 1e-4
GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class TrainedDetector:
    """A detector and how it came about.

    Attributes:
        model: in evaluation mode, on the device it was trained on.
        losses: the total loss of each step.
        steps: optimiser steps done.
        schedule: for the report, such as "100 epochs (750 steps)".
        pretrained: whether it started from pretrained weights.
        message: where the weights came from, in one sentence.
    """

    model: nn.Module
    losses: list[float]
    steps: int
    schedule: str
    pretrained: bool
    message: str


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, the most confident first.

    Attributes:
        xyxy: (N, 4) float32, px at native scale.
        labels: (N,) int64, indices into the classes of the spec.
        scores: (N,) float32 in [0, 1]; higher = more confident.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def fit_detector(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    *,
    spec: DetectorSpec,
    config: TrainDetectorConfig,
    device: torch.device,
    scopes: Sequence[np.ndarray | None] | None = None,
    progress: Progress = silent,
) -> TrainedDetector:
    """Train with the same hyper-parameters, however many images there are.

    Steps are `config.steps`, or as many as `config.epochs` passes over the images need: batches
    run on across the end of a pass, so that all are full.

    Args:
        images: of (H, W, 3) float32 in [0, 1] at native scale, of any sizes; may read on access.
        boxes: per image (N, 4) xyxy px at native scale; N may be 0.
        labels: per image (N,) indices into `spec.classes`.
        spec: what to build; `detector_spec` chooses it.
        config: epochs or steps, batch size, learning rate, weights, precision and seed.
        device: where to compute.
        scopes: per image the rectangles that are labelled, (N, 4) xyxy px at native scale, or None
            for all of it; what lies outside and in no box is no background. None: for all images.
        progress: told the steps.

    Raises:
        LabelError: no box in any image, or a label that is no index into the classes.
        ShapeError: boxes, labels and images do not belong together.
        TrainingError: no images, or the loss is not finite.
    """
    _check(images, boxes, labels, len(spec.classes))
    check_scopes(scopes, len(images))
    total, schedule = _schedule(len(images), config)
    rng = np.random.default_rng(config.seed)
    losses: list[float] = []
    with seeded(config.seed, device):
        model, pretrained, message = build_detector(spec, weights=config.weights)
        if config.rectification:
            _rectify(model, labels, spec, config.rectification)
        # torch's types know the memory format of tensors only, not that of modules.
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.train()
        data = TrainingSet(images, boxes, labels, spec, scopes)
        optimiser, rates = _optimiser(
            model, config.learning_rate or _default_rate(model, pretrained), total
        )
        order = (
            _endless(len(images), rng)
            if config.balance is None
            else balanced_order(labels, rng, threshold=config.balance)
        )
        for step in range(total):
            progress(step, total, "training the detector")
            batch = [augment(zoom(data[next(order)], rng), rng) for _ in range(config.batch_size)]
            inputs = [one.pixels.to(device) for one in batch]
            targets = [one.target(device) for one in batch]
            with autocast(config.precision, device):
                loss = torch.stack([part.float() for part in model(inputs, targets).values()]).sum()
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the detector's loss is {losses[-1]} at step {step + 1} of {total}; lower "
                    "learning_rate, or use precision='fp32'"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimiser.step()
            rates.step()
        progress(total, total, "training the detector")
    return TrainedDetector(model.eval(), losses, total, schedule, pretrained, message)


def detect(
    model: nn.Module, images: Sequence[np.ndarray], *, precision: str = "auto"
) -> list[Detections]:
    """Find objects in a batch of images of any sizes.

    Args:
        model: in evaluation mode.
        images: of (H, W, 3) float32 in [0, 1] at native scale.
        precision: "auto", "bf16" or "fp32".
    """
    if not images:
        return []
    device = next(model.parameters()).device
    inputs = [_channels_first(image).to(device) for image in images]
    with torch.inference_mode(), autocast(precision, device):
        found = model(inputs)
    return [
        Detections(
            xyxy=one["boxes"].float().cpu().numpy().reshape(-1, 4),
            labels=one["labels"].cpu().numpy() - 1,
            scores=one["scores"].float().cpu().numpy(),
        )
        for one in found
    ]


def _channels_first(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


def _schedule(n_images: int, config: TrainDetectorConfig) -> tuple[int, str]:
    if config.steps is not None:
        epochs = config.steps * config.batch_size / n_images
        return config.steps, f"{config.steps} steps ({epochs:.3g} epochs)"
    steps = math.ceil(config.epochs * n_images / config.batch_size)
    return steps, f"{config.epochs} epochs ({steps} steps)"


def _default_rate(model: nn.Module, pretrained: bool) -> float:
    # A backbone that has a rate of its own leaves the others theirs, which start from nothing.
    return PRETRAINED_RATE if pretrained and not slow_parameters(model) else SCRATCH_RATE


def _optimiser(
    model: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    slow = slow_parameters(model)
    is_slow = {id(p) for p in slow}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in is_slow]
    groups: list[dict[str, Any]] = [{"params": others}]
    if slow:
        groups.append({"params": slow, "lr": rate * BACKBONE_RATE})
    optimiser = torch.optim.AdamW(groups, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=[group["lr"] for group in optimiser.param_groups],
        total_steps=max(steps, 2),
        pct_start=WARM_UP,
    )
    return optimiser, rates


def _endless(n: int, rng: np.random.Generator) -> Iterator[int]:
    """Every index once per pass, in an order of its own, for ever."""
    while True:
        yield from rng.permutation(n).tolist()


def _rectify(
    model: nn.Module, labels: Sequence[np.ndarray], spec: DetectorSpec, weight: float
) -> None:
    """Add the class rectification loss, the stronger the more unequal the classes are."""
    if not isinstance(model, FasterRCNN):
        raise ConfigError(
            f"rectification={weight} with detector={spec.detector!r}; it compares boxes in the head "
            "of Faster R-CNN: choose that detector, or 0"
        )
    found = np.concatenate([np.asarray(of, np.int64).reshape(-1) for of in labels])
    counts = np.bincount(found)
    add_class_rectification(model, weight=weight * class_imbalance(counts[counts > 0]))


def _check(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    n_classes: int,
) -> None:
    if not len(images):
        raise TrainingError("no labelled images to train the detector on; label some first")
    if not len(images) == len(boxes) == len(labels):
        raise ShapeError(
            f"{len(images)} images, {len(boxes)} lists of boxes and {len(labels)} of labels; "
            "expected as many of each"
        )
    for index, (xyxy, names) in enumerate(zip(boxes, labels, strict=True)):
        if np.shape(xyxy) != (len(names), 4) and len(names) + np.size(xyxy) > 0:
            raise ShapeError(
                f"image {index}: boxes of shape {np.shape(xyxy)} with {len(names)} labels; "
                f"expected ({len(names)}, 4)"
            )
        if len(names) and not 0 <= np.min(names) <= np.max(names) < n_classes:
            raise LabelError(
                f"image {index}: labels from {np.min(names)} to {np.max(names)}; expected indices "
                f"of the {n_classes} classes"
            )
    if not any(len(names) for names in labels):
        raise LabelError(
            f"none of the {len(images)} labelled images has a box; label at least one object"
        )
