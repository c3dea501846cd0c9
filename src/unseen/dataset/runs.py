"""FiftyOne's custom runs as plain documents: read, written and deleted as the database holds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo

# MongoDB gives "." and a leading "$" in keys a meaning, and class names may hold both. A class that
# has the full-width characters themselves gets an escape character before them.
_ENCODED = str.maketrans(
    {".": "\uff0e", "$": "\uff04", **{c: f"\uff3c{c}" for c in "\uff0e\uff04\uff3c"}}
)
_DECODED = re.compile("\uff3c([\uff0e\uff04\uff3c])|\uff0e|\uff04")

#: Where a dataset names its runs.
_RUNS = ("runs", "evaluations", "brain_methods", "annotation_runs")


def refresh(dataset: Any) -> None:
    """Read the dataset's description anew: fields, runs, views, class lists.

    Its own `reload()` also reads every sample held in memory: minutes, where a notebook holds many.
    """
    dataset._reload(hard=True)
    # 1.22: this makes a new class of samples. Those in memory get it too, else they lack new fields.
    for sample in list(fo.Sample._instances[dataset._sample_collection_name].values()):
        sample._doc.__class__ = dataset._sample_doc_cls


def stored_runs(
    dataset: Any, *, without: Sequence[str] = (), **wanted: Any
) -> list[tuple[str, dict[str, Any]]]:
    """Key and config of the dataset's runs, oldest first, as the database holds them now.

    FiftyOne keeps its own copy in memory, which misses what another process has written since. Runs
    that the dataset does not name do not count: a killed process left them. `wanted` are further
    conditions of the query; the paths in `without` are left out.
    """
    database = foo.get_db_conn()
    held = database.datasets.find_one({"_id": dataset._doc.id}, dict.fromkeys(_RUNS, 1)) or {}
    named = [run for kind in _RUNS for run in (held.get(kind) or {}).values()]
    query = {"_dataset_id": dataset._doc.id, "_id": {"$in": named}, **wanted}
    projection = dict.fromkeys(without, 0) if without else {"key": 1, "config": 1}
    runs = database.runs.find(query, projection).sort("_id")
    return [(run["key"], run.get("config") or {}) for run in runs]


def save_run(dataset: Any, key: str, method: str, **facts: Any) -> None:
    """Write a custom run, new or not; FiftyOne's own calls do one of both.

    It stores a new run before the dataset names it; a run that was killed in between left one that
    nothing names.
    """
    config = dataset.init_run(method=method, **facts)
    if not dataset.has_run(key):
        refresh(dataset)  # another process may have written it since the step began
    if dataset.has_run(key):
        dataset.update_run_config(key, config)
    else:
        unnamed = {"_dataset_id": dataset._doc.id, "key": key, "config.type": "run"}
        foo.get_db_conn().runs.delete_many(unnamed)
        dataset.register_run(key, config)


def update_run(dataset: Any, key: str, update: Mapping[str, Any]) -> None:
    """Change parts of a stored run with a MongoDB update, however long the rest of it is.

    FiftyOne's copy in memory does not know of it before `refresh`.
    """
    foo.get_db_conn().runs.update_one({"_dataset_id": dataset._doc.id, "key": key}, update)


def delete_unnamed_runs(dataset: Any) -> None:
    """Delete stored runs that the dataset does not name: a killed process left them."""
    named = [*dataset._doc.runs.values()]
    ids = [getattr(run, "id", run) for run in named]
    wanted = {"_dataset_id": dataset._doc.id, "_id": {"$nin": ids}, "config.type": "run"}
    foo.get_db_conn().runs.delete_many(wanted)


def files_named_elsewhere(dataset: Any, paths: Sequence[str]) -> set[str]:
    """Which of these checkpoints the records of other datasets name: a clone still works with them."""
    lists = [f"config.steps.{step}.checkpoints" for step in ("train_unet", "train_detector")]
    query = {
        "_dataset_id": {"$ne": dataset._doc.id},
        "$or": [{path: {"$in": list(paths)}} for path in lists],
    }
    runs = foo.get_db_conn().runs.find(query, dict.fromkeys(lists, 1))
    steps = [step for run in runs for step in run["config"]["steps"].values()]
    return {path for step in steps for path in step["checkpoints"]}.intersection(paths)


def encode(value: Any) -> Any:
    """JSON data with keys that MongoDB keeps as they are."""
    return _with_keys(value, lambda key: key.translate(_ENCODED))


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    plain = {"\uff0e": ".", "\uff04": "$"}
    return _with_keys(value, lambda key: _DECODED.sub(lambda m: m[1] or plain[m[0]], key))


def _with_keys(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {change(str(k)): _with_keys(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_keys(v, change) for v in value]
    return value
