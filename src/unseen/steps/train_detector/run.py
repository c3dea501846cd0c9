"""Train a detector on everything that is labelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from unseen.arrays.devices import resolve_device
from unseen.arrays.scope import without
from unseen.dataset.loop import Loop
from unseen.detector.models import DetectorSpec, detector_spec, resolve_architecture
from unseen.detector.ray_training import fit_on_cluster
from unseen.detector.tiles import MIN_SIDE
from unseen.detector.training import TrainedDetector, fit_detector
from unseen.errors import LabelError
from unseen.progress import Progress
from unseen.ranking.cluster import named_cluster
from unseen.steps.step import step
from unseen.steps.train_detector import TrainDetectorConfig, TrainDetectorResult
from unseen.steps.training_data import TrainingData, read_training_data, save_training


@step(TrainDetectorConfig)
def train_detector(
    loop: Loop, config: TrainDetectorConfig, progress: Progress
) -> TrainDetectorResult:
    """Train on all labelled samples outside the test split.

    The hyper-parameters depend on the architecture and the image size, and tiles and the number of
    detections on the size and number of the objects, so that iterations and baselines differ in
    little but their labels. The class list is that of the dataset, so the model has also the classes
    that no image shows yet.
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
        int(np.median([max(size) for size in data.sizes])),
        image_size=config.image_size,
        detector=config.detector,
        boxes=data.xyxy,
    )
    data = _learnable(data, spec)
    fit: Callable[..., TrainedDetector] = partial(
        fit_detector,
        data.images,
        data.xyxy,
        data.labels,
        spec=spec,
        config=config,
        scopes=data.scopes,
    )
    with named_cluster(config.engine, config.address) as cluster:
        if cluster:
            fit = partial(fit_on_cluster, fit, spec, cluster=cluster, workers=config.workers)
        trained = fit(device=device, progress=progress)
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
        scale=spec.scale,
        max_detections=spec.max_detections,
        device=str(device),
    )


def _learnable(data: TrainingData, spec: DetectorSpec) -> TrainingData:
    """The data without the boxes that are too thin inside the detector; they are to be ignored."""
    scales = [spec.scale_of(*size) for size in data.sizes]
    thick = [
        (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1, initial=np.inf) * scale >= MIN_SIDE
        for xyxy, scale in zip(data.xyxy, scales, strict=True)
    ]
    if all(t.all() for t in thick):
        return data
    dropped = sum(int((~t).sum()) for t in thick)
    if not any(t.any() for t in thick):
        raise LabelError(
            f"all {dropped} labelled boxes are thinner than {MIN_SIDE:g} px inside the detector, at "
            f"image_size={spec.image_size} px; raise image_size, or leave it out: then the images "
            "are looked at in tiles where their objects are small"
        )
    return replace(
        data,
        xyxy=[xyxy[t] for xyxy, t in zip(data.xyxy, thick, strict=True)],
        labels=[labels[t] for labels, t in zip(data.labels, thick, strict=True)],
        scopes=[
            without(scope, xyxy[~t], height=height, width=width)
            for scope, xyxy, t, (height, width) in zip(
                data.scopes, data.xyxy, thick, data.sizes, strict=True
            )
        ],
        box_problems={**data.box_problems, "too thin inside the detector": dropped},
    )
