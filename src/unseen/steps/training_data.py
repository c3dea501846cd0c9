"""What both networks train on: the labelled images outside the test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unseen.arrays.image_store import ImageStore
from unseen.dataset import reading, scope
from unseen.dataset.loop import Loop
from unseen.errors import LabelError
from unseen.parameters import StepConfig
from unseen.progress import Progress
from unseen.results import Skipped
from unseen.steps.step import write_down


@dataclass(frozen=True)
class TrainingData:
    """Images with their boxes, in directory order; unreadable ones are left out and listed."""

    images: ImageStore
    xyxy: list[np.ndarray]  #: per image (N, 4) float32, native px
    labels: list[np.ndarray]  #: per image (N,) int64 positions in `classes`
    classes: list[str]
    class_counts: dict[str, int]
    box_problems: dict[str, int]
    longest_sides: list[int]  #: native px
    scale: float
    skipped: list[Skipped]
    scopes: list[np.ndarray | None]  #: per image (N, 4) float32, native px; None: all of it

    @property
    def partly_labelled(self) -> int:
        """Number of images of which only a part is labelled."""
        return sum(part is not None for part in self.scopes)

    @property
    def boxes(self) -> int:
        """Number of boxes of the images that could be read."""
        return sum(len(labels) for labels in self.labels)


def read_training_data(
    loop: Loop,
    progress: Progress,
    *,
    classes: Sequence[str] | None = None,
    scale: Callable[[list[reading.LabelledImage]], float] | None = None,
    channels: int | None = None,
) -> TrainingData:
    """Read labels, then images.

    Args:
        loop: whose labelled images in the view are read.
        progress: told the images.
        classes: fixed class list, others are dropped and counted; None takes those with boxes.
        scale: working scale from the labelled images; None keeps native size.
        channels: 1 or 3; None takes 1 where all images are grey.

    Raises:
        LabelError: nothing is labelled, no box can be used, or a class name is reserved.
        DatasetError: the label field is missing or holds no boxes.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field)
    labels = reading.read_labels(loop.labelled, loop.names.label_field, classes)
    _check(labels, loop)
    known = list(labels.class_counts if classes is None else classes)
    reading.check_class_names(known)
    scopes, unusable = scope.read(loop.view, loop.names, labels.images)
    left_out = {item.sample_id for item in unusable}
    wanted = [image for image in labels.images if image.sample_id not in left_out]
    factor = scale(wanted) if scale else 1.0
    store = ImageStore(
        [image.filepath for image in wanted],
        scale=factor,
        channels=channels,
        on_read=lambda n: progress(n, len(wanted), "read labelled images"),
    )
    unreadable = [
        Skipped(sample_id=wanted[i].sample_id, filepath=wanted[i].filepath, reason=reason)
        for i, reason in store.failures.items()
    ]
    images = [wanted[i] for i in store.kept]
    return TrainingData(
        images=store,
        xyxy=[image.xyxy for image in images],
        labels=[np.asarray([known.index(c) for c in i.labels], dtype=np.int64) for i in images],
        classes=known,
        class_counts=labels.class_counts,
        box_problems=labels.box_problems,
        longest_sides=[max(image.width, image.height) for image in images],
        scale=factor,
        skipped=labels.skipped + unusable + unreadable,
        scopes=[scopes.get(image.sample_id) for image in images],
    )


def record_training(
    loop: Loop, iteration: int, config: StepConfig, result: Any, **top: Any
) -> None:
    """Record what was trained, and on which labels."""
    labels = loop.label_facts()
    write_down(
        loop,
        iteration,
        config,
        result,
        {**labels, **top},
        # The record's own counts change with every later step of the iteration.
        labelled=[len(labels["labelled_ids"]), sum(labels["class_counts"].values())],
        checkpoints=[result.checkpoint],
    )


def _check(labels: reading.LabelledImages, loop: Loop) -> None:
    if not labels.images and not labels.skipped:
        raise LabelError(
            f"no labelled images in field {loop.names.label_field!r} outside the test split; label "
            f"the initial images (tag {loop.names.initial_tag!r}) first. A sample counts as "
            "labelled when its field is set, also to an empty list"
        )
    if not labels.boxes:
        problems = "".join(f", {n} boxes {what}" for what, n in labels.box_problems.items())
        raise LabelError(
            f"the {len(labels.images)} labelled images hold no usable box{problems}; label at "
            "least one object, so that the model learns what is known"
        )
