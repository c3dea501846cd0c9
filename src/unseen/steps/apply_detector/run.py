"""Predict on the test split, on the rest of the pool, or on any view."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from unseen.arrays.boxes import xyxy_to_rel_xywh
from unseen.arrays.devices import resolve_device
from unseen.arrays.images import read_image
from unseen.dataset import writing
from unseen.dataset.loop import Loop
from unseen.detector.models import DetectorSpec, load_detector
from unseen.detector.training import detect
from unseen.errors import CheckpointError, DatasetError, ImageError, LabelError
from unseen.progress import Progress
from unseen.results import Skipped
from unseen.steps.apply_detector import ApplyDetectorConfig, ApplyDetectorResult
from unseen.steps.step import step, write_down
from unseen.unet.checkpoints import load_checkpoint

logger = logging.getLogger(__name__)

#: Samples written in one bulk operation.
CHUNK = 512


@step(ApplyDetectorConfig)
def apply_detector(
    loop: Loop, config: ApplyDetectorConfig, progress: Progress
) -> ApplyDetectorResult:
    """Write predictions into a field of their own, never into the labels.

    The test split is what `evaluate_detector` measures; the rest of the pool is the paper's
    automatic labelling of whatever nobody labels by hand.
    """
    model, spec, iteration = _load(loop, config)
    target = _target(loop, config.target)
    ids, paths = target.values(["id", "filepath"])
    path_of = dict(zip(ids, paths, strict=True))
    field = loop.names.predictions(iteration)
    text = f"Predictions of the detector of iteration {iteration}"
    writing.declare_detections(loop, field, text)
    writing.group_fields(loop)

    skipped: list[Skipped] = []
    chunk: dict[str, list[tuple[str, Any, float]]] = {}
    boxes = done = 0
    for batch in _batches(ids, paths, config):
        readable = [(i, image) for i, image in batch if not isinstance(image, ImageError)]
        for sample_id, image in batch:
            if isinstance(image, ImageError):
                path = path_of[sample_id]
                skipped.append(Skipped(sample_id=sample_id, filepath=path, reason=str(image)))
                logger.warning("skipped: %s", image)
        found = detect(model, [image for _, image in readable], precision=config.precision)
        for (sample_id, image), detections in zip(readable, found, strict=True):
            height, width = image.shape[:2]
            rel = xyxy_to_rel_xywh(detections.xyxy, width, height)
            chunk[sample_id] = [
                (spec.classes[label], box, score)
                for label, box, score in zip(detections.labels, rel, detections.scores, strict=True)
                if score >= config.min_confidence
            ]
            boxes += len(chunk[sample_id])
        done += len(batch)
        if len(chunk) >= CHUNK:
            writing.save_detections(loop.dataset, field, chunk)
            chunk = {}
        progress(done, len(ids), "apply detector")
    writing.save_detections(loop.dataset, field, chunk)
    result = ApplyDetectorResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        field=field,
        images=done - len(skipped),
        boxes=boxes,
        skipped=skipped,
    )
    write_down(loop, iteration, config, result)
    return result


def _load(loop: Loop, config: ApplyDetectorConfig) -> tuple[torch.nn.Module, DetectorSpec, int]:
    if config.checkpoint:
        path, digest = config.checkpoint, None
        iteration = loop.resolve_iteration(config.iteration)
    else:
        newest = loop.newest_with("train_detector", config.iteration)
        if newest is None:
            which = "" if config.iteration is None else f" for iteration {config.iteration}"
            raise LabelError(
                f"no detector has been trained on dataset {loop.dataset.name!r}{which} yet; run "
                "train_detector first"
            )
        entry = loop.entry(newest, "train_detector")
        path, digest, iteration = entry["checkpoint"], entry["digest"], newest
    weights, description = load_checkpoint(path, kind="detector", digest=digest)
    spec = DetectorSpec.from_dict(description["spec"])
    known = loop.classes()
    foreign = [c for c in spec.classes if known and c not in known]
    if foreign:
        raise CheckpointError(
            f"{path}: was trained for classes {', '.join(spec.classes)}; dataset {loop.dataset.name!r} "
            f"has {', '.join(known)}. Train a detector on this dataset, or rename its classes"
        )
    model = load_detector(spec, weights).to(resolve_device(config.device))
    return model, spec, iteration


def _target(loop: Loop, wanted: str) -> Any:
    target = {"test": loop.test, "pool": loop.pool}.get(wanted, loop.view)
    if not len(target):
        what = f"test split (tag {loop.names.test_tag!r})" if wanted == "test" else wanted
        raise DatasetError(
            f"the {what} of dataset {loop.dataset.name!r} is empty; run split_dataset, or choose "
            "another target"
        )
    return target


def _batches(
    ids: list[str], paths: list[str], config: ApplyDetectorConfig
) -> Iterator[list[tuple[str, np.ndarray | ImageError]]]:
    """Batches of images (or of what was wrong with them); the next one is read meanwhile."""

    def read(path: str) -> np.ndarray | ImageError:
        try:
            return read_image(path, channels=3)
        except ImageError as error:
            return error

    size = config.batch_size
    with ThreadPoolExecutor(config.workers) as threads:
        following = [threads.submit(read, p) for p in paths[:size]]
        for start in range(0, len(ids), size):
            current = following
            following = [threads.submit(read, p) for p in paths[start + size : start + 2 * size]]
            yield [
                (i, future.result())
                for i, future in zip(ids[start : start + size], current, strict=True)
            ]
