"""Which part of an image is labelled: rectangles in a field of their own, beside the label field.

No value, or an empty one, means that the whole image is labelled. A person may draw the rectangles
into the field as well; what they are called does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unseen.arrays.boxes import clean_boxes, rel_xywh_to_xyxy, xyxy_to_rel_xywh
from unseen.arrays.images import image_size
from unseen.arrays.scope import centre_in_scope, reaches_scope, scope_around, usual_margin
from unseen.dataset import appearance, reading, writing
from unseen.dataset.fields import SCOPE_LABEL, Names
from unseen.dataset.loop import Loop
from unseen.errors import ImageError
from unseen.results import Skipped

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig

#: Relative [x, y, width, height] of the rectangles.
Scope = list[list[float]]


def declare(loop: Loop) -> None:
    """Add the field, and show it.

    Raises:
        DatasetError: a field of that name exists and is not ours.
    """
    is_new = loop.dataset.get_field(loop.names.scope) is None
    text = f"The rectangles that are labelled in {loop.names.label_field}; none: the whole image"
    writing.declare_detections(loop, loop.names.scope, text)
    if is_new:
        writing.group_fields(loop)
        if not loop.names.series:  # baselines stay in the background
            appearance.show(loop, loop.names.label_field, loop.names.scope)


def check(loop: Loop) -> None:
    """Make sure that the field, where there is one, holds boxes.

    Raises:
        DatasetError: it holds something else.
    """
    reading.check_label_field(loop.dataset, loop.names.scope, must_exist=False, parameter="prefix")


def read(
    view: Any, names: Names, images: Sequence[reading.LabelledImage]
) -> tuple[dict[str, np.ndarray], list[Skipped]]:
    """The scopes of labelled images.

    Args:
        view: the samples.
        names: the loop.
        images: whose scope is wanted; their sizes turn shares into px.

    Returns:
        Sample id -> (N, 4) float32 xyxy px, N > 0, of the images that are labelled in part; and
        those whose scope holds no rectangle that could be used.

    Raises:
        DatasetError: the field holds something else than boxes.
    """
    found: dict[str, np.ndarray] = {}
    unusable = []
    drawn = _drawn(view, names)
    for image in images:
        if image.sample_id not in drawn:
            continue
        rel = drawn[image.sample_id]
        xyxy = rel_xywh_to_xyxy(rel, image.width, image.height)
        kept, _, _ = clean_boxes(xyxy, np.zeros(len(xyxy)), image.width, image.height)
        if len(kept):
            found[image.sample_id] = kept
            continue
        reason = (
            f"{image.filepath}: none of the {len(rel)} rectangles in field {names.scope!r} has an "
            "area inside the image; draw one, or clear the field of this sample where the whole "
            "image is labelled"
        )
        unusable.append(Skipped(sample_id=image.sample_id, filepath=image.filepath, reason=reason))
    return found, unusable


def write(loop: Loop, scopes: Mapping[str, Scope]) -> None:
    """Store scopes (sample id -> rectangles); an empty one clears it: the whole image is labelled."""
    if scopes:
        declare(loop)
        values = {i: {loop.names.scope: document(scope)} for i, scope in scopes.items()}
        writing.set_raw(loop.dataset, values)


def document(scope: Scope) -> dict[str, Any] | None:
    """A scope as the database holds it; None for the whole image."""
    return writing.detections((SCOPE_LABEL, box, None) for box in scope) if scope else None


def around_regions(loop: Loop, ids: Iterable[str], *, strongest: int) -> dict[str, Scope]:
    """The scope that shows the strongest unseen regions of images, with room for an object.

    Args:
        loop: the loop.
        ids: of the images.
        strongest: regions per image, at least 1.

    Returns:
        Sample id -> rectangles, as shares of the image. Images that were not scored, or show nothing
        unseen, have no entry: nobody can say where to look in them.
    """
    if loop.dataset.get_field(loop.names.regions) is None:
        return {}
    labels = reading.read_labels(loop.whole.labelled, loop.names.label_field)
    margin = usual_margin([image.xyxy for image in labels.images])
    view = loop.dataset.select(list(ids))
    paths = f"{loop.names.regions}.detections.bounding_box"
    found = {}
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
            found[i] = [[float(v) for v in box] for box in xyxy_to_rel_xywh(scope, width, height)]
    return found


def asked_for(loop: Loop, config: RequestConfig, ids: Sequence[str]) -> dict[str, Scope]:
    """What annotators are asked for, where that is not the whole image.

    Images that have labels are complete, and stay so.
    """
    if not config.regions_only:
        return {}
    new = loop.dataset.select(list(ids))
    if loop.dataset.get_field(loop.names.label_field) is not None:
        new = new.exists(loop.names.label_field, False)
    strongest = config.regions_per_image
    return around_regions(loop, new.values("id"), strongest=strongest)


def reaches(boxes: Sequence[Sequence[float]], scope: Scope) -> list[bool]:
    """Whether some of each box lies in the scope; both as relative [x, y, width, height]."""
    found = reaches_scope(rel_xywh_to_xyxy(boxes, 1, 1), rel_xywh_to_xyxy(scope, 1, 1))
    return [bool(reaches_in) for reaches_in in found]


def in_scope(view: Any, names: Names, fields: Collection[str]) -> Any:
    """The view without the boxes whose centre lies outside of the scope of their image.

    Args:
        view: the samples.
        names: the loop; its label field says which scope.
        fields: of detections.
    """
    out = []
    if drawn := _drawn(view, names):
        part = view.select(list(drawn))
        for field in fields:
            columns = [f"{field}.detections.{name}" for name in ("id", "bounding_box")]
            for i, labels, boxes in zip(*part.values(["id", *columns]), strict=True):
                xyxy, scope = (rel_xywh_to_xyxy(rel, 1, 1) for rel in (boxes or [], drawn[i]))
                inside = centre_in_scope(xyxy, scope)
                out += [
                    label for label, is_in in zip(labels or [], inside, strict=True) if not is_in
                ]
    # By id, because a filter cannot compare a box with the rectangles of its own sample.
    return view.exclude_labels(ids=out, fields=list(fields), omit_empty=False) if out else view


def count(view: Any, names: Names) -> int:
    """How many samples of the view are labelled in part."""
    return len(_drawn(view, names))


def _drawn(view: Any, names: Names) -> dict[str, Scope]:
    """Sample id -> what was drawn, as it is stored; samples with nothing have no entry."""
    dataset = reading.dataset_of(view)
    check(Loop(dataset, names))
    if dataset.get_field(names.scope) is None:
        return {}
    ids, boxes = view.exists(names.scope).values(["id", f"{names.scope}.detections.bounding_box"])
    return {
        i: [box for box in rel if box is not None] for i, rel in zip(ids, boxes, strict=True) if rel
    }
