"""Labelling in the Annotate tab of FiftyOne's App, which offers what a label schema says.

This is for one person without an annotation server. The tab writes straight into the label field,
so there is nothing to send and nothing to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from unseen.dataset import reading, writing
from unseen.dataset.fields import REGION_LABEL, SCOPE_LABEL
from unseen.dataset.loop import Loop
from unseen.dataset.runs import refresh
from unseen.errors import LabelError

#: From this many classes on, FiftyOne shows a drop-down list instead of a row of buttons.
MANY_CLASSES = 6
#: FiftyOne's limit.
MOST_CLASSES = 1000


def prepare(loop: Loop, classes: Sequence[str]) -> dict[str, Any]:
    """Let the Annotate tab draw boxes of these classes into the label field; returns its schema.

    Unseen regions are read-only (the delete key of FiftyOne 1.22 still removes a selected one;
    scoring brings it back). Other schemas and the user's own attributes of this field stay;
    attributes that evaluations left on the boxes are removed. Labels, regions and heatmap are
    switched on in the sidebar; the tab itself draws no heatmaps.

    Raises LabelError for no classes, too many, a duplicate or a reserved name, and DatasetError if
    the label field holds something else than detections.
    """
    dataset, names = loop.dataset, loop.names
    classes = list(classes)
    _check(classes)
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    writing.set_labels(dataset, names.label_field, {})  # makes the field
    refresh(dataset)
    schemas = dict(dataset.label_schemas)
    wanted = {
        names.label_field: _boxes_of(
            classes, schemas.get(names.label_field, {}), _evaluation_attributes(dataset)
        ),
        names.regions: {**_boxes_of([REGION_LABEL], {}, set()), "read_only": True},
        names.scope: _boxes_of([SCOPE_LABEL], schemas.get(names.scope, {}), set()),
    }
    there = [field for field in wanted if dataset.get_field(field) is not None]
    for field in there:
        dataset.update_label_schema(field, wanted[field])
    dataset.activate_label_schemas(there)
    _show(dataset, [names.label_field, names.heatmap, names.regions, names.scope])
    return dict(dataset.label_schemas[names.label_field])


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
    classes: list[str], earlier: dict[str, Any], not_attributes: set[str]
) -> dict[str, Any]:
    """The schema of a field of boxes; other settings of the earlier schema stay where possible."""
    schema = {k: v for k, v in earlier.items() if k not in ("read_only", "applied_ontology")}
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
    """The attributes that evaluations write onto each box."""
    keys = dataset.list_evaluations()
    return {f"{key}{ending}" for key in keys for ending in ("", "_id", "_iou")}


def _show(dataset: Any, paths: Sequence[str]) -> None:
    """Switch further fields on in the sidebar; FiftyOne hides heatmaps."""
    active = dataset.app_config.active_fields
    shown = list(active.paths or []) if active is not None and not active.exclude else []
    shown += [p for p in paths if p not in shown and dataset.get_field(p) is not None]
    dataset.app_config.active_fields = fo.ActiveFields(paths=shown)
    dataset.save()
