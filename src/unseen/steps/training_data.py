"""What both networks share: they train on the labelled images outside the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from unseen.arrays.image_store import ImageStore
from unseen.arrays.images import ValueRange
from unseen.arrays.scope import without
from unseen.dataset import labelling, reading, scope
from unseen.dataset.loop import Loop
from unseen.errors import LabelError
from unseen.parameters import StepConfig
from unseen.progress import Progress
from unseen.results import Skipped, TrainingResult
from unseen.steps.step import write_down
from unseen.unet.checkpoints import save_checkpoint

R = TypeVar("R", bound=TrainingResult)


@dataclass(frozen=True)
class TrainingData:
    """Images with their boxes, in directory order; unreadable ones are left out and listed."""

    images: ImageStore
    xyxy: list[np.ndarray]  #: per image (N, 4) float32, native px
    labels: list[np.ndarray]  #: per image (N,) int64 positions in `classes`
    scopes: list[np.ndarray | None]  #: per image (N, 4) float32, native px; None: all of it
    classes: list[str]
    class_counts: dict[str, int]
    box_problems: dict[str, int]
    sizes: list[tuple[int, int]]  #: height and width, native px
    partly_labelled: int  #: images of which only a part is labelled
    scale: float
    value_range: ValueRange | None  #: of the dataset's deep images
    skipped: list[Skipped]


def read_training_data(
    loop: Loop,
    progress: Progress,
    *,
    classes: Sequence[str] | None = None,
    scale: Callable[[list[reading.LabelledImage]], float] = lambda images: 1.0,
    channels: int | None = None,
) -> TrainingData:
    """Read the labels of the view, then its images at the working `scale`.

    Boxes of other than the given `classes` are dropped and counted; None takes the classes that have
    boxes. `channels` is 1 or 3; None takes 1 if all images are grey. Raises a LabelError if nothing
    is labelled, no box can be used or a class name is reserved, and a DatasetError if the label
    field is missing or holds no boxes.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field)
    labels = reading.read_labels(loop.labelled, loop.names.label_field, classes)
    _check(labels, loop)
    known = list(labels.class_counts if classes is None else classes)
    reading.check_class_names(known)
    scopes, unusable = scope.read(loop, labels.images)
    parts = {
        image.sample_id: _counted(image, scopes.get(image.sample_id)) for image in labels.images
    }
    unusable += [
        Skipped(
            sample_id=image.sample_id,
            filepath=image.filepath,
            reason=f"{image.filepath}: the whole image is a region to ignore (iscrowd)",
        )
        for image in labels.images
        if (part := parts[image.sample_id]) is not None and not len(part)
    ]
    left_out = {item.sample_id for item in unusable}
    wanted = [image for image in labels.images if image.sample_id not in left_out]
    factor = scale(wanted)
    value_range = reading.value_range(loop.dataset)
    store = ImageStore(
        [image.filepath for image in wanted],
        scale=factor,
        channels=channels,
        value_range=value_range,
        sizes=[(image.width, image.height) for image in wanted],
        on_read=lambda n: progress(n, len(wanted), "read labelled images"),
    )
    unreadable = [
        Skipped(sample_id=wanted[i].sample_id, filepath=wanted[i].filepath, reason=reason)
        for i, reason in store.failures.items()
    ]
    if wanted and not store.kept:
        raise LabelError(
            f"none of the {len(wanted)} labelled images can be used, such as {unreadable[0].reason}"
        )
    images = [wanted[i] for i in store.kept]
    return TrainingData(
        images=store,
        xyxy=[image.xyxy for image in images],
        labels=[np.asarray([known.index(c) for c in i.labels], dtype=np.int64) for i in images],
        scopes=[parts[image.sample_id] for image in images],
        partly_labelled=len(scopes.keys() & {image.sample_id for image in images}),
        classes=known,
        class_counts=labels.class_counts,
        box_problems=labels.box_problems,
        sizes=[(image.height, image.width) for image in images],
        scale=factor,
        value_range=value_range,
        skipped=labels.skipped + unusable + unreadable,
    )


def save_training(
    loop: Loop,
    config: StepConfig,
    data: TrainingData,
    trained: Any,
    result_class: type[R],
    *,
    iteration: int,
    description: Mapping[str, Any],
    top: Mapping[str, Any] | None = None,
    **facts: Any,
) -> R:
    """Save the checkpoint of a trained network, and record what it was trained on.

    `trained` has a `model` and `losses`. `description` is stored beside the weights, `top` in the
    record of the iteration; `facts` are further fields of the result.
    """
    path, digest = save_checkpoint(
        loop.folder(config.model_dir),
        f"{loop.names.series or 'main'}-{description['kind']}-{iteration:02d}",
        trained.model.state_dict(),
        {
            **description,
            "dataset": loop.dataset.name,
            "dataset_id": str(loop.dataset._doc.id),
            "iteration": iteration,
            "value_range": data.value_range,
            "parameters": config.to_dict(),
        },
    )
    result = result_class(
        dataset=loop.dataset.name,
        iteration=iteration,
        checkpoint=str(path),
        digest=digest,
        images=len(data.images),
        boxes=sum(len(labels) for labels in data.labels),
        classes=data.classes,
        class_counts=data.class_counts,
        final_loss=float(np.mean(trained.losses[-20:])),
        box_problems=data.box_problems,
        skipped=data.skipped,
        partly_labelled=data.partly_labelled,
        notes=labelling.notes(loop),
        **facts,
    )
    labelling.record(loop, loop.labelled.values("id"), f"train_{description['kind']}")
    labels = loop.label_facts()
    write_down(
        loop,
        iteration,
        config,
        result,
        {**labels, **(top or {})},
        # The record's own counts change with every later step of the iteration.
        labelled=[labels["labelled_images"], sum(labels["class_counts"].values())],
        checkpoints=[result.checkpoint],
    )
    return result


def _counted(image: reading.LabelledImage, part: np.ndarray | None) -> np.ndarray | None:
    """The scope of an image without its crowds, or only its boxes if nothing else is left."""
    size = {"height": image.height, "width": image.width}
    rest = without(part, image.ignored, **size) if len(image.ignored) else part
    return image.xyxy if rest is not None and not len(rest) else rest


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
