"""What a CVAT job holds -> boxes.

Annotators may draw anything, and CVAT stores whatever it is given: rectangles outside of the image,
three numbers as a rectangle, shapes on frames of another job. Here every shape becomes one box or
is left out, nothing crashes, and whatever was not a plain rectangle is named as an `Oddity`.

Boxes are relative `[x, y, width, height]` as shares of the image, origin top left, clipped to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unseen.annotation.extents import EXTENTS, Box, as_integer, as_list, as_number

#: Attribute of a shape that says which label of FiftyOne it came from.
LABEL_ID = "label_id"

#: Kinds of oddities: what became of a shape, to be read after a number ("3 tags ignored").
TRACK = "track shape taken as a single box"
TAG = "tag ignored"
CLIPPED = "box clipped to the image"
EMPTY = "shape without an area inside the image dropped"
MALFORMED = "malformed shape dropped"
FOREIGN_FRAME = "shape on a frame of another job dropped"
UNKNOWN_CLASS = "shape of an unknown class dropped"
UNKNOWN_TYPE = "shape of an unknown type dropped"

#: A box may stick out by this many px before that counts: coordinates pass through decimal text.
_ROUNDING = 0.01


@dataclass(frozen=True)
class ServerLabel:
    """A class as the server knows it."""

    name: str
    attributes: Mapping[int, str]  #: spec id -> name of the attribute


@dataclass(frozen=True)
class FoundBox:
    """A box that the server holds."""

    label: str
    box: Box  #: relative [x, y, width, height], inside the image
    shape_id: int | None
    label_id: str | None  #: FiftyOne's id (24 hex digits) that the shape carries, if any
    attributes: Mapping[str, str | bool]  #: what else is set; `occluded` only if True


@dataclass(frozen=True)
class Oddity:
    """A shape that was not simply a rectangle inside the image."""

    kind: str
    frame: int  #: -1 if the shape does not say
    shape_id: int | None


@dataclass(frozen=True)
class JobShapes:
    """The boxes of a job, and what had to be done to get them."""

    boxes: dict[int, list[FoundBox]]  #: by frame; every frame of the job has an entry
    oddities: list[Oddity]


def read_job(
    annotations: Mapping[str, Any],
    labels: Mapping[int, ServerLabel],
    sizes: Mapping[int, tuple[int, int]],
) -> JobShapes:
    """The boxes of one CVAT job.

    Args:
        annotations: CVAT's `{"shapes": [...], "tags": [...], "tracks": [...]}`.
        labels: class id on the server -> class.
        sizes: frame -> (width, height) in px, only the frames of this job.

    Returns:
        Boxes by frame in the order in which they were drawn (the server leaves the order open),
        and an `Oddity` for each shape that was converted, clipped or left out. Shapes that are
        `outside` (hidden) are left out without a word.
    """
    boxes: dict[int, list[FoundBox]] = {frame: [] for frame in sizes}
    oddities: list[Oddity] = []
    for shape, is_track in _all_shapes(annotations):
        if not isinstance(shape, Mapping):
            oddities.append(Oddity(MALFORMED, -1, None))
            continue
        frame, shape_id = as_integer(shape.get("frame")), as_integer(shape.get("id"))
        kinds, found = _read_shape(shape, frame, shape_id, labels, sizes)
        if is_track and (found or kinds):
            kinds = [TRACK, *kinds]
        oddities += [Oddity(kind, -1 if frame is None else frame, shape_id) for kind in kinds]
        if found is not None and frame is not None:
            boxes[frame].append(found)
    for tag in as_list(annotations.get("tags")):
        frame = as_integer(tag.get("frame")) if isinstance(tag, Mapping) else None
        oddities.append(Oddity(TAG, -1 if frame is None else frame, None))
    for found_here in boxes.values():
        found_here.sort(key=lambda f: math.inf if f.shape_id is None else f.shape_id)
    return JobShapes(boxes, oddities)


def clip_box(box: Sequence[float]) -> Box | None:
    """The part of a relative `[x, y, width, height]` box that lies in the image.

    A box inside the image comes back as it is, to the last bit, so that what was sent and what
    comes back compare equal. None if nothing is left or a number is not finite.
    """
    x, y, width, height = (float(v) for v in box)
    if not all(math.isfinite(v) for v in (x, y, width, height)):
        return None
    x, width = _clip_side(x, width)
    y, height = _clip_side(y, height)
    return (x, y, width, height) if width > 0 and height > 0 else None


def _clip_side(start: float, length: float) -> tuple[float, float]:
    if start >= 0 and start + length <= 1:
        return start, length
    low, high = max(start, 0.0), min(start + length, 1.0)
    return low, high - low


def _all_shapes(annotations: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Every shape, and the key frames of every track as shapes; True for the latter."""
    for shape in as_list(annotations.get("shapes")):
        yield shape, False
    for track in as_list(annotations.get("tracks")):
        if not isinstance(track, Mapping):
            yield track, True
            continue
        for key_frame in as_list(track.get("shapes")):
            yield _from_track(key_frame, track) if isinstance(key_frame, Mapping) else None, True


def _from_track(key_frame: Mapping[str, Any], track: Mapping[str, Any]) -> dict[str, Any]:
    """A key frame with what the track says for all of them, as a shape of its own."""
    parts = [part for part in as_list(track.get("elements")) if isinstance(part, Mapping)]
    elements = [shape for part in parts for shape in as_list(part.get("shapes"))]
    return {
        **key_frame,
        "label_id": track.get("label_id"),
        "attributes": as_list(track.get("attributes")) + as_list(key_frame.get("attributes")),
        "elements": [
            shape
            for shape in elements
            if isinstance(shape, Mapping) and shape.get("frame") == key_frame.get("frame")
        ],
    }


def _read_shape(
    shape: Mapping[str, Any],
    frame: int | None,
    shape_id: int | None,
    labels: Mapping[int, ServerLabel],
    sizes: Mapping[int, tuple[int, int]],
) -> tuple[list[str], FoundBox | None]:
    """The kinds of oddities of one shape, and its box if it gives one."""
    if shape.get("outside"):
        return [], None
    class_id = as_integer(shape.get("label_id"))
    label = None if class_id is None else labels.get(class_id)
    type_ = shape.get("type")
    if frame is None:
        return [MALFORMED], None
    if frame not in sizes:
        return [FOREIGN_FRAME], None
    if label is None:
        return [UNKNOWN_CLASS], None
    if not isinstance(type_, str) or type_ not in EXTENTS:
        return [UNKNOWN_TYPE], None
    rotation = as_number(shape.get("rotation") or 0.0)
    extent = None if rotation is None else EXTENTS[type_](shape, math.radians(rotation))
    width, height = sizes[frame]
    if extent is None or not all(math.isfinite(v) for v in extent) or min(width, height) <= 0:
        return [MALFORMED], None

    kinds = []
    if type_ != "rectangle":
        kinds.append(f"{type_} converted to its bounding box")
    elif rotation:
        kinds.append("rotated rectangle converted to its bounding box")
    x1, y1, x2, y2 = extent
    if min(x1, y1, width - x2, height - y2) < -_ROUNDING:
        kinds.append(CLIPPED)
    box = clip_box((x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height))
    if box is None:
        return [EMPTY], None
    label_id, attributes = _attributes(shape, label)
    return kinds, FoundBox(label.name, box, shape_id, label_id, attributes)


def _attributes(
    shape: Mapping[str, Any], label: ServerLabel
) -> tuple[str | None, dict[str, str | bool]]:
    """The FiftyOne id that the shape carries, and its other attributes."""
    label_id = None
    values: dict[str, str | bool] = {}
    for attribute in as_list(shape.get("attributes")):
        spec = as_integer(attribute.get("spec_id")) if isinstance(attribute, Mapping) else None
        name = None if spec is None else label.attributes.get(spec)
        value = attribute.get("value") if name is not None else None
        if name is None or value is None or value == "":
            continue
        if name == LABEL_ID:
            text = str(value).strip().lower()
            label_id = text if re.fullmatch(r"[0-9a-f]{24}", text) else None
        else:
            values[name] = value if isinstance(value, bool) else str(value)
    if shape.get("occluded"):
        values["occluded"] = True
    return label_id, values
