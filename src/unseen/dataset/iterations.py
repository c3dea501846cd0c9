"""The record of each iteration: one FiftyOne custom run per iteration and series.

A record holds what was labelled, with which parameters, seeds and versions each step ran, the
digests of its checkpoints, how long it took and what was measured. Records are written last, so
that a step that was killed leaves none.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from unseen.dataset import reading
from unseen.dataset.fields import ITERATION_METHOD
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError

#: Packages whose version can change a result.
_PACKAGES = ("unseen", "fiftyone", "torch", "torchvision", "numpy", "scipy")


def batches(loop: Loop) -> dict[int, str]:
    """Iteration -> batch tag, ascending."""
    found = {}
    for tag in loop.dataset.distinct("tags"):
        number = loop.names.batch_number(tag)
        if number is not None:
            found[number] = tag
    return dict(sorted(found.items()))


def current_iteration(loop: Loop) -> int:
    """The newest iteration that has labels: 0, or the highest batch with a labelled sample."""
    if loop.dataset.get_field(loop.names.label_field) is None:
        return 0
    for number, tag in sorted(batches(loop).items(), reverse=True):
        if len(loop.dataset.match_tags(tag).exists(loop.names.label_field).limit(1)):
            return number
    return 0


def open_batch(loop: Loop) -> int | None:
    """The newest batch if none of it is labelled yet."""
    found = batches(loop)
    if not found:
        return None
    newest = max(found)
    return newest if newest > current_iteration(loop) else None


def read_record(loop: Loop, iteration: int) -> dict[str, Any] | None:
    """The record of an iteration, or None."""
    key = loop.names.run_key(iteration)
    if not loop.dataset.has_run(key):
        return None
    config = loop.dataset.get_run_info(key).config.serialize()
    record: dict[str, Any] = decode(
        {k: v for k, v in config.items() if k not in ("cls", "type", "method")}
    )
    return record


def read_records(loop: Loop) -> dict[int, dict[str, Any]]:
    """Iteration -> record, ascending, of one series."""
    found = {}
    for key in loop.dataset.list_runs(method=ITERATION_METHOD):
        config = loop.dataset.get_run_info(key).config.serialize()
        if config.get("series") == loop.names.series and config.get("prefix") == loop.names.prefix:
            number = int(config["iteration"])
            found[number] = decode(
                {k: v for k, v in config.items() if k not in ("cls", "type", "method")}
            )
    return dict(sorted(found.items()))


def list_series(dataset: Any, prefix: str) -> list[str]:
    """The series that have records; the main loop ("") first, then by name."""
    found = set()
    for key in dataset.list_runs(method=ITERATION_METHOD):
        config = dataset.get_run_info(key).config.serialize()
        if config.get("prefix") == prefix:
            found.add(config["series"])
    return sorted(found)


def record_step(
    loop: Loop, iteration: int, step: str, entry: Mapping[str, Any], **top: Any
) -> None:
    """Add what a step did to the record of an iteration.

    Args:
        loop: the loop.
        iteration: which record.
        step: name of the step; an earlier entry of the same step is replaced, but for the files
            that it names as `checkpoints`: they are still there, and to be removed some day.
        entry: JSON data: parameters, seconds, digests, metrics.
        **top: facts of the whole iteration, such as `class_counts`; None is left out.
    """
    loop.dataset.reload()
    record = read_record(loop, iteration)
    is_new = record is None
    record = record or {
        "series": loop.names.series,
        "prefix": loop.names.prefix,
        "iteration": iteration,
        "label_field": loop.names.label_field,
        "steps": {},
    }
    record.update({k: v for k, v in top.items() if v is not None})
    entry = dict(entry)
    if "checkpoints" in entry:
        before = record["steps"].get(step, {}).get("checkpoints", [])
        entry["checkpoints"] = list(dict.fromkeys([*before, *entry["checkpoints"]]))
    record["steps"][step] = {
        **entry,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    config = loop.dataset.init_run(method=ITERATION_METHOD, **encode(record))
    key = loop.names.run_key(iteration)
    if is_new:
        loop.dataset.register_run(key, config)
    else:
        loop.dataset.update_run_config(key, config)


def scored_mark(entry: Mapping[str, Any]) -> str:
    """What samples are marked with that a run of `score_samples` scored, from its entry."""
    return str(entry.get("mark") or str(entry.get("digest", ""))[:12])


def record_labels(loop: Loop) -> dict[str, Any]:
    """What is labelled now: ids, and boxes per class, for the record of the iteration."""
    if loop.dataset.get_field(loop.names.label_field) is None:
        return {"labelled_ids": [], "class_counts": {}}
    view = reading.labelled(loop.dataset, loop.names)
    ids = view.values("id")
    counts = view.count_values(f"{loop.names.label_field}.detections.label")
    counts = {str(k): int(v) for k, v in sorted(counts.items(), key=lambda c: str(c[0]))}
    return {"labelled_ids": ids, "class_counts": counts}


def newest_with(loop: Loop, step: str, iteration: int | None) -> int | None:
    """The newest iteration (or the given one) whose record has an entry of `step`."""
    records = read_records(loop)
    for number in sorted(records, reverse=True):
        if (iteration is None or number == iteration) and step in records[number]["steps"]:
            return number
    return None


def resolve_iteration(loop: Loop, given: int | None) -> int:
    """The iteration as given, or the current one.

    Raises:
        ConfigError: there is no such batch.
    """
    if given is None:
        return current_iteration(loop)
    known = batches(loop)
    if given != 0 and given not in known:
        numbers = ", ".join(map(str, [0, *known]))
        raise ConfigError(
            f"iteration={given} does not exist; expected one of {numbers}. Select a batch first, "
            "or leave the parameter out"
        )
    return given


def versions() -> dict[str, str]:
    """Python and package versions."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# MongoDB gives "." and a leading "$" in keys a meaning, and class names may hold both.
_ENCODED = {".": "\uff0e", "$": "\uff04"}


def encode(value: Any) -> Any:
    """JSON data with keys that MongoDB keeps as they are."""
    if isinstance(value, Mapping):
        return {_swap(str(k), _ENCODED): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    return value


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, Mapping):
        back = {v: k for k, v in _ENCODED.items()}
        return {_swap(k, back): decode(v) for k, v in value.items()}
    if isinstance(value, list):
        return [decode(v) for v in value]
    return value


def _swap(text: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        text = text.replace(old, new)
    return text
