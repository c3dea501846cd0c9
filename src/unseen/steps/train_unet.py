"""Train the UNet on everything that is labelled."""

from __future__ import annotations

from typing import Any

import numpy as np

from unseen.checkpoints import save_checkpoint
from unseen.compute.image_store import ImageStore
from unseen.configs import TrainUnetConfig
from unseen.dataset import iterations, reading
from unseen.dataset.fields import Names
from unseen.dataset.storage import model_folder
from unseen.errors import LabelError
from unseen.progress import Progress
from unseen.results import Skipped, TrainUnetResult
from unseen.science.devices import resolve_device
from unseen.science.scale import working_scale
from unseen.science.unet import UNetSpec
from unseen.science.unet_training import fit_unet
from unseen.steps.step import elapsed, step


@step(TrainUnetConfig)
def train_unet(
    view: Any, config: TrainUnetConfig, names: Names, progress: Progress
) -> TrainUnetResult:
    """Train on all labelled samples outside the test split, from scratch.

    Leaves a checkpoint and its entry in the record of the iteration. Unreadable images are skipped
    singly and listed.
    """
    dataset = reading.dataset_of(view)
    device = resolve_device(config.device)
    iteration = _iteration(dataset, config, names)
    found = read_training_labels(view, names)
    classes = list(found.class_counts)
    reading.check_class_names(classes)

    scale = config.working_scale or working_scale(
        [min(x2 - x1, y2 - y1) for image in found.images for x1, y1, x2, y2 in image.xyxy],
        [max(image.width, image.height) for image in found.images],
    )
    store = ImageStore(
        [image.filepath for image in found.images],
        scale=scale,
        on_read=lambda n: progress(n, len(found.images), "read labelled images"),
    )
    skipped = found.skipped + skipped_images(found, store)
    images = [found.images[i] for i in store.kept]
    spec = UNetSpec(
        mode=config.mode,
        paper_loss=config.paper_loss,
        channels=config.channels,
        classes=tuple(classes),
        in_channels=store.channels,
    )
    trained = fit_unet(
        store,
        [image.xyxy for image in images],
        [class_indices(image, classes) for image in images],
        spec=spec,
        config=config,
        scale=scale,
        device=device,
        progress=progress,
    )
    path, digest = save_checkpoint(
        model_folder(dataset, config),
        f"{names.series or 'main'}-unet-{iteration:02d}",
        trained.model.state_dict(),
        {
            "kind": "unet",
            "spec": spec.to_dict(),
            "scale": scale,
            "mean_areas": [float(a) for a in trained.mean_areas],
            "dataset": dataset.name,
            "iteration": iteration,
            "parameters": config.to_dict(),
        },
    )
    result = TrainUnetResult(
        dataset=dataset.name,
        iteration=iteration,
        checkpoint=str(path),
        digest=digest,
        mode=config.mode,
        images=len(images),
        boxes=sum(len(image.labels) for image in images),
        classes=classes,
        class_counts=found.class_counts,
        working_scale=scale,
        steps=config.steps,
        final_loss=float(np.mean(trained.losses[-20:])),
        device=str(device),
        box_problems=found.box_problems,
        skipped=skipped,
    )
    iterations.record_step(
        dataset,
        names,
        iteration,
        "train_unet",
        {
            "parameters": config.to_dict(),
            "seconds": elapsed(),
            "checkpoints": [str(path)],
            "checkpoint": str(path),
            "digest": digest,
            "classes": classes,
            "working_scale": scale,
            "final_loss": result.final_loss,
            "device": str(device),
        },
        seed=config.seed,
        **iterations.record_labels(dataset, names),
    )
    return result


def read_training_labels(
    view: Any, names: Names, classes: list[str] | None = None
) -> reading.LabelledImages:
    """The labelled images outside the test split.

    Raises:
        LabelError: there are none, or none has a usable box.
    """
    dataset = reading.dataset_of(view)
    reading.check_label_field(dataset, names.label_field)
    labelled = reading.labelled(view, names)
    found = reading.read_labels(labelled, names.label_field, classes)
    if not found.images and not found.skipped:
        raise LabelError(
            f"no labelled images in field {names.label_field!r} outside the test split; label the "
            f"initial images (tag {names.initial_tag!r}) first. A sample counts as labelled when "
            "its field is set, also to an empty list"
        )
    if not found.boxes:
        raise LabelError(
            f"the {len(found.images)} labelled images hold no usable box"
            + "".join(f", {n} boxes {what}" for what, n in found.box_problems.items())
            + "; label at least one object, so that the model learns what is known"
        )
    return found


def skipped_images(found: reading.LabelledImages, store: ImageStore) -> list[Skipped]:
    """The images of a store that could not be read."""
    return [
        Skipped(
            sample_id=found.images[i].sample_id, filepath=found.images[i].filepath, reason=reason
        )
        for i, reason in store.failures.items()
    ]


def class_indices(image: reading.LabelledImage, classes: list[str]) -> np.ndarray:
    """(N,) int64 positions of an image's labels in the class list."""
    return np.asarray([classes.index(label) for label in image.labels], dtype=np.int64)


def _iteration(dataset: Any, config: TrainUnetConfig, names: Names) -> int:
    if config.iteration is None:
        return iterations.current_iteration(dataset, names)
    return iterations.require_iteration(dataset, names, config.iteration)
