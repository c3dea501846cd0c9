"""Results -> sample fields, in bulk.

Scores are written as raw documents in one update per sample: setting ten fields one by one through
`set_values` takes ten passes, and building FiftyOne's label objects costs more than the database
(a test compares what is read back with what FiftyOne itself would have stored).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import fiftyone as fo
import numpy as np
from bson import ObjectId
from pymongo import UpdateMany, UpdateOne

from unseen.arrays.packed import packed
from unseen.dataset import appearance, indexes, locks
from unseen.dataset.fields import (
    DETAILS_GROUP,
    EARLIER_GROUP,
    REGION_LABEL,
    SIDEBAR_GROUP,
    SIDEBAR_GROUPS,
)
from unseen.dataset.loop import Loop
from unseen.dataset.runs import refresh
from unseen.dataset.setup import names_of
from unseen.errors import DatasetError

#: What an evaluation writes on every sample.
_COUNTS = ("tp", "fp", "fn")
#: Where FiftyOne (1.22) puts fields by itself.
_FIFTYONES_GROUPS = ("tags", "metadata", "labels", "frame labels", "primitives", "other")
#: A query may have 16 MB.
IDS_AT_ONCE = 50_000
#: Key in a field's `info` that marks it as made by this package; its value is the prefix.
MARK = "unseen_prefix"


def declare_score_fields(loop: Loop) -> None:
    """Add the fields of `score_samples` with their types, indexes and place in the sidebar."""
    names = loop.names
    if loop.dataset.get_field(names.heatmap) is None and not names.series:
        # Baselines stay in the background.
        appearance.show(loop, names.label_field, names.regions, names.heatmap)
    for name, kind, text in (
        (names.excess, fo.FloatField, "Score above the pool's threshold, summed over the image"),
        (names.alpha, fo.FloatField, "M_alpha: scores at power alpha, summed over the image"),
        (names.threshold, fo.FloatField, "M_thresh: pixels with a score above the threshold"),
        (names.region_strength, fo.FloatField, "Regions by their strength, none by its size"),
        (names.entropy, fo.FloatField, "Entropy of the UNet's output, summed over the image"),
        (names.foreground, fo.FloatField, "Predicted foreground area in pixels"),
        (names.heatmap, fo.Heatmap, "Unseen score per pixel, scaled to the pool"),
        (names.regions, fo.Detections, "Unseen regions, strongest first"),
        (names.expected_counts, fo.ListField, "Expected examples per class, unseen last"),
        (names.embedding, fo.VectorField, "Features where the image is unseen"),
        (names.model, fo.StringField, "Checkpoint that scored this sample"),
    ):
        declare(loop, name, kind, text)
    indexes.ensure(loop)
    group_fields(loop)


def save_scores(loop: Loop, scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the scores of many samples in one bulk operation.

    `scores` maps sample ids to plain values: the numbers by metric name, `mean_score` (the regions
    carry it, so that a run that continues another can sum up both), `model` (text),
    `expected_counts` (list), `embedding` (D,) float32, `heatmap` (h, w) uint8 or None (both also
    `packed`), and
    `regions`, a list of (relative x, y, w, h, score).
    """
    names = loop.names
    numbers = ("alpha", "threshold", "excess", "entropy", "foreground")
    values = {}
    for sample_id, s in scores.items():
        values[sample_id] = {
            **{names.metric(metric): float(s[metric]) for metric in numbers},
            names.region_strength: s.get("region_strength"),
            names.model: s["model"],
            names.expected_counts: [float(v) for v in s["expected_counts"]],
            names.embedding: _packed(s["embedding"], np.float32),
            names.regions: detections((REGION_LABEL, r[:4], r[4]) for r in s["regions"])
            | {k: s[k] for k in ("mean_score",) if k in s},
            names.heatmap: None if s["heatmap"] is None else heatmap(s["heatmap"]),
        }
    set_raw(loop.dataset, values)


def save_detections(
    dataset: Any, field: str, boxes: Mapping[str, Sequence[tuple[str, Sequence[float], float]]]
) -> None:
    """Write predictions: sample id -> list of (label, relative [x, y, w, h], confidence)."""
    set_raw(dataset, {i: {field: detections(of_image)} for i, of_image in boxes.items()})


def set_raw(dataset: Any, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Set stored values (sample id -> path -> value) in one bulk operation."""
    locks.check(dataset)
    now = {"last_modified_at": datetime.now(timezone.utc)}
    ops = [UpdateOne({"_id": ObjectId(i)}, {"$set": {**v, **now}}) for i, v in values.items()]
    if ops:
        dataset._bulk_write(ops, ids=list(values))


def label(kind: str, **content: Any) -> dict[str, Any]:
    """A label as FiftyOne stores it."""
    return {"_id": ObjectId(), "_cls": kind, "tags": [], **content}


def detections(boxes: Iterable[tuple[str, Sequence[float], float | None]]) -> dict[str, Any]:
    """(class, relative [x, y, w, h], confidence or None) as FiftyOne stores detections."""
    documents = []
    for name, box, confidence in boxes:
        xywh = [float(v) for v in box]
        document = label("Detection", attributes={}, label=name, bounding_box=xywh)
        if confidence is not None:
            document["confidence"] = float(confidence)
        documents.append(document)
    return {"_cls": "Detections", "detections": documents}


def heatmap(pixels: np.ndarray | bytes) -> dict[str, Any]:
    """(h, w) uint8 as FiftyOne stores a heatmap."""
    return label("Heatmap", map=_packed(pixels, np.uint8), range=[0.0, 255.0])


def _packed(values: np.ndarray | bytes, dtype: type) -> bytes:
    return values if isinstance(values, bytes) else packed(np.ascontiguousarray(values, dtype))


def mark_batch(
    loop: Loop, tag: str, values: Mapping[str, Mapping[str, Any]], earlier: Iterable[str]
) -> None:
    """Tag exactly these samples and set their values, in one operation.

    What an earlier choice left goes: from every sample with the tag, and from the ids `earlier`.
    """
    left = {"$or": [indexes.tagged(tag), {"_id": {"$in": [ObjectId(i) for i in earlier]}}]}
    nothing = {path: None for of_sample in values.values() for path in of_sample}
    now = {"last_modified_at": datetime.now(timezone.utc)}
    ops = [UpdateMany(left, {"$set": {**nothing, **now}, "$pull": {"tags": tag}})] + [
        UpdateOne({"_id": ObjectId(i)}, {"$set": {**v, **now}, "$addToSet": {"tags": tag}})
        for i, v in values.items()
    ]
    loop.dataset._bulk_write(ops, ordered=True)


def set_tag(dataset: Any, ids: Sequence[str], tag: str) -> None:
    """Tag exactly these samples; all others lose the tag."""
    now = {"last_modified_at": datetime.now(timezone.utc)}
    ops = [UpdateMany(indexes.tagged(tag), {"$set": now, "$pull": {"tags": tag}})]
    for start in range(0, len(ids), IDS_AT_ONCE):
        part = {"_id": {"$in": [ObjectId(i) for i in ids[start : start + IDS_AT_ONCE]]}}
        ops.append(UpdateMany(part, {"$set": now, "$addToSet": {"tags": tag}}))
    dataset._bulk_write(ops, ordered=True)


def own_fields(loop: Loop) -> list[str]:
    """The fields that bear the mark of this package in the schema."""
    return [
        name
        for name, field in loop.dataset.get_field_schema().items()
        if (field.info or {}).get(MARK) == loop.names.prefix
    ]


def own_evaluations(loop: Loop) -> list[str]:
    """The evaluations of predictions that this package made."""
    ours = set(own_fields(loop))
    infos = map(loop.dataset.get_evaluation_info, loop.dataset.list_evaluations())
    return [info.key for info in infos if getattr(info.config, "pred_field", None) in ours]


def own_views(loop: Loop) -> list[str]:
    """The saved views that this package made."""
    infos = map(loop.dataset.get_saved_view_info, loop.dataset.list_saved_views())
    mark = f"[{loop.names.prefix}]"
    return [info["name"] for info in infos if (info["description"] or "").startswith(mark)]


def check_own_view(loop: Loop, name: str) -> None:
    """Raise `DatasetError` if somebody else saved a view of that name."""
    if loop.dataset.has_saved_view(name) and name not in own_views(loop):
        raise DatasetError(
            f"the saved view {name!r} of dataset {loop.dataset.name!r} was not made by this package; "
            "rename it, or pass another series="
        )


def save_own_view(loop: Loop, name: str, view: Any, description: str) -> None:
    """Save a view with the mark of this package."""
    text = f"[{loop.names.prefix}] {description}"
    loop.dataset.save_view(name, view, description=text, overwrite=True)


def group_fields(loop: Loop) -> None:
    """Put what this package wrote into sidebar groups: what people look at, the rest collapsed.

    Where somebody has moved a field, it stays.
    """
    dataset = loop.dataset
    before = _described(dataset)
    if before and _described(dataset, _grouped(loop)) == before:
        return
    refresh(dataset)  # the App may have arranged groups since
    dataset.app_config.sidebar_groups = _grouped(loop)
    dataset.save()


def renew_look(dataset: Any) -> None:
    """Colours and sidebar groups as this version sets them, for what an earlier one has made."""
    loop = Loop(dataset, names_of(dataset))
    if own_fields(loop):
        appearance.set_colours(loop)
        group_fields(loop)


def _described(dataset: Any, groups: Any = None) -> list[tuple[str, list[str]]]:
    groups = groups or dataset.app_config.sidebar_groups or []
    return [(group.name, list(group.paths)) for group in groups]


def _grouped(loop: Loop) -> list[Any]:
    """The sidebar groups as they should be."""
    dataset, evaluations = loop.dataset, own_evaluations(loop)
    groups = copy.deepcopy(dataset.app_config.sidebar_groups)
    if groups is None:
        groups = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    own = {group.name: group for group in groups if group.name in SIDEBAR_GROUPS}
    kept = [group for group in groups if group.name not in (*own, *evaluations)]
    wanted = _wanted(loop, evaluations)
    # Earlier versions had no details: before there are some, nobody has moved anything on purpose.
    if DETAILS_GROUP in own:
        elsewhere = {path for group in kept for path in group.paths}
        before = {name: list(group.paths) for name, group in own.items()}
        wanted = _arranged(before, wanted, elsewhere)
    else:
        ours = {path for paths in wanted.values() for path in paths}
        for group in kept:
            if group.name in _FIFTYONES_GROUPS:
                group.paths = [path for path in group.paths if path.split(".")[0] not in ours]
    position = next((i + 1 for i, g in enumerate(kept) if g.name == "labels"), len(kept))
    for name in reversed(SIDEBAR_GROUPS):
        if wanted[name] or name != EARLIER_GROUP:
            group = own.get(name) or fo.SidebarGroupDocument(
                name=name, expanded=None if name == SIDEBAR_GROUP else False
            )
            group.paths = wanted[name]
            kept.insert(position, group)
    return kept


def _wanted(loop: Loop, evaluations: Sequence[str]) -> dict[str, list[str]]:
    """Our fields by group, as long as nobody moves any."""
    names = replace(loop.names, series="")  # whichever loop has just written
    marked, counts = set(own_fields(loop)), tuple(f"{key}_" for key in evaluations)
    ours = [p for p in loop.dataset.get_field_schema() if p in marked or p.startswith(counts)]
    numbers = [n for key in evaluations if (n := names.eval_number(key)) is not None]
    newest = max(numbers, default=-1)
    predicted = {loop.dataset.get_evaluation_info(key).config.pred_field for key in evaluations}
    of_newest = (names.predictions(newest), *(f"{names.eval_key(newest)}_{k}" for k in _COUNTS))
    earlier = [p for p in ours if (p in predicted or p.startswith(counts)) and p not in of_newest]
    # 1.22 draws in this order, the first on top: boxes and lines would be lost below a heatmap.
    looked_at = (
        *(names.regions, names.similar, names.scope, names.structure),
        *(names.auto_labels, *of_newest[:1], names.heatmap),
        *(names.rank, names.chosen_by, names.excess, names.annotation),
    )
    shown = [p for p in looked_at if p in ours]
    details = [p for p in ours if p not in (*shown, *earlier)]
    return {SIDEBAR_GROUP: shown, DETAILS_GROUP: details, EARLIER_GROUP: earlier}


def _arranged(
    before: Mapping[str, list[str]], wanted: Mapping[str, list[str]], elsewhere: Collection[str]
) -> dict[str, list[str]]:
    """`wanted`, but fields that are in a group stay where they are, in their order."""
    arranged = {name: list(before.get(name, ())) for name in wanted}
    known = {path: name for name, paths in before.items() for path in paths}
    for name, paths in wanted.items():
        for path in paths:
            # Iterations become earlier ones by themselves.
            if known.get(path, name) != name and EARLIER_GROUP in (name, known[path]):
                arranged[known.pop(path)].remove(path)
            if path in known or path in elsewhere:
                continue
            later = paths[paths.index(path) :]
            there = arranged[name]
            there.insert(next((i for i, p in enumerate(there) if p in later), len(there)), path)
    present = {path for paths in wanted.values() for path in paths}
    return {name: [p for p in paths if p in present] for name, paths in arranged.items()}


def ungroup_fields(dataset: Any) -> None:
    """Remove the sidebar groups; if nothing else was arranged, FiftyOne's default returns."""
    refresh(dataset)
    groups = dataset.app_config.sidebar_groups
    if not groups:
        return
    kept = [g for g in groups if g.name not in SIDEBAR_GROUPS]
    default = fo.DatasetAppConfig.default_sidebar_groups(dataset)
    is_default = _described(dataset, kept) == _described(dataset, default)
    dataset.app_config.sidebar_groups = None if is_default else kept
    dataset.save()


def declare(loop: Loop, name: str, ftype: type, description: str, **kwargs: Any) -> None:
    """Add a field of a type or label with our mark; an existing field of ours stays as it is.

    Raises `DatasetError` if a field of that name is not ours.
    """
    existing = loop.dataset.get_field(name)
    if issubclass(ftype, fo.Label):
        ftype, kwargs = fo.EmbeddedDocumentField, {"embedded_doc_type": ftype}
    elif ftype is fo.ListField:
        kwargs = {"subfield": fo.FloatField}
    if existing is None:
        loop.dataset.add_sample_field(
            name, ftype, description=description, info={MARK: loop.names.prefix}, **kwargs
        )
    elif (existing.info or {}).get(MARK) != loop.names.prefix:
        raise DatasetError(
            f"field {name!r} exists in dataset {loop.dataset.name!r} and was not made by this package; "
            "rename it, or pass another prefix= or series="
        )


def declare_detections(loop: Loop, name: str, description: str) -> None:
    """Add a field of detections, in the colour of predictions."""
    if loop.dataset.get_field(name) is None and not loop.names.series:
        appearance.set_colours(loop, name)
    declare(loop, name, fo.Detections, description)


def set_labels(dataset: Any, field: str, labels: Mapping[str, Any]) -> None:
    """Write labels (fo.Detections by sample id) into the user's own label field."""
    if dataset.get_field(field) is None:
        dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    if labels:
        dataset.set_values(field, dict(labels), key_field="id")


def delete_fields(dataset: Any, fields: Sequence[str]) -> None:
    """Remove fields together with their indexes."""
    for index in [i for i in dataset.list_indexes() if i.split(".")[0] in fields]:
        dataset.drop_index(index)
    if fields:
        dataset.delete_sample_fields(list(fields))
