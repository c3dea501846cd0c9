"""Labels from before a load, kept with the dataset and restored by `undo_annotations`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from bson import ObjectId, json_util
from pymongo import UpdateMany, UpdateOne

from unseen.annotation.sendings import now, own_runs
from unseen.dataset.fields import SNAPSHOT_METHOD
from unseen.dataset.loop import Loop
from unseen.dataset.runs import refresh, update_run
from unseen.errors import AnnotationError

#: How many snapshots are kept; older ones are deleted.
KEPT = 20


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, without the labels it holds."""

    key: str
    anno_key: str
    before: str  #: what followed: "load" or "undo"
    taken_at: str
    written: list[str]  #: samples that were changed afterwards
    restored: bool
    label_field: str
    restores: str | None  #: before an undo: the snapshot that it restored

    @property
    def number(self) -> int:
        """Number of the snapshot in its loop, from 1."""
        return int(self.key.rsplit("_", 1)[1])


@dataclass(frozen=True)
class Difference:
    """What restoring a snapshot changes."""

    current: dict[str, Any]  #: sample id -> labels now, as stored
    wanted: dict[str, Any]  #: sample id -> labels in the snapshot
    updates: list[UpdateMany | UpdateOne]


def take(
    loop: Loop, anno_key: str, ids: Sequence[str], before: str, restores: str | None = None
) -> str:
    """Keep labels and annotation state of these samples; returns the key of the snapshot."""
    refresh(loop.dataset)
    taken = list_snapshots(loop)
    key = loop.names.snapshot_key(1 + max((s.number for s in taken), default=0))
    rows = loop.dataset._sample_collection.find(
        {"_id": {"$in": [ObjectId(i) for i in ids]}},
        dict.fromkeys([*_fields(loop), f"{loop.names.annotation_base}.{anno_key}"], 1),
    )
    config = loop.dataset.init_run(
        method=SNAPSHOT_METHOD,
        prefix=loop.names.prefix,
        series=loop.names.series,
        anno_key=anno_key,
        before=before,
        taken_at=now(),
        label_field=loop.names.label_field,
        written=[],
        restored=False,
        restores=restores,
    )
    loop.dataset.register_run(key, config)
    # As text: FiftyOne would convert some raw values into its own types.
    results = loop.dataset.init_run_results(key, documents=json_util.dumps(list(rows)))
    loop.dataset.save_run_results(key, results, cache=False)
    for old in taken[: max(0, len(taken) + 1 - KEPT)]:
        loop.dataset.delete_run(old.key)
    return key


def note_written(dataset: Any, key: str, ids: Sequence[str]) -> None:
    """Record that these samples changed after the snapshot, too; only such are restored."""
    update_run(dataset, key, {"$push": {"config.written": {"$each": list(ids)}}})


def narrow(dataset: Any, key: str, ids: Collection[str]) -> bool:
    """Record that only these samples changed; without any, delete the snapshot and return False."""
    if not ids:
        dataset.delete_run(key)
        return False
    update_run(dataset, key, {"$set": {"config.written": sorted(ids)}})
    return True


def list_snapshots(loop: Loop) -> list[Snapshot]:
    """All snapshots of this loop, oldest first."""
    facts = ("anno_key", "before", "taken_at", "restored", "label_field")
    snapshots = [
        Snapshot(
            key=key,
            written=sorted(set(config["written"])),
            restores=config.get("restores"),
            **{name: config[name] for name in facts},
        )
        for key, config in own_runs(loop, SNAPSHOT_METHOD).items()
    ]
    return sorted(snapshots, key=lambda s: s.number)


def choose(loop: Loop, key: str | None) -> Snapshot:
    """The snapshot with this key, or the one from before the newest load that was not undone.

    Raises AnnotationError if there is none, or if it holds labels of another field.
    """
    # A snapshot that nothing was written after comes from a killed load: there is nothing to undo.
    snapshots = [s for s in list_snapshots(loop) if s.written]
    known = ", ".join(f"{s.key} ({s.taken_at}, before: {s.before})" for s in snapshots) or "none"
    if key is not None:
        chosen = next((s for s in snapshots if s.key == key), None)
        if chosen is None:
            raise AnnotationError(f"snapshot {key!r} does not exist; there are: {known}")
    else:
        loads = [s for s in snapshots if s.before == "load" and not s.restored]
        if not loads:
            raise AnnotationError(
                f"dataset {loop.dataset.name!r} has no load of annotations to undo; snapshots: {known}"
            )
        chosen = loads[-1]
    if chosen.label_field != loop.names.label_field:
        raise AnnotationError(
            f"{chosen.key} holds labels of the field {chosen.label_field!r}, not of "
            f"{loop.names.label_field!r}; pass label_field={chosen.label_field!r}"
        )
    return chosen


def put_back(dataset: Any, difference: Difference) -> None:
    """Restore labels and state of the samples that changed after the snapshot."""
    if difference.updates:
        dataset._bulk_write(difference.updates, ordered=True, ids=list(difference.current))


def note_restored(loop: Loop, snapshot: Snapshot) -> None:
    """Record it: last, so that a killed undo can be run again.

    What was restored before an undo that is now undone itself is in force again.
    """
    others = {s.key: s for s in list_snapshots(loop)}
    at: Snapshot | None = snapshot
    restored = True
    while at is not None:
        update_run(loop.dataset, at.key, {"$set": {"config.restored": restored}})
        at, restored = others.get(at.restores or ""), not restored
    refresh(loop.dataset)  # FiftyOne's copies of the records


def difference(loop: Loop, snapshot: Snapshot) -> Difference:
    """What `restore` would change, without samples that were deleted since."""
    labels, base = loop.names.label_field, loop.names.annotation_base
    text = loop.dataset.load_run_results(snapshot.key, cache=False).documents
    written = set(snapshot.written)
    kept = {str(d["_id"]): d for d in json_util.loads(text) if str(d["_id"]) in written}
    query = {"_id": {"$in": [ObjectId(i) for i in kept]}}
    rows = loop.dataset._sample_collection.find(query, {labels: 1})
    current = {str(row["_id"]): row.get(labels) for row in rows}
    updates: list[UpdateMany | UpdateOne] = []
    if current:  # a field that is null cannot take a path below it
        empty = {"_id": {"$in": [ObjectId(i) for i in current]}, base: None}
        updates.append(UpdateMany(empty, {"$set": {base: {}}}))
    path = f"{base}.{snapshot.anno_key}"  # what other annotation runs know of an image stays
    fields = _fields(loop)
    for i in current:
        values = {name: kept[i].get(name) for name in fields}
        values["last_modified_at"] = datetime.now(timezone.utc)
        update = {"$set": values}
        known = (kept[i].get(base) or {}).get(snapshot.anno_key)
        if known is None:
            update["$unset"] = {path: ""}
        else:
            values[path] = known
        updates.append(UpdateOne({"_id": ObjectId(i)}, update))
    return Difference(current, {i: kept[i].get(labels) for i in current}, updates)


def _fields(loop: Loop) -> list[str]:
    fields = [loop.names.label_field, loop.names.annotation, loop.names.annotation_url]
    # Labels and the part of the image in which they are complete belong together.
    return fields + [loop.names.scope] * (loop.dataset.get_field(loop.names.scope) is not None)
