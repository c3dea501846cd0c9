"""One labelling loop on a dataset: its images, its batches and its records.

The record of an iteration is a FiftyOne custom run, one per series. It holds what was labelled and,
of each step, the parameters, seeds, versions, digests of checkpoints, seconds and measurements. A
step writes its entry last, so a killed step leaves none.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.core.odm as foo

from unseen.dataset import reading
from unseen.dataset.fields import ITERATION_METHOD, REMOVED, SENT, Names
from unseen.errors import ConfigError

Record = dict[str, Any]

# MongoDB gives "." and a leading "$" in keys a meaning, and class names may hold both.
_ENCODED = str.maketrans(".$", "\uff0e\uff04")
_DECODED = str.maketrans("\uff0e\uff04", ".$")


@dataclass(frozen=True)
class Loop:
    """A dataset and the names under which one loop stores everything in it."""

    view: Any  #: what a step was called on: the dataset or a view of it
    names: Names = field(default_factory=Names)

    @cached_property
    def dataset(self) -> Any:
        """The dataset below the view."""
        return self.view._dataset

    @property
    def is_whole(self) -> bool:
        """Whether the step was called on the dataset, not on a view."""
        return isinstance(self.view, fo.Dataset)

    @property
    def whole(self) -> Loop:
        """The same loop, on the whole dataset."""
        return replace(self, view=self.dataset)

    def on(self, view: Any) -> Loop:
        """The same loop, on a view."""
        return replace(self, view=view)

    # --- images ----------------------------------------------------------------------------------
    @property
    def has_labels(self) -> bool:
        """Whether the label field exists."""
        return self.dataset.get_field(self.names.label_field) is not None

    @property
    def test(self) -> Any:
        """The test split, within the view."""
        return self.view.match_tags(self.names.test_tag)

    @property
    def usable(self) -> Any:
        """The samples of the view that are neither in the test split nor excluded."""
        return self.view.match_tags([self.names.test_tag, self.names.excluded_tag], bool=False)

    @property
    def is_labelled(self) -> Record:
        """The MongoDB expression for labelled samples.

        Their label field is set. Where a record of the labels is kept, an empty list alone does not
        say that somebody looked: `map_labels().save()` stores one wherever there was None. It counts
        if it is on record, or if the image was asked for and no other image has one.
        """
        field, names = f"${self.names.label_field}", self.names
        is_set = {"$gt": [field, None]}
        if self.dataset.get_field(names.labelled) is None:
            return is_set
        boxes = {"$ifNull": [f"{field}.detections", []]}
        is_sure: list[Any] = [{"$ne": [boxes, []]}, {"$gt": [f"${names.labelled}", None]}]
        if not self._has_stray_lists:
            tags = {"$ifNull": ["$tags", []]}
            is_sure.append({"$ne": [{"$setIntersection": [tags, self._asked_tags]}, []]})
        return {"$and": [is_set, {"$or": is_sure}]}

    @property
    def _asked_tags(self) -> list[str]:
        return [self.names.initial_tag, self.names.test_tag, *self.batches().values()]

    @cached_property
    def _has_stray_lists(self) -> bool:
        """Whether images that nobody was asked to label have an empty list that is not on record."""
        field, record = self.names.label_field, self.names.labelled
        stray = {f"{field}.detections": [], record: None, "tags": {"$nin": self._asked_tags}}
        return self.dataset._sample_collection.find_one(stray, {"_id": 1}) is not None

    def with_labels(self, view: Any) -> Any:
        """The labelled samples of a view."""
        return view.match({"$expr": self.is_labelled})

    def without_labels(self, view: Any) -> Any:
        """The unlabelled samples of a view."""
        return view.match({"$expr": {"$not": [self.is_labelled]}})

    @property
    def labelled(self) -> Any:
        """The usable samples with labels, within the view."""
        return self.with_labels(self.usable)

    @property
    def pool(self) -> Any:
        """The candidates: usable, unlabelled, neither sent to annotators nor removed by them."""
        pool = self.usable
        if self.dataset.get_field(self.names.annotation) is not None:
            pool = pool.match(~fo.ViewField(self.names.annotation).is_in([SENT, REMOVED]))
        return self.without_labels(pool)

    def classes(self, given: Sequence[str] = ()) -> list[str]:
        """The class list: as given, else the dataset's own and every other label that there is.

        Raises `LabelError` if a class has a reserved name.
        """
        classes = list(given)
        if not classes:
            labels = f"{self.names.label_field}.detections.label"
            found = self.dataset.distinct(labels) if self.has_labels else ()
            classes = list(dict.fromkeys([*self.listed_classes(), *sorted(found)]))
        reading.check_class_names(classes)
        return classes

    def listed_classes(self) -> list[str]:
        """The class list that the dataset keeps for the label field; empty if it keeps none."""
        kept = self.dataset.classes.get(self.names.label_field) or self.dataset.default_classes
        return list(kept or ())

    def labelled_ids(self) -> set[str]:
        """Ids of every sample of the view that has labels, also in the test split."""
        return set(self.with_labels(self.view).values("id"))

    def label_facts(self) -> Record:
        """Ids of the labelled samples and boxes per class, for a record."""
        if not self.has_labels:
            return {"labelled_ids": [], "class_counts": {}}
        labelled = self.whole.labelled
        counts = labelled.count_values(f"{self.names.label_field}.detections.label")
        by_class = dict(sorted((str(label), int(count)) for label, count in counts.items()))
        return {"labelled_ids": labelled.values("id"), "class_counts": by_class}

    # --- batches ---------------------------------------------------------------------------------
    def batches(self) -> dict[int, str]:
        """Iteration -> batch tag, ascending."""
        tags = {self.names.batch_number(tag): tag for tag in self.dataset.distinct("tags")}
        return dict(sorted((n, tag) for n, tag in tags.items() if n is not None))

    def iteration(self) -> int:
        """The newest iteration that has labels: 0, or the highest batch with a labelled sample."""
        if not self.has_labels:
            return 0
        for number, tag in reversed(self.batches().items()):
            if len(self.with_labels(self.dataset.match_tags(tag)).limit(1)):
                return number
        return 0

    def open_batch(self) -> int | None:
        """The newest batch if none of it is labelled yet."""
        newest = max(self.batches(), default=0)
        return newest if newest > self.iteration() else None

    def resolve_iteration(self, given: int | None) -> int:
        """The iteration as given, or the current one; `ConfigError` if there is no such batch."""
        if given is None:
            return self.iteration()
        known = [0, *self.batches()]
        if given not in known:
            raise ConfigError(
                f"iteration={given} does not exist; expected one of {', '.join(map(str, known))}. "
                "Select a batch first, or leave the parameter out"
            )
        return given

    # --- records ---------------------------------------------------------------------------------
    def records(self) -> dict[int, Record]:
        """Iteration -> record, ascending."""
        return records_by_series(self.dataset, self.names.prefix).get(self.names.series, {})

    def record(self, iteration: int) -> Record | None:
        """The record of an iteration, or None."""
        return self.records().get(iteration)

    def entry(self, iteration: int, step: str) -> Record:
        """What a step recorded of an iteration; empty if it did not run."""
        entry: Record = ((self.record(iteration) or {}).get("steps") or {}).get(step) or {}
        return entry

    def newest_with(self, step: str, iteration: int | None = None) -> int | None:
        """The newest iteration (or the given one) whose record has an entry of `step`."""
        numbers = [n for n, record in self.records().items() if step in record["steps"]]
        return max((n for n in numbers if iteration in (None, n)), default=None)

    def write_entry(self, iteration: int, step: str, entry: Mapping[str, Any], **top: Any) -> None:
        """Write what a step did (JSON data) into the record of an iteration.

        An earlier entry of the step is replaced, but the files that it names as `checkpoints` stay
        listed, so that clean-up finds them. `top` are facts of the whole iteration, such as
        `class_counts`; None is left out.
        """
        refresh(self.dataset)
        before = self.record(iteration)
        record = before or {
            "series": self.names.series,
            "prefix": self.names.prefix,
            "iteration": iteration,
            "label_field": self.names.label_field,
            "steps": {},
        }
        record.update({k: v for k, v in top.items() if v is not None})
        entry = dict(entry)
        if "checkpoints" in entry:
            earlier = record["steps"].get(step, {}).get("checkpoints", [])
            entry["checkpoints"] = list(dict.fromkeys([*earlier, *entry["checkpoints"]]))
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record["steps"][step] = {**entry, "at": now, "versions": _versions()}
        config = self.dataset.init_run(method=ITERATION_METHOD, **encode(record))
        write = self.dataset.register_run if before is None else self.dataset.update_run_config
        write(self.names.run_key(iteration), config)

    def all_series(self) -> list[Loop]:
        """Every loop on the dataset that has records; the main one first, then by name."""
        series = sorted(records_by_series(self.dataset, self.names.prefix))
        return [replace(self, names=replace(self.names, series=name)) for name in series]

    # --- files -----------------------------------------------------------------------------------
    def folder(self, model_dir: str | None) -> Path:
        """The folder for checkpoints: `model_dir`, or one per dataset.

        The default has the dataset's id in its name, so that a dataset made again under the name of
        a deleted one never meets its files.
        """
        if model_dir:
            return Path(model_dir).expanduser().absolute()
        return files_root() / f"{self.dataset.slug}-{str(self.dataset._doc.id)[-6:]}"


def refresh(dataset: Any) -> None:
    """Read the dataset's description anew: fields, runs, views, class lists.

    Its own `reload()` also reads every sample held in memory: minutes, where a notebook holds many.
    """
    dataset._reload(hard=True)


def stored_runs(dataset: Any, **wanted: Any) -> list[tuple[str, Record]]:
    """Key and config of the dataset's runs, oldest first, as the database holds them now.

    FiftyOne keeps its own copy in memory, which misses what another process has written since.
    `wanted` are further conditions of the query.
    """
    query = {"_dataset_id": dataset._doc.id, **wanted}
    runs = foo.get_db_conn().runs.find(query, {"key": 1, "config": 1}).sort("_id")
    return [(run["key"], run.get("config") or {}) for run in runs]


def records_by_series(dataset: Any, prefix: str) -> dict[str, dict[int, Record]]:
    """Series -> iteration -> record, ascending, of every loop of a dataset."""
    wanted = {"config.method": ITERATION_METHOD, "config.prefix": prefix}
    records = [decode(config) for _, config in stored_runs(dataset, **wanted)]
    by_series: dict[str, dict[int, Record]] = {}
    for record in sorted(records, key=lambda r: (r["series"], r["iteration"])):
        for name in ("cls", "type", "method"):  # FiftyOne's own
            record.pop(name, None)
        by_series.setdefault(record["series"], {})[record["iteration"]] = record
    return by_series


def files_root() -> Path:
    """The folder below FiftyOne's default dataset directory that holds all of our files."""
    return Path(fo.config.default_dataset_dir).expanduser().absolute() / "__unseen__"


def features_folder(model_dir: str | None) -> Path:
    """Where pretrained features are kept: below `model_dir`, else one folder for all datasets.

    They are keyed by what an image shows, so that datasets may share them.
    """
    root = Path(model_dir).expanduser().absolute() if model_dir else files_root()
    return root / "features"


def numbered_folder(parent: Path, stem: str) -> Path:
    """`parent/stem-001`, or the first number that does not exist yet."""
    folders = (parent / f"{stem}-{number:03d}" for number in count(1))
    return next(folder for folder in folders if not folder.exists())


def encode(value: Any) -> Any:
    """JSON data with keys that MongoDB keeps as they are."""
    return _with_keys(value, _ENCODED)


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    return _with_keys(value, _DECODED)


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    known = {"python": platform.python_version()}
    for name in ("unseen", "fiftyone", "torch", "torchvision", "numpy", "scipy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            known[name] = importlib.metadata.version(name)
    return known


def _with_keys(value: Any, table: Mapping[int, int]) -> Any:
    if isinstance(value, Mapping):
        return {str(k).translate(table): _with_keys(v, table) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_keys(v, table) for v in value]
    return value
