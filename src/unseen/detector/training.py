"""Training and using a detector: arrays in, a model or boxes out."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from unseen.arrays.boxes import check_labelled
from unseen.arrays.devices import autocast, seeded
from unseen.arrays.images import as_float
from unseen.arrays.read_ahead import iterate_ahead
from unseen.arrays.scope import check_scopes
from unseen.detector import detectors
from unseen.detector.backbones import slow_parameters
from unseen.detector.data import Labelled, TrainingSet, augment, image_order, resize, tile, zoom
from unseen.detector.data_parallel import data_parallel, over_all, rank_and_size
from unseen.detector.models import DetectorSpec, build_detector
from unseen.detector.tiles import is_cut, merge, tile_corners
from unseen.errors import LabelError, TrainingError
from unseen.progress import Progress, silent
from unseen.unet.imbalance import class_imbalance

if TYPE_CHECKING:
    from unseen.steps.train_detector import TrainDetectorConfig

#: Peak learning rates: of layers without pretrained weights, and of a whole pretrained detector.
SCRATCH_RATE = 2e-3
PRETRAINED_RATE = 2e-4
#: Learning rate of a pretrained small backbone, as a share of that of the other layers.
BACKBONE_RATE = 0.3
WARM_UP = 0.15
WEIGHT_DECAY = 1e-4
GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class TrainedDetector:
    """A detector and how it came about."""

    model: nn.Module  #: in evaluation mode, on the device it was trained on
    spec: DetectorSpec
    losses: list[float]  #: the total loss of each step
    steps: int  #: optimiser steps done
    schedule: str  #: for the report, such as "100 epochs (750 steps)"
    pretrained: bool  #: whether it started from pretrained weights
    message: str  #: where the weights came from, in one sentence


class Snapshots(Protocol):
    """Where a training that is interrupted finds how far it was."""

    def load(self) -> bytes | None:
        """The last snapshot, if there is one."""

    def save(self, make: Callable[[], bytes]) -> None:
        """Called after each step; keeps a snapshot if it is time for one."""


@dataclass(frozen=True)
class Detections:
    """The objects found in one image, the most confident first."""

    xyxy: np.ndarray  #: (N, 4) float32, px at native scale
    labels: np.ndarray  #: (N,) int64, indices into the classes of the spec
    scores: np.ndarray  #: (N,) float32 in [0, 1]; higher = more confident


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
    snapshots: Snapshots | None = None,
) -> TrainedDetector:
    """Train with the same hyper-parameters, however many images there are.

    Steps are `config.steps`, or as many as `config.epochs` passes over the images need: batches
    run on across the end of a pass, so that all are full.

    Images are (H, W, 3) float32 in [0, 1] of any sizes, and may be read on access; per image there
    are boxes (N, 4) xyxy px, N may be 0, and labels (N,), indices into `spec.classes`. The scopes
    are per image its labelled rectangles, (M, 4) xyxy px, or None for all of it: what lies outside
    and in no box is not background. All are at native scale.

    In processes of one `torch.distributed` group, each takes its share of every batch, which is that
    of a single process. So are losses and gradients, up to rounding; but Faster R-CNN draws other
    samples of its anchors and boxes, and rectification compares the boxes of one share.

    Raises `LabelError` without any box or for a label out of range, `ShapeError` if the lists do
    not belong together, and `TrainingError` without images or if the loss is not finite.
    """
    _check(images, boxes, labels, len(spec.classes))
    check_scopes(scopes, len(images))
    total, schedule = _schedule(len(images), config)
    rng = np.random.default_rng(config.seed)
    losses: list[float] = []
    rank, workers = rank_and_size()
    with seeded(config.seed, device):
        model, pretrained, message = build_detector(spec, weights=config.weights)
        if config.rectification:
            # The stronger, the more unequal the classes are.
            counts = np.unique(np.concatenate(labels), return_counts=True)[1]
            weight = config.rectification * class_imbalance(counts)
            detectors()[spec.detector].network.add_class_rectification(model, weight=weight)
        # torch's types know the memory format of tensors only, not that of modules.
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.train()
        data = TrainingSet(images, boxes, labels, spec, scopes)
        optimiser, rates = _optimiser(model, config.learning_rate, pretrained, total)
        network = data_parallel(model)
        parts: dict[str, Any] = {"model": model, "optimiser": optimiser, "rates": rates}
        if snapshots and (snapshot := snapshots.load()):
            stored = torch.load(io.BytesIO(snapshot), map_location=device, weights_only=True)
            losses += stored.pop("losses")
            for name, state in stored.items():
                parts[name].load_state_dict(state)
        done = len(losses)
        if workers > 1 or done:
            torch.manual_seed(config.seed + rank + workers * done)
        order = image_order(labels, rng, config.balance)

        def batches() -> Iterator[list[Labelled]]:
            for step in range(total):
                share = []
                for place in range(config.batch_size):
                    one, is_own = data[next(order)], step >= done and place % workers == rank
                    if not is_own:  # random numbers are drawn, pixels cost nothing
                        one = one._replace(pixels=one.pixels.to("meta"))
                    one = augment(zoom(tile(one, spec.image_size, rng), rng), rng)
                    share += [one] * is_own
                if step >= done:
                    yield share

        for step, batch in enumerate(iterate_ahead(batches(), ahead=1), done):
            progress(step, total, "training the detector")
            inputs = [one.pixels.to(device) for one in batch]
            targets = [one.target(device) for one in batch]
            with autocast(config.precision, device):
                loss = torch.stack(
                    [part.float() for part in network(inputs, targets).values()]
                ).sum()
            losses.append(float(over_all(loss.detach()) / workers))
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
            if snapshots and rank == 0:
                snapshots.save(lambda: _snapshot(parts, losses))
        progress(total, total, "training the detector")
    return TrainedDetector(model.eval(), spec, losses, total, schedule, pretrained, message)


def detect(
    model: nn.Module,
    images: Sequence[np.ndarray],
    spec: DetectorSpec,
    *,
    precision: str = "auto",
) -> list[Detections]:
    """Find objects in (H, W, 3) images at native scale, of any sizes, as `as_float` takes them.

    One image at a time is there in float32 at that scale. The model sees as many tiles at once as there are images.
    """
    device, side = next(model.parameters()).device, spec.image_size
    scaled = [
        resize(torch.from_numpy(as_float(planes)).to(device), spec)
        for planes in (np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images)
    ]
    corners = [tile_corners((pixels.shape[1], pixels.shape[2]), side) for pixels in scaled]
    tiles = [
        pixels[:, top : top + side, left : left + side]
        for pixels, of_image in zip(scaled, corners, strict=True)
        for top, left in of_image
    ]
    outputs: list[dict[str, Tensor]] = []
    for first in range(0, len(tiles), max(1, len(images))):
        with torch.inference_mode(), autocast(precision, device):
            outputs += model(tiles[first : first + len(images)])
    found = iter(outputs)
    return [
        _detections([next(found) for _ in places], places, after, before, spec)
        for places, after, before in zip(corners, scaled, images, strict=True)
    ]


def _detections(
    outputs: Sequence[dict[str, Tensor]],
    corners: Sequence[tuple[int, int]],
    scaled: Tensor,
    native: np.ndarray,
    spec: DetectorSpec,
) -> Detections:
    """What was found in the tiles of one image, at its native scale."""
    labels, scores = (
        torch.cat([one[name].cpu() for one in outputs]) for name in ("labels", "scores")
    )
    boxes = [one["boxes"].float().cpu().reshape(-1, 4) for one in outputs]
    xyxy = torch.cat(
        [b + torch.tensor([x, y, x, y]) for b, (y, x) in zip(boxes, corners, strict=True)]
    )
    if len(corners) > 1:
        size = scaled.shape[1], scaled.shape[2]
        cut = [is_cut(b, at, spec.image_size, size) for b, at in zip(boxes, corners, strict=True)]
        kept = merge(xyxy, labels, scores.float(), torch.cat(cut))[: spec.max_detections]
        xyxy, labels, scores = xyxy[kept], labels[kept], scores[kept]
    across, down = native.shape[1] / scaled.shape[2], native.shape[0] / scaled.shape[1]
    return Detections(
        xyxy=(xyxy * torch.tensor([across, down, across, down])).numpy(),
        labels=labels.numpy() - 1,
        scores=scores.float().numpy(),
    )


def _snapshot(parts: dict[str, Any], losses: list[float]) -> bytes:
    file = io.BytesIO()
    torch.save({**{k: part.state_dict() for k, part in parts.items()}, "losses": losses}, file)
    return file.getvalue()


def _schedule(n_images: int, config: TrainDetectorConfig) -> tuple[int, str]:
    if config.steps is not None:
        epochs = config.steps * config.batch_size / n_images
        return config.steps, f"{config.steps} steps ({epochs:.3g} epochs)"
    steps = math.ceil(config.epochs * n_images / config.batch_size)
    return steps, f"{config.epochs} epochs ({steps} steps)"


def _optimiser(
    model: nn.Module, rate: float | None, pretrained: bool, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    slow = slow_parameters(model)
    # Beside a backbone with a rate of its own, the other layers start from nothing.
    rate = rate or (PRETRAINED_RATE if pretrained and not slow else SCRATCH_RATE)
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


def _check(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    n_classes: int,
) -> None:
    if not len(images):
        raise TrainingError("no labelled images to train the detector on; label some first")
    check_labelled(len(images), boxes, labels, n_classes)
    if not any(len(names) for names in labels):
        raise LabelError(
            f"none of the {len(images)} labelled images has a box; label at least one object"
        )
