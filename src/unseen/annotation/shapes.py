"""CVAT's shapes as boxes.

CVAT stores any numbers that it is sent: rectangles outside the image, three numbers as a rectangle,
shapes on frames of another job. Each shape becomes one box or is dropped, and anything but a plain
rectangle is reported as an `Oddity`; no answer of a server makes this fail.

Boxes are `[x, y, width, height]` relative to the image, origin top left, clipped to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]

#: The shape attribute that names the FiftyOne label a shape came from.
LABEL_ID = "label_id"
#: The shape attribute of a suggestion that annotators can filter by, 0 to 100.
SCORE = "score"

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
    "skeleton": (1, math.inf),
}
#: Every shape type of CVAT.
TYPES = (*_POINTS, "mask")


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
    frame: int  #: -1 if the shape does not tell
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
    tags, tracks = _objects(annotations.get("tags")), _objects(annotations.get("tracks"))
    oddities = [Oddity(TAG, _integer(tag.get("frame"), -1), None) for tag in tags]
    shapes = [(shape, False) for shape in _objects(annotations.get("shapes"))]
    shapes += [(shape, True) for track in tracks for shape in _key_frames(track)]
    for shape, is_track in shapes:
        if shape.get("outside"):
            continue
        frame, shape_id = _integer(shape.get("frame"), -1), _integer(shape.get("id"))
        kinds, box = _read_shape(shape, frame, labels, sizes)
        oddities += [Oddity(k, frame, shape_id) for k in ([TRACK] if is_track else []) + kinds]
        if box is not None:
            boxes[frame].append(box)
    for in_frame in boxes.values():
        in_frame.sort(key=lambda box: math.inf if box.shape_id is None else box.shape_id)
    return JobShapes(boxes, oddities)


def clip_box(box: Sequence[float]) -> Box | None:
    """The part of a relative box inside the image, or None if none is left or it is no box.

    A box inside the image comes back bit by bit, so that sent and received boxes compare equal.
    """
    values = [float(v) for v in box]
    if len(values) != 4 or not all(map(math.isfinite, values)):
        return None
    x, y, width, height = values
    x, width = _clip_side(x, width)
    y, height = _clip_side(y, height)
    return (x, y, width, height) if width > 0 and height > 0 else None


def _clip_side(start: float, length: float) -> tuple[float, float]:
    if start >= 0 and start + length <= 1:
        return start, length
    low, high = max(start, 0.0), min(start + length, 1.0)
    return low, high - low


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The items of a JSON list; an empty object for what is none."""
    items = value if isinstance(value, list) else []
    return [item if isinstance(item, Mapping) else {} for item in items]


def _integer(value: Any, default: Any = None) -> Any:
    return value if type(value) is int else default


def _key_frames(track: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The key frames of a track as shapes, each with what the track says for all of them."""
    elements = [s for part in _objects(track.get("elements")) for s in _objects(part.get("shapes"))]
    return [
        {
            **key_frame,
            "label_id": track.get("label_id"),
            "attributes": _objects(track.get("attributes")) + _objects(key_frame.get("attributes")),
            "elements": [s for s in elements if s.get("frame") == key_frame.get("frame")],
        }
        for key_frame in _objects(track.get("shapes", [{}]))  # without any, it is malformed
    ]


def _read_shape(
    shape: Mapping[str, Any],
    frame: int,
    labels: Mapping[int, ServerLabel],
    sizes: Mapping[int, tuple[int, int]],
) -> tuple[list[str], ServerBox | None]:
    """The kinds of oddities of one shape, and its box if it has one."""
    type_, label = shape.get("type"), labels.get(_integer(shape.get("label_id")))
    if frame < 0:
        return [MALFORMED], None
    if frame not in sizes:
        return [FOREIGN_FRAME], None
    if label is None:
        return [UNKNOWN_CLASS], None
    if type_ not in TYPES:
        return [UNKNOWN_TYPE], None
    try:
        rotation = float(shape.get("rotation") or 0.0)
        extent = _extent(str(type_), shape, math.radians(rotation))
    except (TypeError, ValueError, OverflowError):  # no numbers, or too large ones
        extent = None
    width, height = sizes[frame]
    if extent is None or not all(map(math.isfinite, extent)) or min(width, height) <= 0:
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
    shape_id = _integer(shape.get("id"))
    return kinds, ServerBox(label.name, box, shape_id, label_id, attributes)


def _extent(type_: str, shape: Mapping[str, Any], angle: float) -> Box | None:
    """The corners (x1, y1, x2, y2) in px of the box around a shape; None if it is malformed.

    `angle` turns the shape clockwise, in radians; only rectangles and ellipses use it.
    """
    if type_ == "skeleton":
        parts = [p for p in _objects(shape.get("elements")) if not p.get("outside")]
        points = [n for part in parts for n in part.get("points") or []]
    else:
        points = shape.get("points") or []
    numbers = [float(n) for n in points]
    if not all(map(math.isfinite, numbers)):
        return None
    if type_ == "mask":  # run lengths, then the first and last column and row covered
        if len(numbers) < 5:
            return None
        left, top, right, bottom = numbers[-4:]
        return (left, top, right + 1, bottom + 1) if right >= left and bottom >= top else None
    least, most = _POINTS[type_]
    if len(numbers) % 2 or not least <= len(numbers) / 2 <= most:
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
    for attribute in _objects(shape.get("attributes")):
        name = label.attributes.get(_integer(attribute.get("spec_id")))
        value = attribute.get("value")
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
