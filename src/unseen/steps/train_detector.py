"""Train Faster R-CNN on everything that is labelled."""

from __future__ import annotations

from typing import Any

import numpy as np

from unseen.checkpoints import save_checkpoint
from unseen.compute.image_store import ImageStore
from unseen.configs import TrainDetectorConfig
from unseen.dataset import iterations, reading
from unseen.dataset.fields import Names
from unseen.dataset.storage import model_folder
from unseen.progress import Progress
from unseen.results import TrainDetectorResult
from unseen.science.detector_training import fit_detector
from unseen.science.devices import resolve_device
from unseen.science.faster_rcnn import detector_spec, resolve_architecture
from unseen.steps.step import elapsed, step
from unseen.steps.train_unet import class_indices, read_training_labels, skipped_images


@step(TrainDetectorConfig)
def train_detector(
    view: Any, config: TrainDetectorConfig, names: Names, progress: Progress
) -> TrainDetectorResult:
    """Train on all labelled samples outside the test split.

    The hyper-parameters depend on the architecture and the image size alone, so that iterations
    and baselines differ by nothing but their labels. Classes that no image holds yet are part of
    the model: its class list is that of the dataset.
    """
    dataset = reading.dataset_of(view)
    device = resolve_device(config.device)
    iteration = config.iteration
    if iteration is None:
        iteration = iterations.current_iteration(dataset, names)
    else:
        iterations.require_iteration(dataset, names, iteration)
    reading.check_label_field(dataset, names.label_field)
    classes = reading.resolve_classes(dataset, names, config.classes)
    found = read_training_labels(view, names, classes)
    store = ImageStore(
        [image.filepath for image in found.images],
        channels=3,
        on_read=lambda n: progress(n, len(found.images), "read labelled images"),
    )
    images = [found.images[i] for i in store.kept]
    spec = detector_spec(
        resolve_architecture(config.architecture, device),
        tuple(classes),
        int(np.median([max(image.width, image.height) for image in found.images])),
        image_size=config.image_size,
    )
    trained = fit_detector(
        store,
        [image.xyxy for image in images],
        [class_indices(image, classes) for image in images],
        spec=spec,
        config=config,
        device=device,
        progress=progress,
    )
    path, digest = save_checkpoint(
        model_folder(dataset, config),
        f"{names.series or 'main'}-detector-{iteration:02d}",
        trained.model.state_dict(),
        {
            "kind": "detector",
            "spec": spec.to_dict(),
            "dataset": dataset.name,
            "iteration": iteration,
            "schedule": trained.schedule,
            "pretrained": trained.pretrained,
            "parameters": config.to_dict(),
        },
    )
    result = TrainDetectorResult(
        dataset=dataset.name,
        iteration=iteration,
        checkpoint=str(path),
        digest=digest,
        architecture=spec.architecture,
        pretrained=trained.pretrained,
        images=len(images),
        boxes=sum(len(image.labels) for image in images),
        classes=classes,
        class_counts=found.class_counts,
        schedule=trained.schedule,
        steps=trained.steps,
        final_loss=float(np.mean(trained.losses[-20:])),
        image_size=spec.image_size,
        device=str(device),
        box_problems=found.box_problems,
        skipped=found.skipped + skipped_images(found, store),
    )
    iterations.record_step(
        dataset,
        names,
        iteration,
        "train_detector",
        {
            "parameters": config.to_dict(),
            "seconds": elapsed(),
            "checkpoints": [str(path)],
            "checkpoint": str(path),
            "digest": digest,
            "classes": classes,
            "architecture": spec.architecture,
            "pretrained": trained.pretrained,
            "weights": trained.message,
            "schedule": trained.schedule,
            "steps": trained.steps,
            "image_size": spec.image_size,
            "final_loss": result.final_loss,
            "images": result.images,
            "boxes": result.boxes,
            "device": str(device),
        },
        **iterations.record_labels(dataset, names),
    )
    return result
