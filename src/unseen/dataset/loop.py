"""One labelling loop on a dataset: its images, its batches and its records.

The record of an iteration is a FiftyOne custom run, one per series. It holds what was labelled and,
of each step, the parameters, seeds, versions, digests of checkpoints, seconds and measurements. A
step writes its entry last, so a killed step leaves none. What cannot be done in one write is put
on record as pending first; what is on the samples follows from it.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import fiftyone as fo

from unseen.dataset import indexes, locks, reading
from unseen.dataset.fields import ITERATION_METHOD, REMOVED, SENT, Names
from unseen.dataset.runs import decode, encode, save_run, stored_runs
from unseen.errors import ConfigError, DatasetError

Record = dict[str, Any]

_kept: ContextVar[dict[Any, Any] | None] = ContextVar("kept", default=None)


@contextlib.contextmanager
def records_kept() -> Iterator[None]:
    """Read the records once; what is written here joins them.

    For as long as nobody else writes them: under the dataset's lock, or for one look.
    """
    outer = _kept.get()
    token = _kept.set({} if outer is None else outer)
    try:
        yield
    finally:
        _kept.reset(token)


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

    def tagged(self, *tags: str) -> Any:
        """The samples of the view with one of these tags, in no particular order."""
        return self.view.match(indexes.tagged(*tags))

    @property
    def test(self) -> Any:
        """The test split, within the view."""
        return self.tagged(self.names.test_tag)

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

    @property
    def own_tags(self) -> list[str]:
        """The tags that mean something to the loop."""
        return [*self._asked_tags, self.names.excluded_tag]

    @cached_property
    def _has_stray_lists(self) -> bool:
        """Whether images that nobody was asked to label have an empty list that is not on record."""
        field, record = self.names.label_field, self.names.labelled
        stray: Record = {
            **indexes.labels_set(self.names),
            f"{field}.detections": {"$in": [None, []]},  # None: as `map_labels().save()` stores it
            record: None,
            f"{record}.iteration": None,
            "tags": {"$nin": self._asked_tags},
        }
        return self.dataset._sample_collection.find_one(stray, {"_id": 1}) is not None

    def with_labels(self, view: Any) -> Any:
        """The labelled samples of a view."""
        return view.match({"$expr": self.is_labelled})

    def without_labels(self, view: Any) -> Any:
        """The unlabelled samples of a view."""
        return view.match({"$expr": {"$not": [self.is_labelled]}})

    @property
    def labelled(self) -> Any:
        """The usable samples with labels, within the view; in no particular order."""
        return self.with_labels(self.usable.match(indexes.labels_set(self.names)))

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
            classes = list(dict.fromkeys([*self.listed_classes(), *sorted(self.label_counts())]))
        reading.check_class_names(classes)
        return classes

    def listed_classes(self) -> list[str]:
        """The class list that the dataset keeps for the label field; empty if it keeps none."""
        kept = self.dataset.classes.get(self.names.label_field) or self.dataset.default_classes
        return list(kept or ())

    def label_counts(self) -> dict[str, int]:
        """Class -> number of its boxes in the dataset, also of crowds and of the test split."""
        box = f"${self.names.label_field}.detections"
        pipeline = [
            {"$match": indexes.labels_set(self.names)},
            {"$unwind": box},
            {"$group": {"_id": f"{box}.label", "boxes": {"$sum": 1}}},
            {"$match": {"_id": {"$nin": reading.NAMELESS}}},
        ]
        rows = self.dataset._sample_collection.aggregate(pipeline, allowDiskUse=True)
        return {str(row["_id"]): int(row["boxes"]) for row in rows}

    def labelled_ids(self) -> set[str]:
        """Ids of every sample of the view that has labels, also in the test split."""
        return set(self.with_labels(self.view.match(indexes.labels_set(self.names))).values("id"))

    def label_facts(self) -> Record:
        """Numbers of labelled samples and of boxes per class without crowds, for a record."""
        if not self.has_labels:
            return {"labelled_images": 0, "class_counts": {}}
        labelled = self.whole.labelled
        counts = reading.class_counts(labelled, self.names.label_field)
        return {"labelled_images": len(labelled), "class_counts": counts}

    # --- batches ---------------------------------------------------------------------------------
    def batches(self) -> dict[int, str]:
        """Iteration -> batch tag, ascending, of the batches on record."""
        return batches_of(self.records(), self.names)

    def unfinished(self, step: str) -> tuple[int, Record] | None:
        """The iteration in whose record a step was begun but not finished, and its entry."""
        begun = ((n, r.get("pending", {}).get(step)) for n, r in self.records().items())
        return next(((number, entry) for number, entry in begun if entry), None)

    def check_finished(self, tag: str | None = None) -> None:
        """Raise `DatasetError` if the choice of a batch (this one, or any) was cut short."""
        unfinished = self.unfinished("select_batch")
        if unfinished is not None and tag in (None, unfinished[1]["batch"]):
            raise DatasetError(f"{unfinished[1]['batch']} was not finished; run select_batch again")

    def iteration(self) -> int:
        """The newest iteration that has labels: 0, or the highest batch with a labelled sample."""
        if not self.has_labels:
            return 0
        for number, tag in reversed(self.batches().items()):
            if len(self.with_labels(self.whole.tagged(tag)).limit(1)):
                return number
        return 0

    def resolve_iteration(self, given: int | None) -> int:
        """The iteration as given, or the current one; `ConfigError` if there is no such batch."""
        if given is None:
            return self.iteration()
        known = [0, *self.batches()]
        if given not in known:
            self.check_finished(self.names.batch(given))
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

    def begin_entry(self, iteration: int, step: str, entry: Mapping[str, Any]) -> None:
        """Record what a step is about to write to the samples; `write_entry` ends that."""
        record = self._record_to_write(iteration)
        record["steps"].pop(step, None)
        record["pending"] = {step: dict(entry)}
        self._write(record)

    def write_entry(self, iteration: int, step: str, entry: Mapping[str, Any], **top: Any) -> None:
        """Write what a step did (JSON data) into the record of an iteration.

        An earlier entry of the step is replaced, but the files that it names as `checkpoints` stay
        listed, so that clean-up finds them. `top` are facts of the whole iteration, such as
        `class_counts`; None is left out.
        """
        record = self._record_to_write(iteration)
        record.update({k: v for k, v in top.items() if v is not None})
        if self.dataset.get_field(self.names.labelled) is not None:
            record.pop("labelled_ids", None)  # of earlier versions; it could outgrow a document
        record.get("pending", {}).pop(step, None)
        entry = dict(entry)
        if "checkpoints" in entry:
            earlier = record["steps"].get(step, {}).get("checkpoints", [])
            entry["checkpoints"] = list(dict.fromkeys([*earlier, *entry["checkpoints"]]))
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record["steps"][step] = {**entry, "at": now, "versions": _versions()}
        self._write(record)

    def _record_to_write(self, iteration: int) -> Record:
        locks.check(self.dataset)
        return copy.deepcopy(self.record(iteration)) or {
            "series": self.names.series,
            "prefix": self.names.prefix,
            "iteration": iteration,
            "label_field": self.names.label_field,
            "steps": {},
        }

    def _write(self, record: Record) -> None:
        key = self.names.run_key(record["iteration"])
        save_run(self.dataset, key, ITERATION_METHOD, **encode(record))
        kept = (_kept.get() or {}).get((self.dataset._doc.id, self.names.prefix))
        if kept is not None:
            own = {**kept.get(self.names.series, {}), record["iteration"]: record}
            by_series = {**kept, self.names.series: dict(sorted(own.items()))}
            kept.clear()
            kept.update(sorted(by_series.items()))

    def record_of_batch(self, number: int) -> int:
        """The iteration whose record names a batch, or the current one."""
        tag, records = self.names.batch(number), self.records()
        named = (
            n for n, r in records.items() if r["steps"].get("select_batch", {}).get("batch") == tag
        )
        first = next(named, None)
        return self.iteration() if first is None else first

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


def records_by_series(dataset: Any, prefix: str) -> dict[str, dict[int, Record]]:
    """Series -> iteration -> record, ascending, of every loop of a dataset."""
    kept = _kept.get()
    if kept is not None and (dataset._doc.id, prefix) in kept:
        by_series: dict[str, dict[int, Record]] = kept[dataset._doc.id, prefix]
        return by_series
    wanted = {"config.method": ITERATION_METHOD, "config.prefix": prefix}
    records = [decode(config) for _, config in stored_runs(dataset, **wanted)]
    by_series = {}
    for record in sorted(records, key=lambda r: (r["series"], r["iteration"])):
        for name in ("cls", "type", "method"):  # FiftyOne's own
            record.pop(name, None)
        by_series.setdefault(record["series"], {})[record["iteration"]] = record
    if kept is not None:
        kept[dataset._doc.id, prefix] = by_series
    return by_series


def batches_of(records: Mapping[int, Record], names: Names) -> dict[int, str]:
    """Iteration -> batch tag, ascending, of the batches that `select_batch` recorded."""
    tags = (record["steps"].get("select_batch", {}).get("batch") for record in records.values())
    numbers = {names.batch_number(tag): tag for tag in tags if tag}
    return dict(sorted((n, tag) for n, tag in numbers.items() if n is not None))


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


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    known = {"python": platform.python_version()}
    for name in ("unseen", "fiftyone", "torch", "torchvision", "numpy", "scipy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            known[name] = importlib.metadata.version(name)
    return known
