"""Everything a dataset is, in the database and on disk: to put back, and to compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

#: What differs between two runs that did the same.
_OWN = {
    *("_id", "id", "at", "since", "started", "seconds", "timestamp", "version", "token", "uuid"),
    *("_uuid", "created_at", "last_modified_at", "last_loaded_at", "updated_at", "started_at"),
    *("taken_at", "sent_at", "loaded_at", "closed_at", "finished_at", "_dataset_id"),
}


class World:
    """The whole test database and a folder with all files that steps write."""

    def __init__(self, folder: Path) -> None:
        import fiftyone.core.odm as foo

        self._database, self._folder = foo.get_db_conn(), folder
        self._collections, self._indexes = {}, {}
        for name in self._database.list_collection_names():
            self._collections[name] = list(self._database[name].find())
            self._indexes[name] = self._database[name].index_information()
        self._files = {
            p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()
        }

    def put_back(self) -> None:
        """Make database and folder what they were, for a process that has just begun."""
        for name in {*self._database.list_collection_names(), *self._collections}:
            collection, documents = self._database[name], self._collections.get(name)
            if documents is None or collection.index_information() != self._indexes[name]:
                collection.drop()
                for index, about in self._indexes.get(name, {}).items():
                    if index != "_id_":
                        about = {k: v for k, v in about.items() if k not in ("v", "ns")}
                        collection.create_index(about.pop("key"), name=index, **about)
            collection.delete_many({})
            if documents:
                collection.insert_many(documents)
        shutil.rmtree(self._folder, ignore_errors=True)
        for path, data in self._files.items():
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / path).write_bytes(data)
        new_process()


def new_process() -> None:
    """Forget what FiftyOne holds in memory; the lock of a killed run has expired."""
    import fiftyone as fo
    import fiftyone.core.odm as foo

    fo.Dataset._instances.clear()
    fo.Sample._instances.clear()
    foo.get_db_conn()["unseen.locks"].delete_many({})


def state(name: str, folder: Path) -> dict:
    """What a person could see of a dataset, without ids and moments, in a fixed order."""
    import fiftyone as fo
    import fiftyone.core.odm as foo

    database = foo.get_db_conn()
    document = database.datasets.find_one({"name": name})
    samples = database[document["sample_collection_name"]]
    about = {k: v for k, v in document.items() if k not in _REFERENCES}
    about["sample_fields"] = {f["name"]: f for f in document["sample_fields"]}
    groups = (document.get("app_config") or {}).get("sidebar_groups") or []
    about["app_config"] = {
        **(document.get("app_config") or {}),
        "sidebar_groups": {g["name"]: sorted(g.get("paths") or []) for g in groups},
    }
    found = {
        "dataset": about,
        "samples": {
            str(s["_id"]): {**s, "tags": sorted(s.get("tags") or [])} for s in samples.find()
        },
        "indexes": sorted(samples.index_information()),
        "views": {v["name"]: v for v in _referenced(database.views, document, "saved_views")},
        "workspaces": sorted(
            w["name"] for w in _referenced(database.workspaces, document, "workspaces")
        ),
        "files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()),
        "datasets": fo.list_datasets(),
    }
    for kind in _RUNS:
        runs = {r["key"]: r for r in _referenced(database.runs, document, kind)}
        found[kind] = {k: {**r, "results": r.get("results") is not None} for k, r in runs.items()}
    return json.loads(json.dumps(_plain(found), sort_keys=True, default=str))


#: Fields of a dataset's document that name other documents.
_RUNS = ("runs", "evaluations", "brain_methods", "annotation_runs")
_REFERENCES = ("saved_views", "workspaces", *_RUNS)


def _referenced(collection, document, field):
    named = document.get(field) or []
    ids = [getattr(i, "id", i) for i in (named.values() if isinstance(named, dict) else named)]
    return list(collection.find({"_id": {"$in": ids}}))


def _plain(value):
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if k not in _OWN}
    if isinstance(value, list):
        # A view of patches names its temporary dataset.
        return [_plain(v) for v in value if not (isinstance(v, list) and v[:1] == ["_state"])]
    if isinstance(value, str) and value.startswith('{"_cls"'):  # a stage of a view
        return _plain(json.loads(value))
    return value


def differences(one, other, path="") -> list[str]:
    """Where two states differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in sorted({*one, *other})
            for line in differences(
                one.get(key, "(none)"), other.get(key, "(none)"), f"{path}/{key}"
            )
        ]
    return [] if one == other else [f"{path}: {str(one)[:150]} != {str(other)[:150]}"]
