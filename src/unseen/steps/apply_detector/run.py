"""Predict on the test split, on the rest of the pool, or on any view."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.devices import resolve_device
from unseen.arrays.images import ValueRange, read_pixels
from unseen.arrays.read_ahead import read_ahead
from unseen.dataset import writing
from unseen.dataset.loop import Loop, Record
from unseen.detector.models import DetectorSpec, load_detector
from unseen.detector.training import detect
from unseen.errors import CheckpointError, DatasetError, ImageError, LabelError
from unseen.progress import Progress
from unseen.results import Skipped
from unseen.steps.apply_detector import ApplyDetectorConfig, ApplyDetectorResult
from unseen.steps.step import check_readable, step, write_down
from unseen.unet.checkpoints import load_checkpoint

logger = logging.getLogger(__name__)

#: Samples written in one bulk operation.
CHUNK = 512


@step(ApplyDetectorConfig)
def apply_detector(
    loop: Loop, config: ApplyDetectorConfig, progress: Progress
) -> ApplyDetectorResult:
    """Write predictions into a field of their own, never into the labels.

    `evaluate_detector` measures them on the test split; on the rest of the pool they are the
    automatic labels of Ivanov et al.
    """
    model, spec, iteration, value_range = _load(loop, config)
    target = _target(loop, config.target)
    ids, paths = target.values(["id", "filepath"])
    field = loop.names.predictions(iteration)
    writing.declare_detections(loop, field, f"Predictions of the detector of iteration {iteration}")
    writing.group_fields(loop)

    skipped: list[Skipped] = []
    chunk: dict[str, list[tuple[str, Any, float]]] = {}
    boxes = full = done = 0
    size = config.batch_size
    images = zip(
        ids,
        read_ahead(
            partial(read_pixels, channels=3, value_range=value_range),
            paths,
            workers=config.workers,
            ahead=2 * size,
        ),
        strict=True,
    )
    while batch := list(islice(images, size)):
        readable = []
        for sample_id, (path, image) in batch:
            if isinstance(image, ImageError):
                skipped.append(Skipped(sample_id=sample_id, filepath=path, reason=str(image)))
                logger.warning("skipped: %s", image)
            else:
                readable.append((sample_id, image))
        pixels = [image for _, image in readable]
        predicted = detect(model, pixels, spec, precision=config.precision)
        for (sample_id, image), detections in zip(readable, predicted, strict=True):
            height, width = image.shape[:2]
            rel = xyxy_to_rel_xywh(detections.xyxy, width, height)
            chunk[sample_id] = [
                (spec.classes[label], box, score)
                for label, box, score in zip(detections.labels, rel, detections.scores, strict=True)
                if score >= config.min_confidence
            ]
            boxes += len(chunk[sample_id])
            full += len(chunk[sample_id]) == spec.max_detections
        done += len(batch)
        if len(chunk) >= CHUNK or done == len(ids):
            writing.save_detections(loop.dataset, field, chunk)
            chunk = {}
        progress(done, len(ids), "apply detector")
    check_readable(len(ids), [image.reason for image in skipped])
    result = ApplyDetectorResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        field=field,
        images=done - len(skipped),
        boxes=boxes,
        skipped=skipped,
        max_detections=spec.max_detections,
        full=full,
    )
    write_down(loop, iteration, config, result)
    return result


def newest_detector(loop: Loop, iteration: int | None = None) -> tuple[int, Record]:
    """Iteration and record of the newest detector, or of that of an iteration.

    Raises a LabelError if none was trained.
    """
    newest = loop.newest_with("train_detector", iteration)
    if newest is None:
        which = "" if iteration is None else f" for iteration {iteration}"
        raise LabelError(
            f"no detector has been trained on dataset {loop.dataset.name!r}{which} yet; run "
            "train_detector first"
        )
    return newest, loop.entry(newest, "train_detector")


def _load(
    loop: Loop, config: ApplyDetectorConfig
) -> tuple[torch.nn.Module, DetectorSpec, int, ValueRange | None]:
    if config.checkpoint:
        path, digest = config.checkpoint, None
        iteration = loop.resolve_iteration(config.iteration)
    else:
        iteration, entry = newest_detector(loop, config.iteration)
        path, digest = entry["checkpoint"], entry["digest"]
    weights, description = load_checkpoint(path, kind="detector", digest=digest)
    spec = DetectorSpec.from_dict(description["spec"])
    if config.max_detections:
        spec = replace(spec, max_detections=config.max_detections)
    known = loop.classes()
    if known and set(spec.classes) - set(known):
        raise CheckpointError(
            f"{path}: was trained for classes {', '.join(spec.classes)}; dataset "
            f"{loop.dataset.name!r} has {', '.join(known)}. Train a detector on this dataset, or "
            "rename its classes"
        )
    model = load_detector(spec, weights).to(resolve_device(config.device))
    return model, spec, iteration, description.get("value_range")


def _target(loop: Loop, wanted: str) -> Any:
    target = {"test": loop.test, "pool": loop.pool}.get(wanted, loop.view)
    if not len(target):
        what, remedy = {
            "test": (f"test split (tag {loop.names.test_tag!r})", "run split_dataset"),
            "pool": ("pool", "add unlabelled images"),
            "view": ("view", "widen it"),
        }[wanted]
        raise DatasetError(
            f"the {what} of dataset {loop.dataset.name!r} is empty; {remedy}, or choose another target"
        )
    return target
