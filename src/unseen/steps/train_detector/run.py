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
from unseen.steps.training_data import read_training_data, save_training


@step(TrainDetectorConfig)
def train_detector(
    loop: Loop, config: TrainDetectorConfig, progress: Progress
) -> TrainDetectorResult:
    """Train on all labelled samples outside the test split.

    The hyper-parameters depend on the architecture and the image size only, so that iterations and
    baselines differ in nothing but their labels. The class list is that of the dataset, so the model
    has also the classes that no image shows yet.
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
    return save_training(
        loop,
        config,
        data,
        trained,
        TrainDetectorResult,
        iteration=iteration,
        description={
            "kind": "detector",
            "spec": spec.to_dict(),
            "schedule": trained.schedule,
            "pretrained": trained.pretrained,
            "weights": trained.message,
        },
        detector=spec.detector,
        architecture=spec.architecture,
        pretrained=trained.pretrained,
        weights=f"{trained.message}; architecture {architecture} {why}",
        schedule=trained.schedule,
        steps=trained.steps,
        image_size=spec.image_size,
        device=str(device),
    )
