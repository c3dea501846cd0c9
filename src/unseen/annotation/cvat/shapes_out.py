"""Boxes of FiftyOne -> the shapes and labels that CVAT is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unseen.annotation.merge import KnownBox
from unseen.annotation.shapes import LABEL_ID

#: Colour of the suggestions, apart from the colours that CVAT gives to classes.
SUGGESTION_COLOUR = "#ff8c00"


def label_specs(classes: Sequence[str], suggestion_class: str | None) -> list[dict[str, Any]]:
    """The labels of a task or project; each box can carry the id of FiftyOne's label."""
    attribute = {"name": LABEL_ID, "input_type": "text", "mutable": True, "values": []}
    specs: list[dict[str, Any]] = [{"name": c, "attributes": [dict(attribute)]} for c in classes]
    if suggestion_class is not None:
        specs.append(
            {
                "name": suggestion_class,
                "color": SUGGESTION_COLOUR,
                "attributes": [dict(attribute)],
            }
        )
    return specs


def to_shapes(
    boxes: Mapping[int, Sequence[KnownBox]],
    sizes: Mapping[int, tuple[int, int]],
    labels: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Rectangles for CVAT.

    Args:
        boxes: frame -> boxes, relative.
        sizes: frame -> (width, height) px.
        labels: as the server lists them, with their ids.
    """
    by_name = {label["name"]: label for label in labels}
    shapes = []
    for frame, found in boxes.items():
        width, height = sizes[frame]
        for box in found:
            label = by_name[box.label]
            x, y, w, h = box.box
            ids = [a["id"] for a in label["attributes"] if a["name"] == LABEL_ID]
            shapes.append(
                {
                    "type": "rectangle",
                    "frame": frame,
                    "label_id": label["id"],
                    "points": [x * width, y * height, (x + w) * width, (y + h) * height],
                    "occluded": False,
                    "group": 0,
                    "source": "manual" if box.kind == "label" else "auto",
                    "attributes": [{"spec_id": i, "value": box.sent_id} for i in ids[:1]],
                }
            )
    return shapes


def with_shape_ids(
    boxes: Mapping[int, Sequence[KnownBox]], stored: Sequence[Mapping[str, Any]]
) -> dict[int, list[KnownBox]]:
    """The boxes with the ids that the server gave them.

    Found by the label id that each shape carries; where a project's labels have no such attribute,
    by frame and order.
    """
    by_id = {
        (shape["frame"], attribute["value"]): shape["id"]
        for shape in stored
        for attribute in shape["attributes"]
    }
    result = {}
    for frame, found in boxes.items():
        in_order = iter([shape["id"] for shape in stored if shape["frame"] == frame])
        guesses = [next(in_order, None) for _ in found]
        result[frame] = [
            replace(box, shape_id=by_id.get((frame, box.sent_id), guess))
            for box, guess in zip(found, guesses, strict=True)
        ]
    return result
