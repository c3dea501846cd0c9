"""Train the UNet on everything that is labelled."""

from __future__ import annotations

import numpy as np

from unseen.arrays.devices import resolve_device
from unseen.arrays.scale import working_scale
from unseen.dataset.loop import Loop
from unseen.dataset.reading import LabelledImage
from unseen.progress import Progress
from unseen.steps.step import step
from unseen.steps.train_unet import TrainUnetConfig, TrainUnetResult
from unseen.steps.training_data import read_training_data, record_training
from unseen.unet.checkpoints import save_checkpoint
from unseen.unet.network import UNetSpec
from unseen.unet.training import fit_unet


@step(TrainUnetConfig)
def train_unet(loop: Loop, config: TrainUnetConfig, progress: Progress) -> TrainUnetResult:
    """Train on all labelled samples outside the test split, from scratch.

    Leaves a checkpoint and its entry in the record of the iteration. Unreadable images are skipped
    singly and listed.
    """
    device = resolve_device(config.device)
    iteration = loop.resolve_iteration(config.iteration)
    data = read_training_data(
        loop, progress, scale=lambda images: config.working_scale or _scale(images)
    )
    spec = UNetSpec(
        mode=config.mode,
        paper_loss=config.paper_loss,
        channels=config.channels,
        classes=tuple(data.classes),
        in_channels=data.images.channels,
    )
    trained = fit_unet(
        data.images,
        data.xyxy,
        data.labels,
        spec=spec,
        config=config,
        scopes=data.scopes,
        scale=data.scale,
        device=device,
        progress=progress,
    )
    path, digest = save_checkpoint(
        loop.folder(config.model_dir),
        f"{loop.names.series or 'main'}-unet-{iteration:02d}",
        trained.model.state_dict(),
        {
            "kind": "unet",
            "spec": spec.to_dict(),
            "scale": data.scale,
            "mean_areas": [float(a) for a in trained.mean_areas],
            "dataset": loop.dataset.name,
            "iteration": iteration,
            "parameters": config.to_dict(),
        },
    )
    result = TrainUnetResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        checkpoint=str(path),
        digest=digest,
        mode=config.mode,
        images=len(data.images),
        boxes=data.boxes,
        classes=data.classes,
        class_counts=data.class_counts,
        working_scale=data.scale,
        steps=config.optimiser_steps,
        final_loss=float(np.mean(trained.losses[-20:])),
        device=str(device),
        box_problems=data.box_problems,
        skipped=data.skipped,
        partly_labelled=data.partly_labelled,
    )
    record_training(loop, iteration, config, result, seed=config.seed)
    return result


def _scale(images: list[LabelledImage]) -> float:
    """The working scale by the rule of `unseen.arrays.scale`."""
    return working_scale(
        [min(x2 - x1, y2 - y1) for image in images for x1, y1, x2, y2 in image.xyxy],
        [max(image.width, image.height) for image in images],
    )
