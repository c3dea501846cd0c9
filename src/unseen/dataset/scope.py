"""Which part of an image is labelled: rectangles in a field beside the label field.

No value, or an empty one, means that the whole image is labelled. A person may draw the rectangles
as well; their labels do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unseen.arrays.boxes import clean_boxes, rel_xywh_to_xyxy, xyxy_to_rel_xywh
from unseen.arrays.images import image_size
from unseen.arrays.scope import reaches_scope, scope_around, usual_margin
from unseen.dataset import appearance, reading, writing
from unseen.dataset.fields import SCOPE_LABEL
from unseen.dataset.loop import Loop
from unseen.errors import ImageError
from unseen.results import Skipped

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig

#: Relative [x, y, width, height] of the rectangles.
Scope = list[list[float]]


def declare(loop: Loop) -> None:
    """Add the field and show it; `DatasetError` if a field of that name is not ours."""
    if loop.dataset.get_field(loop.names.scope) is None and not loop.names.series:
        # Baselines stay in the background.
        appearance.show(loop, loop.names.label_field, loop.names.scope)
    text = f"The rectangles that are labelled in {loop.names.label_field}; none: the whole image"
    writing.declare_detections(loop, loop.names.scope, text)
    writing.group_fields(loop)


def read(
    loop: Loop, images: Sequence[reading.LabelledImage]
) -> tuple[dict[str, np.ndarray], list[Skipped]]:
    """The scopes of labelled images of the view.

    Returns sample id -> (N, 4) float32 xyxy px, N > 0, of the partly labelled images, and the images
    whose scope has no usable rectangle. Raises `DatasetError` if the field does not hold boxes.
    """
    scopes: dict[str, np.ndarray] = {}
    unusable = []
    rectangles = drawn(loop)
    for image in images:
        if image.sample_id not in rectangles:
            continue
        rel = rectangles[image.sample_id]
        xyxy = rel_xywh_to_xyxy(rel, image.width, image.height)
        kept, _, _ = clean_boxes(xyxy, np.zeros(len(xyxy)), image.width, image.height)
        if len(kept):
            scopes[image.sample_id] = kept
            continue
        reason = (
            f"{image.filepath}: none of the {len(rel)} rectangles in field {loop.names.scope!r} has "
            "an area inside the image; draw one, or clear the field of this sample where the whole "
            "image is labelled"
        )
        unusable.append(Skipped(sample_id=image.sample_id, filepath=image.filepath, reason=reason))
    return scopes, unusable


def write(loop: Loop, scopes: Mapping[str, Scope]) -> None:
    """Store scopes (sample id -> rectangles); an empty one means that the whole image is labelled."""
    if scopes:
        declare(loop)
        values = {i: {loop.names.scope: document(scope)} for i, scope in scopes.items()}
        writing.set_raw(loop.dataset, values)


def document(scope: Scope) -> dict[str, Any] | None:
    """A scope as the database holds it; None for the whole image."""
    return writing.detections((SCOPE_LABEL, box, None) for box in scope) if scope else None


def around_regions(loop: Loop, ids: Iterable[str], *, strongest: int) -> dict[str, Scope]:
    """Sample id -> the scope of its `strongest` unseen regions, with room for an object around each.

    Images that were not scored or have no unseen region have no entry.
    """
    if loop.dataset.get_field(loop.names.regions) is None:
        return {}
    labels = reading.read_labels(loop.whole.labelled, loop.names.label_field)
    margin = usual_margin([image.xyxy for image in labels.images])
    view = loop.dataset.select(list(ids))
    paths = f"{loop.names.regions}.detections.bounding_box"
    scopes = {}
    for i, path, size, rel in zip(
        *view.values(["id", "filepath"]), reading.sizes(view), view.values(paths), strict=True
    ):
        if not rel:
            continue
        try:
            width, height = size or image_size(path)
        except ImageError:
            continue  # whoever needs the image itself says so
        regions = rel_xywh_to_xyxy(rel[:strongest], width, height)
        scope = scope_around(regions, margin=margin, width=width, height=height)
        if len(scope):
            scopes[i] = [[float(v) for v in box] for box in xyxy_to_rel_xywh(scope, width, height)]
    return scopes


def asked_for(loop: Loop, config: RequestConfig, ids: Sequence[str]) -> dict[str, Scope]:
    """Sample id -> what annotators are asked for, unless it is the whole image.

    Labelled images are complete and stay so.
    """
    if not config.regions_only:
        return {}
    new = loop.without_labels(loop.dataset.select(list(ids)))
    return around_regions(loop, new.values("id"), strongest=config.regions_per_image)


def reaches(boxes: Sequence[Sequence[float]], scope: Scope) -> list[bool]:
    """Whether some of each box lies in the scope; both as relative [x, y, width, height]."""
    return [bool(r) for r in reaches_scope(*(rel_xywh_to_xyxy(b, 1, 1) for b in (boxes, scope)))]


def count(loop: Loop) -> int:
    """How many samples of the view are labelled in part."""
    return len(drawn(loop))


def drawn(loop: Loop) -> dict[str, Scope]:
    """Sample id -> rectangles as stored, of the samples that have some."""
    field = loop.names.scope
    reading.check_label_field(loop.dataset, field, must_exist=False, parameter="prefix")
    if loop.dataset.get_field(field) is None:
        return {}
    ids, boxes = loop.view.exists(field).values(["id", f"{field}.detections.bounding_box"])
    return {
        i: [box for box in rel if reading.has_place(box)]
        for i, rel in zip(ids, boxes, strict=True)
        if rel
    }
