"""Train the UNet on everything that is labelled."""

from __future__ import annotations

from unseen.arrays.devices import resolve_device
from unseen.arrays.scale import working_scale
from unseen.dataset.loop import Loop
from unseen.dataset.reading import LabelledImage
from unseen.progress import Progress
from unseen.steps.step import step
from unseen.steps.train_unet import TrainUnetConfig, TrainUnetResult
from unseen.steps.training_data import read_training_data, save_training
from unseen.unet.network import UNetSpec
from unseen.unet.training import fit_unet


@step(TrainUnetConfig)
def train_unet(loop: Loop, config: TrainUnetConfig, progress: Progress) -> TrainUnetResult:
    """Train on all labelled samples outside the test split, from scratch.

    Saves a checkpoint and writes it into the record of the iteration. Unreadable images are skipped
    and listed.
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
    return save_training(
        loop,
        config,
        data,
        trained,
        TrainUnetResult,
        iteration=iteration,
        description=trained.description,
        top={"seed": config.seed},
        mode=config.mode,
        working_scale=data.scale,
        steps=config.optimiser_steps,
        device=str(device),
    )


def _scale(images: list[LabelledImage]) -> float:
    return working_scale(
        [min(x2 - x1, y2 - y1) for image in images for x1, y1, x2, y2 in image.xyxy],
        [max(image.width, image.height) for image in images],
    )
