"""Which boxes of a dataset go along with its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from unseen.annotation.matching import Kind
from unseen.annotation.merge import KnownBox
from unseen.annotation.shapes import clip_box
from unseen.dataset.fields import REGION_LABEL
from unseen.dataset.loop import Loop
from unseen.dataset.scope import Scope, reaches
from unseen.errors import AnnotationError

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig


def boxes_to_send(
    loop: Loop, config: RequestConfig, ids: Mapping[str, Any]
) -> dict[str, list[KnownBox]]:
    """What is drawn in each image: its labels, else predictions; and suggestions.

    Args:
        loop: the loop.
        config: what is asked for.
        ids: of the samples.

    Raises:
        AnnotationError: there are no predictions.
    """
    view = loop.dataset.select(list(ids))
    found: dict[str, list[KnownBox | None]] = {i: [] for i in ids}
    labelled = set()
    if loop.dataset.get_field(loop.names.label_field) is not None:
        for i, labels in _detections(view, loop.names.label_field):
            labelled.add(i)
            found[i] += [_box("label", d, d.id, in_truth=True) for d in labels]
    if config.predictions or config.auto_labels:
        field = _predictions_field(loop, auto=config.auto_labels)
        least = 0 if config.auto_labels else config.min_confidence  # those were chosen already
        for i, labels in _detections(view, field):
            if i not in labelled:
                sure = [d for d in labels if (d.confidence or 0) >= least]
                # Their own ids: what becomes of them in the labels is no prediction any more.
                found[i] += [_box("prediction", d, str(ObjectId())) for d in sure]
    if config.suggestions and loop.dataset.get_field(loop.names.regions) is not None:
        for i, labels in _detections(view, loop.names.regions):
            found[i] += [_box("suggestion", d, d.id) for d in labels]
    # A box that lies outside of its image cannot be drawn; what sticks out is cut.
    return {i: [b for b in boxes if b is not None] for i, boxes in found.items()}


def _detections(view: Any, field: str) -> list[tuple[str, Any]]:
    """(sample id, detections) of the samples that are not None in this field."""
    ids, values = view.values(["id", f"{field}.detections"])
    return [(i, v) for i, v in zip(ids, values, strict=True) if v is not None]


def _box(kind: Kind, detection: Any, box_id: str, *, in_truth: bool = False) -> KnownBox | None:
    box = detection.bounding_box
    clipped = None if box is None else clip_box(box)
    if clipped is None:
        return None
    label = REGION_LABEL if kind == "suggestion" else detection.label or ""
    return KnownBox(
        kind=kind,
        id=box_id,
        sent_id=box_id,
        shape_id=None,
        label=label,
        box=clipped,
        attributes={},
        in_truth=in_truth,
    )


def without_unknown(
    boxes: Mapping[str, Sequence[KnownBox]], classes: Sequence[str]
) -> dict[str, list[KnownBox]]:
    """The boxes less the predictions of a class that annotators cannot choose."""
    return {
        i: [b for b in found if b.kind != "prediction" or b.label in classes]
        for i, found in boxes.items()
    }


def within(boxes: Sequence[KnownBox], asked: Scope | None) -> list[KnownBox]:
    """The boxes that reach into what is asked for; None asks for the whole image."""
    if asked is None:
        return list(boxes)
    found = reaches([box.box for box in boxes], asked)
    return [box for box, reaches_in in zip(boxes, found, strict=True) if reaches_in]


def _predictions_field(loop: Loop, *, auto: bool) -> str:
    if auto and loop.dataset.get_field(loop.names.auto_labels) is None:
        raise AnnotationError(
            "there are no automatic labels to send; run auto_label first, or leave auto_labels out"
        )
    if auto:
        return loop.names.auto_labels
    iteration = loop.newest_with("train_detector")
    field = None if iteration is None else loop.names.predictions(iteration)
    if field is None or loop.dataset.get_field(field) is None:
        raise AnnotationError(
            "there are no predictions to send; run train_detector and apply_detector on the batch, "
            "or leave predictions out"
        )
    return field
