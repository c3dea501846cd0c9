"""Labelling in FiftyOne's own App: its Annotate tab offers what a label schema says.

For one person with no annotation server. The tab writes straight into the label field, so there is
nothing to send and nothing to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from unseen.dataset import reading, writing
from unseen.dataset.fields import REGION_LABEL, SCOPE_LABEL
from unseen.dataset.loop import Loop
from unseen.errors import LabelError

#: From this many classes on, a drop-down list replaces the row of buttons, as FiftyOne does it.
MANY_CLASSES = 6
#: As many classes as FiftyOne's schemas take.
MOST_CLASSES = 1000


def prepare(loop: Loop, classes: Sequence[str]) -> dict[str, Any]:
    """Let the Annotate tab draw boxes of these classes into the label field.

    Unseen regions are shown to look at: they can be neither moved nor renamed (in FiftyOne 1.22 the
    delete key still removes a selected one, which scoring brings back). Schemas of other fields
    stay, and so does what the user set for this field, such as attributes; attributes that
    evaluations left on the boxes are taken out. Labels, regions and heatmap are switched on in the
    sidebar; the tab itself draws no heatmaps.

    Args:
        loop: the loop.
        classes: all that can be drawn, in the order in which they are offered.

    Returns:
        The label schema of the label field.

    Raises:
        LabelError: there are no classes, too many, one twice, or one with a reserved name.
        DatasetError: the label field holds something else than detections.
    """
    classes = list(classes)
    _check(classes)
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    writing.set_labels(loop.dataset, loop.names.label_field, {})  # makes the field
    loop.dataset.reload()
    found = loop.dataset.label_schemas.get(loop.names.label_field, {})
    schema = _boxes_of(classes, found, _evaluation_attributes(loop.dataset))
    loop.dataset.update_label_schema(loop.names.label_field, schema)
    active = [loop.names.label_field]
    if loop.dataset.get_field(loop.names.regions) is not None:
        regions = {**_boxes_of([REGION_LABEL], {}, set()), "read_only": True}
        loop.dataset.update_label_schema(loop.names.regions, regions)
        active.append(loop.names.regions)
    if loop.dataset.get_field(loop.names.scope) is not None:
        found = loop.dataset.label_schemas.get(loop.names.scope, {})
        schema = _boxes_of([SCOPE_LABEL], found, set())
        loop.dataset.update_label_schema(loop.names.scope, schema)
        active.append(loop.names.scope)
    loop.dataset.activate_label_schemas(active)
    _show(
        loop.dataset,
        [loop.names.label_field, loop.names.heatmap, loop.names.regions, loop.names.scope],
    )
    return dict(loop.dataset.label_schemas[loop.names.label_field])


def is_prepared(loop: Loop, classes: Sequence[str] | None = None) -> bool:
    """Whether boxes can be drawn into the label field; of exactly these classes, where given."""
    schema = loop.dataset.label_schemas.get(loop.names.label_field)
    if schema is None or loop.names.label_field not in loop.dataset.active_label_schemas:
        return False
    offered = schema.get("classes") or []
    if schema.get("read_only") or not offered:
        return False
    return classes is None or list(classes) == list(offered)


def _check(classes: Sequence[str]) -> None:
    if not classes or len(classes) > MOST_CLASSES:
        raise LabelError(
            f"{len(classes)} classes to annotate; expected 1 to {MOST_CLASSES}. Pass classes=, or "
            "set dataset.default_classes"
        )
    twice = sorted({c for c in classes if classes.count(c) > 1})
    if twice:
        raise LabelError(f"class {twice[0]!r} is given twice; name each class once")
    if not all(c.strip() for c in classes):
        raise LabelError("a class has an empty name; leave it out")
    reading.check_class_names(classes)


def _boxes_of(
    classes: list[str], found: dict[str, Any], not_attributes: set[str]
) -> dict[str, Any]:
    """The schema of a field of boxes; what else is set in `found` stays, unless it gets in the way."""
    schema = {k: v for k, v in found.items() if k not in ("read_only", "applied_ontology")}
    if schema.get("default") not in classes:
        schema.pop("default", None)
    attributes = schema.get("attributes") or []
    return {
        **schema,
        "type": "detections",
        "component": "radio" if len(classes) < MANY_CLASSES else "dropdown",
        "classes": classes,
        "attributes": [a for a in attributes if a["name"] not in not_attributes],
    }


def _evaluation_attributes(dataset: Any) -> set[str]:
    """What evaluations write onto each box."""
    keys = dataset.list_evaluations()
    return {f"{key}{ending}" for key in keys for ending in ("", "_id", "_iou")}


def _show(dataset: Any, paths: Sequence[str]) -> None:
    """Switch fields on in the sidebar, besides those that are on; FiftyOne hides heatmaps."""
    active = dataset.app_config.active_fields
    shown = list(active.paths or []) if active is not None and not active.exclude else []
    shown += [p for p in paths if p not in shown and dataset.get_field(p) is not None]
    dataset.app_config.active_fields = fo.ActiveFields(paths=shown)
    dataset.save()
