"""Train a detector on everything that is labelled."""

from __future__ import annotations

import numpy as np

from unseen.arrays.devices import resolve_device
from unseen.dataset.loop import Loop
from unseen.detector.models import detector_spec, resolve_architecture
from unseen.detector.training import fit_detector
from unseen.progress import Progress
from unseen.steps.step import step
from unseen.steps.train_detector import TrainDetectorConfig, TrainDetectorResult
from unseen.steps.training_data import read_training_data, record_training
from unseen.unet.checkpoints import save_checkpoint


@step(TrainDetectorConfig)
def train_detector(
    loop: Loop, config: TrainDetectorConfig, progress: Progress
) -> TrainDetectorResult:
    """Train on all labelled samples outside the test split.

    The hyper-parameters depend on the architecture and the image size alone, so that iterations
    and baselines differ by nothing but their labels. Classes that no image holds yet are part of
    the model: its class list is that of the dataset.
    """
    device = resolve_device(config.device)
    iteration = loop.resolve_iteration(config.iteration)
    classes = loop.classes(config.classes)
    data = read_training_data(loop, progress, classes=classes, channels=3)
    architecture, why = resolve_architecture(
        config.architecture, device, weights=config.weights, detector=config.detector
    )
    spec = detector_spec(
        architecture,
        tuple(classes),
        int(np.median(data.longest_sides)),
        image_size=config.image_size,
        detector=config.detector,
    )
    trained = fit_detector(
        data.images,
        data.xyxy,
        data.labels,
        spec=spec,
        config=config,
        device=device,
        scopes=data.scopes,
        progress=progress,
    )
    path, digest = save_checkpoint(
        loop.folder(config.model_dir),
        f"{loop.names.series or 'main'}-detector-{iteration:02d}",
        trained.model.state_dict(),
        {
            "kind": "detector",
            "spec": spec.to_dict(),
            "dataset": loop.dataset.name,
            "iteration": iteration,
            "schedule": trained.schedule,
            "pretrained": trained.pretrained,
            "weights": trained.message,
            "parameters": config.to_dict(),
        },
    )
    result = TrainDetectorResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        checkpoint=str(path),
        digest=digest,
        detector=spec.detector,
        architecture=spec.architecture,
        pretrained=trained.pretrained,
        weights=f"{trained.message}; architecture {architecture} {why}",
        images=len(data.images),
        boxes=data.boxes,
        classes=classes,
        class_counts=data.class_counts,
        schedule=trained.schedule,
        steps=trained.steps,
        final_loss=float(np.mean(trained.losses[-20:])),
        image_size=spec.image_size,
        device=str(device),
        box_problems=data.box_problems,
        skipped=data.skipped,
        partly_labelled=data.partly_labelled,
    )
    record_training(loop, iteration, config, result)
    return result
