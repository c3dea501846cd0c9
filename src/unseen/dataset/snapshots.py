"""Labels as they were before a load, kept with the dataset, to be restored by `undo_annotations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId, json_util
from pymongo import UpdateOne

from unseen.dataset.fields import SNAPSHOT_METHOD, Names
from unseen.dataset.sendings import now
from unseen.errors import AnnotationError

#: Snapshots that are kept; older ones are dropped.
KEPT = 20


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, without the labels it holds."""

    key: str
    anno_key: str
    before: str  #: what was about to happen: "load" or "undo"
    taken_at: str
    written: list[str]  #: samples that were changed afterwards
    restored: bool  #: it was restored already


def take(dataset: Any, names: Names, anno_key: str, ids: Sequence[str], before: str) -> str:
    """Keep labels and annotation state of these samples; the key of the snapshot."""
    dataset.reload()
    taken = list_snapshots(dataset, names)
    number = 1 + max((int(s.key.rsplit("_", 1)[1]) for s in taken), default=0)
    key = names.snapshot_key(number)
    fields = (names.label_field, names.annotation, names.annotation_url, names.annotation_base)
    rows = dataset._sample_collection.find(
        {"_id": {"$in": [ObjectId(i) for i in ids]}}, dict.fromkeys(fields, 1)
    )
    config = dataset.init_run(
        method=SNAPSHOT_METHOD,
        prefix=names.prefix,
        series=names.series,
        anno_key=anno_key,
        before=before,
        taken_at=now(),
        label_field=names.label_field,
        written=[],
        restored=False,
    )
    dataset.register_run(key, config)
    # As text: FiftyOne would turn some raw values into its own types.
    results = dataset.init_run_results(key, documents=json_util.dumps(list(rows)))
    dataset.save_run_results(key, results, cache=False)
    for old in taken[: max(0, len(taken) + 1 - KEPT)]:
        dataset.delete_run(old.key)
    return key


def note_written(dataset: Any, key: str, ids: Sequence[str]) -> None:
    """Remember which samples were changed after the snapshot; only those are restored."""
    config = dataset.get_run_info(key).config
    config.written = sorted({*config.written, *ids})
    dataset.update_run_config(key, config)


def list_snapshots(dataset: Any, names: Names) -> list[Snapshot]:
    """All snapshots of this loop, oldest first."""
    found = []
    for key in dataset.list_runs(method=SNAPSHOT_METHOD):
        config = dataset.get_run_info(key).config.serialize()
        if config["prefix"] == names.prefix and config["series"] == names.series:
            facts = ("anno_key", "before", "taken_at", "written", "restored")
            found.append(Snapshot(key=key, **{name: config[name] for name in facts}))
    return sorted(found, key=lambda s: s.key)


def choose(dataset: Any, names: Names, key: str | None) -> Snapshot:
    """The snapshot as asked for, or the newest load that was not undone.

    Raises:
        AnnotationError: there is none.
    """
    found = list_snapshots(dataset, names)
    known = ", ".join(f"{s.key} (before a {s.before}, {s.taken_at})" for s in found) or "none"
    if key is not None:
        for snapshot in found:
            if snapshot.key == key:
                return snapshot
        raise AnnotationError(f"snapshot {key!r} does not exist; there are: {known}")
    for snapshot in reversed(found):
        if snapshot.before == "load" and not snapshot.restored:
            return snapshot
    raise AnnotationError(
        f"dataset {dataset.name!r} has no load of annotations to undo; snapshots: {known}"
    )


def restore(dataset: Any, names: Names, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
    """Put back labels and state of the samples that were changed after the snapshot.

    Returns:
        sample id -> (labels before the restoration, labels now), as stored.
    """
    before, ops, wanted = difference(dataset, names, snapshot)
    if ops:
        dataset._bulk_write(ops, ids=list(before))
    config = dataset.get_run_info(snapshot.key).config
    config.restored = True
    dataset.update_run_config(snapshot.key, config)
    return {i: (before[i], wanted[i]) for i in before}


def difference(
    dataset: Any, names: Names, snapshot: Snapshot
) -> tuple[dict[str, Any], list[UpdateOne], dict[str, Any]]:
    """What `restore` would change: labels now, the updates, labels in the snapshot."""
    text = dataset.load_run_results(snapshot.key, cache=False).documents
    written = set(snapshot.written)
    kept = {str(d["_id"]): d for d in json_util.loads(text) if str(d["_id"]) in written}
    rows = dataset._sample_collection.find(
        {"_id": {"$in": [ObjectId(i) for i in kept]}}, {names.label_field: 1}
    )
    current = {str(row["_id"]): row.get(names.label_field) for row in rows}
    ops = [UpdateOne({"_id": kept[i]["_id"]}, {"$set": _values(kept[i], names)}) for i in current]
    return current, ops, {i: kept[i].get(names.label_field) for i in current}


def _values(document: dict[str, Any], names: Names) -> dict[str, Any]:
    fields = (names.label_field, names.annotation, names.annotation_url, names.annotation_base)
    return {name: document.get(name) for name in fields}
