"""Attributes of shapes in CVAT under names and types that FiftyOne takes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import fiftyone as fo

from unseen.annotation.shapes import FoundBox

#: Attributes of a detection that an attribute in CVAT must not replace.
_TAKEN = (
    "id",
    "tags",
    "label",
    "bounding_box",
    "mask",
    "mask_path",
    "confidence",
    "index",
    "instance",
    "attributes",
)


class Attributes:
    """The attributes of a label field, and those that come to it."""

    def __init__(self, dataset: Any, label_field: str) -> None:
        self._dataset = dataset
        self._path = f"{label_field}.detections"
        self._kinds: dict[str, type | None] = {}
        self._new: dict[str, type] = {}

    def cleaned(self, box: FoundBox) -> FoundBox:
        """The box with names that FiftyOne takes, each with a type that its field has."""
        cleaned: dict[str, str | bool] = {}
        for given, value in sorted(box.attributes.items()):
            name = re.sub(r"\W+", "_", given.strip()).strip("_") or "attribute"
            kind = fo.BooleanField if isinstance(value, bool) else fo.StringField
            if name in _TAKEN or name[0].isdigit() or self._kind(name) not in (None, kind):
                name = f"cvat_{name}"
            stem, number = name, 2
            while name in cleaned:
                name, number = f"{stem}_{number}", number + 1
            if self._kind(name) is None:
                self._new[name] = kind
            cleaned[name] = value
        return replace(box, attributes=cleaned)

    def declare(self) -> None:
        """Let FiftyOne know what has come, so that it can be filtered."""
        for name, kind in sorted(self._new.items()):
            self._dataset.add_sample_field(f"{self._path}.{name}", kind)
            self._kinds[name] = kind
        self._new.clear()

    def _kind(self, name: str) -> type | None:
        """The type of the field of this name, None where there is none."""
        if self._kinds.get(name) is None:
            found = self._dataset.get_field(f"{self._path}.{name}")
            self._kinds[name] = self._new.get(name) if found is None else type(found)
        return self._kinds[name]
