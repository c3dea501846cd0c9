"""Rename classes where boxes have them; what is unlabelled stays so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from pymongo import UpdateMany

from unseen.annotation import sendings
from unseen.dataset import reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ConfigError, LabelError
from unseen.progress import Progress
from unseen.steps.rename_classes import RenameConfig, RenameResult
from unseen.steps.step import step


@step(RenameConfig)
def rename_classes(loop: Loop, config: RenameConfig, progress: Progress) -> RenameResult:
    """Rename classes in the label field, this loop's predictions and the class lists, at once.

    Renames happen together, so that two classes can change names. Only boxes are touched: FiftyOne's
    `map_labels().save()` also turns missing labels into empty ones. Models, evaluations and records
    of earlier iterations keep the names that they were made with.
    """
    dataset, field = loop.dataset, loop.names.label_field
    names = {old: new for old, new in config.names.items() if old != new}
    reading.check_label_field(dataset, field)
    if not names:
        raise ConfigError(
            f"rename={list(config.rename)} renames nothing; expected OLD=NEW, such as 'Scratch=scratch'"
        )
    reading.check_class_names(list(names.values()))
    counts = loop.label_counts()
    known = list(dict.fromkeys([*loop.listed_classes(), *sorted(filter(None, counts))]))
    if unknown := [old for old in names if old not in known]:
        raise LabelError(
            f"there is no class {', '.join(map(repr, unknown))} in {field!r} or its class list; "
            f"there are {', '.join(map(repr, known)) or 'none'}"
        )
    runs = sendings.read_sendings(loop)
    if out := [s.anno_key for s in runs if not s.closed and set(names) & set(s.classes)]:
        raise AnnotationError(
            f"{', '.join(out)} is with the annotators under the old names, and would bring them "
            "back; load it first with load_annotations"
        )
    boxes = [f for f in reading.detection_fields(dataset) if f in writing.own_fields(loop)]
    changed = {f: ids for f in [field, *boxes] if (ids := _ids_with(dataset, f, list(names)))}
    result = RenameResult(
        dataset=dataset.name,
        renamed={old: counts.get(old, 0) for old in names},
        images=len(changed.get(field, ())),
        fields=list(changed),
        classes=_renamed(known, names),
        dry_run=config.dry_run,
        notes=["Train again: models and evaluations so far have the old names."]
        if loop.newest_with("train_unet") is not None
        else [],
    )
    if not config.dry_run:
        for sending in runs:
            sending.classes = _renamed(sending.classes, names)
            if listed := sending.parameters.get("classes"):
                sending.parameters["classes"] = _renamed(listed, names)
            for shown in (shown for task in sending.tasks for shown in task.repeats.values()):
                if drawn := shown.get("boxes"):
                    shown["boxes"] = [[names.get(label, label), *box] for label, *box in drawn]
            sendings.write_sending(loop, sending)
        # The labels, then the class list, last: a run that is killed still knows the old names.
        for number, (name, ids) in enumerate(reversed(changed.items())):
            _rename_boxes(dataset, name, ids, names)
            progress(number + 1, len(changed), "rename classes")
        _rename_lists(loop, names)
    return result


def _ids_with(dataset: Any, field: str, labels: list[str]) -> list[str]:
    query = {f"{field}.detections.label": {"$in": labels}}
    return [str(row["_id"]) for row in dataset._sample_collection.find(query, {"_id": 1})]


def _rename_boxes(dataset: Any, field: str, ids: Sequence[str], names: Mapping[str, str]) -> None:
    """All names in one update per sample, so that a run that is killed can be repeated."""
    new = {f"{field}.detections.$[box{i}].label": new for i, new in enumerate(names.values())}
    update = {"$set": {**new, "last_modified_at": datetime.now(timezone.utc)}}
    filters = [{f"box{i}.label": old} for i, old in enumerate(names)]
    # A path into a list that is not there is an error, hence the condition.
    match = {f"{field}.detections.label": {"$in": list(names)}}
    dataset._bulk_write([UpdateMany(match, update, array_filters=filters)], ids=list(ids))


def _rename_lists(loop: Loop, names: Mapping[str, str]) -> None:
    dataset, field = loop.dataset, loop.names.label_field
    if kept := dataset.classes.get(field):
        dataset.classes = {**dataset.classes, field: _renamed(kept, names)}
    elif dataset.default_classes:
        dataset.default_classes = _renamed(dataset.default_classes, names)
    dataset.save()


def _renamed(classes: Sequence[str], names: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(names.get(name, name) for name in classes))
