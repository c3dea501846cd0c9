"""CVAT's shapes as boxes.

CVAT stores whatever it is sent: rectangles outside the image, three numbers as a rectangle, shapes
on frames of another job. Each shape becomes one box or is dropped, and anything but a plain
rectangle is reported as an `Oddity`.

Boxes are `[x, y, width, height]` relative to the image, origin top left, clipped to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]

#: The shape attribute that names the FiftyOne label a shape came from.
LABEL_ID = "label_id"

#: Kinds of oddities; they are read after a count ("3 x tag ignored").
TRACK = "track shape taken as a single box"
TAG = "tag ignored"
CLIPPED = "box clipped to the image"
EMPTY = "shape without an area inside the image dropped"
MALFORMED = "malformed shape dropped"
FOREIGN_FRAME = "shape on a frame of another job dropped"
UNKNOWN_CLASS = "shape of an unknown class dropped"
UNKNOWN_TYPE = "shape of an unknown type dropped"

#: Coordinates travel as decimal text: a box may stick out by this many px before it counts.
_ROUNDING = 0.01

#: Shape type -> fewest and most points.
_POINTS: dict[str, tuple[int, float]] = {
    "rectangle": (2, 2),
    "ellipse": (2, 2),
    "polygon": (3, math.inf),
    "polyline": (2, math.inf),
    "points": (1, math.inf),
    "cuboid": (8, 8),
}
#: Every shape type of CVAT.
TYPES = (*_POINTS, "mask", "skeleton")


@dataclass(frozen=True)
class ServerLabel:
    """A class as the server knows it."""

    name: str
    attributes: Mapping[int, str]  #: spec id -> attribute name


@dataclass(frozen=True)
class ServerBox:
    """A box that the server holds now."""

    label: str
    box: Box
    shape_id: int | None
    label_id: str | None  #: the FiftyOne id (24 hex digits) that the shape carries, if any
    attributes: Mapping[str, str | bool]  #: the other attributes; `occluded` only if True


@dataclass(frozen=True)
class Oddity:
    """A shape that was converted, clipped or dropped."""

    kind: str
    frame: int  #: -1 if the shape does not say
    shape_id: int | None


@dataclass(frozen=True)
class JobShapes:
    """The boxes of a job, and what had to be done to get them."""

    boxes: dict[int, list[ServerBox]]  #: by frame; every frame of the job has an entry
    oddities: list[Oddity]


def read_job(
    annotations: Mapping[str, Any],
    labels: Mapping[int, ServerLabel],
    sizes: Mapping[int, tuple[int, int]],
) -> JobShapes:
    """The boxes of one CVAT job, in drawing order, which the server does not keep.

    `annotations` is CVAT's `{"shapes": [...], "tags": [...], "tracks": [...]}`, `labels` maps label
    ids to classes, and `sizes` maps the job's frames to (width, height) in px. Hidden shapes
    (`outside`) are skipped silently.
    """
    boxes: dict[int, list[ServerBox]] = {frame: [] for frame in sizes}
    oddities: list[Oddity] = []
    for shape, is_track in _all_shapes(annotations):
        if not isinstance(shape, Mapping):
            oddities.append(Oddity(MALFORMED, -1, None))
            continue
        frame, shape_id = _integer(shape.get("frame")), _integer(shape.get("id"))
        kinds, box = _read_shape(shape, frame, shape_id, labels, sizes)
        if is_track and (box or kinds):
            kinds = [TRACK, *kinds]
        oddities += [Oddity(kind, -1 if frame is None else frame, shape_id) for kind in kinds]
        if box is not None and frame is not None:
            boxes[frame].append(box)
    for tag in _list(annotations.get("tags")):
        frame = _integer(tag.get("frame")) if isinstance(tag, Mapping) else None
        oddities.append(Oddity(TAG, -1 if frame is None else frame, None))
    for in_frame in boxes.values():
        in_frame.sort(key=lambda box: math.inf if box.shape_id is None else box.shape_id)
    return JobShapes(boxes, oddities)


def clip_box(box: Sequence[float]) -> Box | None:
    """The part of a relative box inside the image, or None if none is left or it is not finite.

    A box inside the image comes back bit by bit, so that sent and received boxes compare equal.
    """
    x, y, width, height = (float(v) for v in box)
    if not all(map(math.isfinite, (x, y, width, height))):
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
    """Every shape, and every key frame of a track as a shape (with True)."""
    for shape in _list(annotations.get("shapes")):
        yield shape, False
    for track in _list(annotations.get("tracks")):
        if not isinstance(track, Mapping):
            yield track, True
            continue
        for key_frame in _list(track.get("shapes")):
            yield _from_track(key_frame, track) if isinstance(key_frame, Mapping) else None, True


def _from_track(key_frame: Mapping[str, Any], track: Mapping[str, Any]) -> dict[str, Any]:
    parts = [part for part in _list(track.get("elements")) if isinstance(part, Mapping)]
    elements = [shape for part in parts for shape in _list(part.get("shapes"))]
    return {
        **key_frame,
        "label_id": track.get("label_id"),
        "attributes": _list(track.get("attributes")) + _list(key_frame.get("attributes")),
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
) -> tuple[list[str], ServerBox | None]:
    """The kinds of oddities of one shape, and its box if it has one."""
    if shape.get("outside"):
        return [], None
    class_id = _integer(shape.get("label_id"))
    label = None if class_id is None else labels.get(class_id)
    type_ = shape.get("type")
    if frame is None:
        return [MALFORMED], None
    if frame not in sizes:
        return [FOREIGN_FRAME], None
    if label is None:
        return [UNKNOWN_CLASS], None
    if not isinstance(type_, str) or type_ not in TYPES:
        return [UNKNOWN_TYPE], None
    angle = _numbers([shape.get("rotation") or 0.0])
    extent = None if angle is None else _extent(type_, shape, math.radians(angle[0]))
    width, height = sizes[frame]
    if extent is None or not all(map(math.isfinite, extent)) or min(width, height) <= 0:
        return [MALFORMED], None

    kinds = []
    if type_ != "rectangle":
        kinds.append(f"{type_} converted to its bounding box")
    elif angle != [0]:
        kinds.append("rotated rectangle converted to its bounding box")
    x1, y1, x2, y2 = extent
    if min(x1, y1, width - x2, height - y2) < -_ROUNDING:
        kinds.append(CLIPPED)
    box = clip_box((x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height))
    if box is None:
        return [EMPTY], None
    label_id, attributes = _attributes(shape, label)
    return kinds, ServerBox(label.name, box, shape_id, label_id, attributes)


def _extent(type_: str, shape: Mapping[str, Any], angle: float) -> Box | None:
    """The corners (x1, y1, x2, y2) in px of the box around a shape; None if it is malformed.

    `angle` turns the shape clockwise, in radians; only rectangles and ellipses use it.
    """
    numbers: list[float] | None
    if type_ == "skeleton":
        parts = [p for p in _list(shape.get("elements")) if isinstance(p, Mapping)]
        points = [_numbers(part.get("points")) for part in parts if not part.get("outside")]
        numbers = [n for part in points if part and len(part) % 2 == 0 for n in part]
        least, most = _POINTS["points"]
    else:
        numbers = _numbers(shape.get("points"))
        if type_ == "mask":  # run lengths, then the first and last column and row covered
            if numbers is None or len(numbers) < 5:
                return None
            left, top, right, bottom = numbers[-4:]
            return (left, top, right + 1, bottom + 1) if right >= left and bottom >= top else None
        least, most = _POINTS[type_]
    if numbers is None or len(numbers) % 2 or not least <= len(numbers) / 2 <= most:
        return None
    xs, ys = numbers[::2], numbers[1::2]
    if type_ == "ellipse":  # its centre, and the corner of the box around it
        x, y = xs[0], ys[0]
        half_width, half_height = abs(xs[1] - x), abs(ys[1] - y)
    else:
        x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
        if type_ != "rectangle" or not angle:
            return x1, y1, x2, y2
        x, y, half_width, half_height = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    combine = math.hypot if type_ == "ellipse" else lambda a, b: a + b
    dx = combine(half_width * cos, half_height * sin)
    dy = combine(half_width * sin, half_height * cos)
    return x - dx, y - dy, x + dx, y + dy


def _attributes(
    shape: Mapping[str, Any], label: ServerLabel
) -> tuple[str | None, dict[str, str | bool]]:
    """The FiftyOne id that the shape carries, and its other attributes."""
    label_id = None
    values: dict[str, str | bool] = {}
    for attribute in _list(shape.get("attributes")):
        spec = _integer(attribute.get("spec_id")) if isinstance(attribute, Mapping) else None
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


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _numbers(value: Any) -> list[float] | None:
    """A flat list of finite numbers, or None."""
    try:
        numbers = np.array(_list(value), dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers.tolist() if numbers.ndim == 1 and np.isfinite(numbers).all() else None
