"""What is read of CVAT's answers; another answer comes from a proxy or from something else."""

from __future__ import annotations

from typing import Any

#: A type, a list of one shape for every item, or a dict of those keys that are read.
Shape = type | list[Any] | dict[str, Any]

ANY: Shape = {}
NUMBERED: Shape = {"id": int}
NAMED: Shape = {"id": int, "name": str}
LABEL: Shape = {"id": int, "name": str, "attributes": [NAMED]}
JOB: Shape = {"id": int, "start_frame": int, "stop_frame": int, "state": str, "stage": str}
FRAMES: Shape = {
    "size": int,
    "frames": [{"name": str, "width": int, "height": int}],  # one may stand for all
    "deleted_frames": [int],
}
#: What is stored of shapes that were sent.
SHAPES: Shape = {"shapes": [{"id": int, "frame": int, "label_id": int, "points": list}]}

_WORDS = {int: "a whole number", str: "a text", list: "a list", dict: "an object"}


def difference(answer: Any, shape: Shape, place: str = "") -> str | None:
    """How an answer differs from the shape, or None; more keys are no difference.

    >>> difference({"results": [{"id": "7"}]}, {"results": [NUMBERED]})
    "not CVAT's: results[0].id is str, expected a whole number"
    """
    kind = shape if isinstance(shape, type) else type(shape)
    fits = isinstance(answer, kind) and not (kind is int and isinstance(answer, bool))
    if not fits:
        expected = _WORDS.get(kind, kind.__name__)
        return f"not CVAT's: {place} is {type(answer).__name__}, expected {expected}"
    if isinstance(shape, list):
        found = [difference(item, shape[0], f"{place}[{i}]") for i, item in enumerate(answer)]
    elif isinstance(shape, dict):
        dot = f"{place}." if place else ""
        found = [difference(answer.get(k), s, f"{dot}{k}") for k, s in shape.items()]
    else:
        return None
    return next(filter(None, found), None)
