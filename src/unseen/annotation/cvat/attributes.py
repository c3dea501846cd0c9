"""Attributes of shapes, under names and types that FiftyOne takes."""

from __future__ import annotations

import re
from dataclasses import replace

import fiftyone as fo

from unseen.annotation.shapes import ServerBox
from unseen.dataset.loop import Loop

#: Attributes of a detection that an attribute in CVAT must not replace.
_TAKEN = (*fo.Detection().field_names, "instance")


class Attributes:
    """The attributes of one label field."""

    def __init__(self, loop: Loop) -> None:
        self._dataset = loop.dataset
        self._path = f"{loop.names.label_field}.detections"
        self._kinds: dict[str, type | None] = {}
        self._new: dict[str, type] = {}

    def cleaned(self, box: ServerBox) -> ServerBox:
        """The box with attribute names that FiftyOne takes, each of its field's type."""
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
        """Declare new attributes, so that they can be filtered in FiftyOne."""
        for name, kind in sorted(self._new.items()):
            self._dataset.add_sample_field(f"{self._path}.{name}", kind)
            self._kinds[name] = kind
        self._new.clear()

    def _kind(self, name: str) -> type | None:
        """The type of the field of this name, or None."""
        if self._kinds.get(name) is None:
            declared = self._dataset.get_field(f"{self._path}.{name}")
            self._kinds[name] = self._new.get(name) if declared is None else type(declared)
        return self._kinds[name]
