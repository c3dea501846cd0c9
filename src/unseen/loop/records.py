"""The records of all loops of a dataset, read at once and straight from the database.

FiftyOne keeps a dataset's runs in memory; another process may have written since, and reloading the
dataset takes longer than asking for its runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import fiftyone.core.odm as foo

from unseen.annotation.sendings import Sending, decoded
from unseen.dataset import structure
from unseen.dataset.fields import ITERATION_METHOD, SENDING_METHOD
from unseen.dataset.loop import Loop, decode
from unseen.dataset.structure import StructureRecord
from unseen.loop.overview_data import CURRENT, NONE, OLD

#: Iteration -> step -> entry.
Steps = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Records:
    """What the records of one loop say."""

    records: dict[int, dict[str, Any]]  #: iteration -> record, ascending
    sendings: dict[str, Sending]  #: annotation key -> how it was sent
    all_series: dict[str, dict[int, dict[str, Any]]]  #: of every loop with this prefix
    evaluations: dict[str, dict[str, Any]]  #: evaluation key -> FiftyOne's config
    splits: dict[str, Any] = field(default_factory=dict)  #: how the dataset was split
    structure: StructureRecord | None = None  #: what of an image counts

    @property
    def steps(self) -> dict[int, dict[str, Any]]:
        """Iteration -> step -> entry, with what the record says of the labels under "labels"."""
        return {
            number: {
                **record.get("steps", {}),
                "labels": (
                    len(record.get("labelled_ids") or ()),
                    sum((record.get("class_counts") or {}).values()),
                ),
            }
            for number, record in self.records.items()
        }


def read(loop: Loop) -> Records:
    """The records as the database holds them now."""
    series: dict[str, dict[int, dict[str, Any]]] = {}
    sent: dict[str, Sending] = {}
    evaluations: dict[str, dict[str, Any]] = {}
    split: dict[str, Any] = {}
    known = None
    for key, config in _runs(loop.dataset):
        method = config.get("method")
        if config.get("type") == "evaluation" or "pred_field" in config:
            evaluations[key] = config
        elif config.get("prefix") != loop.names.prefix:
            continue
        elif method == ITERATION_METHOD:
            record = decode(config)
            series.setdefault(record.get("series", ""), {})[int(record["iteration"])] = record
        elif method == SENDING_METHOD and config.get("series") == loop.names.series:
            sending = decoded(config["sending"])
            sent[sending.anno_key] = sending
        elif key == loop.names.setup_key:
            split = config
        elif key == loop.names.structure_key:
            known = structure.decode(config)
    ordered = {name: dict(sorted(found.items())) for name, found in sorted(series.items())}
    return Records(ordered.get(loop.names.series, {}), sent, ordered, evaluations, split, known)


def stamp(dataset: Any) -> str:
    """Changes whenever a sample, a run or the dataset's own description does.

    Made of what the database can answer from an index or from a few small documents.
    """
    samples = dataset._sample_collection
    newest: dict[str, Any] = next(
        samples.find({}, {"_id": 0, "last_modified_at": 1}).sort("last_modified_at", -1).limit(1),
        {},
    )
    about = foo.get_db_conn().datasets.find_one(
        {"_id": dataset._doc.id}, {"last_modified_at": 1, "last_deletion_at": 1, "classes": 1}
    )
    runs = hashlib.sha256()
    for key, config in _runs(dataset):
        runs.update(json.dumps([key, config], sort_keys=True, default=str).encode())
    parts = [samples.estimated_document_count(), newest, about, runs.hexdigest()]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _runs(dataset: Any) -> list[tuple[str, dict[str, Any]]]:
    """Key and config of every run of the dataset, oldest first."""
    found = foo.get_db_conn().runs.find(
        {"_dataset_id": dataset._doc.id}, {"key": 1, "config": 1, "timestamp": 1}
    )
    rows = sorted(found, key=lambda run: run["_id"])
    return [(row["key"], row.get("config") or {}) for row in rows]


# --- what the records say --------------------------------------------------------------------------
def newest_with(steps: Steps, name: str) -> int | None:
    """The newest iteration whose record has an entry of the step."""
    return max((number for number, found in steps.items() if name in found), default=None)


def mark(steps: Steps, known: StructureRecord | None = None) -> str | None:
    """How samples are marked that the newest UNet scored, or None before there is one.

    Scores made under another zone of the known structure bear another mark.

    A UNet that the user named on purpose for the newest scoring counts as the newest.
    """
    trained, scored = newest_with(steps, "train_unet"), newest_with(steps, "score_samples")
    unet = {} if trained is None else steps[trained]["train_unet"]
    score = {} if scored is None else steps[scored]["score_samples"]
    named = (score.get("parameters") or {}).get("checkpoint")
    if score.get("digest") and (not unet or (named and _at(score) >= _at(unet))):
        return structure.score_mark(str(score["digest"]), known)
    return structure.score_mark(str(unet["digest"]), known) if unet.get("digest") else None


def freshness(steps: Steps, name: str, iteration: int, labels: tuple[int, int]) -> tuple[str, int]:
    """Whether the newest model has seen the labels as they are now.

    Known by the numbers of images and boxes; a box that only moved does not count.

    Args:
        steps: of the loop.
        name: train_unet or train_detector.
        iteration: the current one.
        labels: images and boxes that are labelled now.

    Returns:
        One of STATES, and how many images came since.
    """
    number = newest_with(steps, name)
    if number is None:
        return NONE, 0
    images, boxes = steps[number][name].get("labelled") or steps[number]["labels"]
    if number < iteration or (images, boxes) != labels:
        return OLD, labels[0] - images
    return CURRENT, 0


def scores(steps: Steps, newest_mark: str | None) -> str:
    """Whether the newest scores are the newest UNet's: one of STATES."""
    number = newest_with(steps, "score_samples")
    if number is None:
        return NONE
    scored = structure.scored_mark(steps[number]["score_samples"])
    return CURRENT if scored == newest_mark else OLD


def has_new_zone(steps: Steps, newest_mark: str | None) -> bool:
    """Whether the newest UNet has scored, but under another zone of the known structure."""
    number = newest_with(steps, "score_samples")
    if number is None or newest_mark is None:
        return False
    scored = structure.scored_mark(steps[number]["score_samples"])
    return scored != newest_mark and scored[:12] == newest_mark[:12]


def measured(steps: Steps, iteration: int) -> tuple[bool, bool]:
    """Whether the detector of an iteration predicted on the test split, and was measured."""
    found = steps.get(iteration, {})
    trained = _at(found.get("train_detector"))
    if not trained:
        return False, False
    evaluated = _at(found.get("evaluate_detector")) >= trained
    entry = found.get("apply_detector") or {}
    on_test = (entry.get("parameters") or {}).get("target") == "test"
    return evaluated or (on_test and _at(entry) >= trained), evaluated


def _at(entry: Mapping[str, Any] | None) -> str:
    return str((entry or {}).get("at", ""))
