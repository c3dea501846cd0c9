"""Remove everything the steps wrote, and only that."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fiftyone.core.evaluation import EvaluationMethod

from unseen.dataset import appearance, brain, indexes, setup, structure, writing
from unseen.dataset.fields import ITERATION_METHOD, SENDING_METHOD, SNAPSHOT_METHOD
from unseen.dataset.loop import Loop
from unseen.dataset.overlays import overlay_folder, remove_overlays
from unseen.dataset.runs import files_named_elsewhere
from unseen.progress import Progress
from unseen.steps.clean_dataset import CleanConfig, CleanResult
from unseen.steps.step import step

logger = logging.getLogger(__name__)

#: The custom runs that the steps register.
OWN_METHODS = (
    ITERATION_METHOD,
    setup.SETUP_METHOD,
    structure.STRUCTURE_METHOD,
    SENDING_METHOD,
    SNAPSHOT_METHOD,
)


@step(CleanConfig)
def clean_dataset(loop: Loop, config: CleanConfig, progress: Progress) -> CleanResult:
    """Remove fields, tags, views, records, evaluations and checkpoints of this package.

    Labels, images and whatever the user made stay, such as a test tag that existed before, or a
    field whose name merely looks like ours.
    """
    dataset = loop.dataset
    checkpoints = [] if config.keep_checkpoints else _checkpoints(loop)
    views = writing.own_views(loop)
    records = [key for method in OWN_METHODS for key in _runs(loop, method)]
    # The tasks stay on their servers.
    sendings = [record["sending"] for record in _runs(loop, SENDING_METHOD).values()]
    sent = [s["anno_key"] for s in sendings if dataset.has_annotation_run(s["anno_key"])]
    ours = CleanResult(
        dataset=dataset.name,
        fields=writing.own_fields(loop),
        tags=_tags(loop),
        views=views,
        runs=[*records, *sent, *brain.own_runs(loop)],
        evaluations=writing.own_evaluations(loop),
        checkpoints=sum(path.is_file() for path in checkpoints),
        given_up=[s["anno_key"] for s in sendings if s["backend"] != "app" and not s["closed"]],
        dry_run=config.dry_run,
    )
    if config.dry_run:
        return ours
    # Whatever says that something is ours goes after it: a killed run is finished by the next one.
    _delete_evaluations(dataset, ours.evaluations)
    for view in views:
        dataset.delete_saved_view(view)
    if dataset.get_field(loop.names.excluded_reason) is not None:
        dataset.exists(loop.names.excluded_reason).untag_samples(loop.names.excluded_tag)
    for tag in ours.tags:
        writing.set_tag(dataset, [], tag)
    _remove_overlays(loop, config)
    appearance.forget(loop, ours.fields)
    indexes.drop(loop)
    writing.delete_fields(dataset, writing.own_fields(loop))  # without those of the evaluations
    writing.ungroup_fields(dataset)
    for key in brain.own_runs(loop):  # while there are records that name them
        dataset.delete_brain_run(key)
    for key in sent:
        dataset.delete_annotation_run(key)
    removed = sum(_remove(path) for path in checkpoints)
    with contextlib.suppress(OSError):
        loop.folder(None).rmdir()  # only when nothing else is in it
    for key in records:
        dataset.delete_run(key)
    progress(1, 1, "clean")
    return dataclasses.replace(ours, checkpoints=removed)


def _delete_evaluations(dataset: Any, keys: Sequence[str]) -> None:
    """Delete all of them in one pass over the samples; FiftyOne itself takes a pass for each."""
    paths = []
    for key in keys:
        config = dataset.get_evaluation_info(key).config
        boxes = [f"{field}.detections.{key}" for field in (config.pred_field, config.gt_field)]
        paths += [f"{key}_{count}" for count in ("tp", "fp", "fn")]
        paths += [f"{path}{suffix}" for path in boxes for suffix in ("", "_id", "_iou")]
    if paths:
        dataset.delete_sample_fields(paths, error_level=2)  # what is not there is ignored
    for key in keys:
        EvaluationMethod.delete_run(dataset, key, cleanup=False)


def _runs(loop: Loop, method: str) -> dict[str, dict[str, Any]]:
    """Key -> configuration of the custom runs with this prefix, of all series."""
    configs = {
        key: loop.dataset.get_run_info(key).config.serialize()
        for key in loop.dataset.list_runs(method=method)
    }
    return {k: c for k, c in configs.items() if c.get("prefix") == loop.names.prefix}


def _remove_overlays(loop: Loop, config: CleanConfig) -> None:
    """Delete the copies of images with a heatmap."""
    folder = overlay_folder(loop, config.model_dir)
    series = {loop.names.series, *(one.names.series for one in loop.all_series())}
    series |= {record["series"] for record in _runs(loop, SENDING_METHOD).values()}
    for name in sorted(series):
        names = dataclasses.replace(loop.names, series=name)
        remove_overlays(Loop(loop.dataset, names), folder)


def _tags(loop: Loop) -> list[str]:
    """The tags of batches and splits that are on record, of any series."""
    tags: set[str] = set()
    for one in loop.all_series():
        unfinished = one.unfinished("select_batch")
        tags |= {*one.batches().values(), *([unfinished[1]["batch"]] if unfinished else ())}
    for record in _runs(loop, setup.SETUP_METHOD).values():
        tags |= {record["initial_tag"]} | ({record["test_tag"]} if record["made_test"] else set())
    return sorted(tags & set(loop.dataset._sample_collection.distinct("tags")))


def _checkpoints(loop: Loop) -> list[Path]:
    """The model files that a record names, that were made for this dataset and serve no other.

    A record proves nothing: a clone has those of the original, an import somebody else's.
    """
    records = [record for one in loop.all_series() for record in one.records().values()]
    entries = [entry for record in records for entry in record["steps"].values()]
    named = {Path(path) for entry in entries for path in entry.get("checkpoints", [])}
    own = sorted(path for path in named if _is_own(loop, path))
    elsewhere = files_named_elsewhere(loop.dataset, list(map(str, own))) if own else set()
    return [path for path in own if str(path) not in elsewhere]


def _is_own(loop: Loop, path: Path) -> bool:
    """Whether the sidecar of a checkpoint says that it was made for this dataset."""
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(sidecar, dict) or path.suffix != ".safetensors":
        return False
    if "dataset_id" in sidecar:
        return bool(sidecar["dataset_id"] == str(loop.dataset._doc.id))
    # Earlier versions wrote the name only; the folder has the id in its name.
    return sidecar.get("dataset") == loop.dataset.name and path.parent == loop.folder(None)


def _remove(path: Path) -> bool:
    """Delete a checkpoint and its sidecar; whether it was there."""
    existed = path.is_file()
    try:
        for file in (path, path.with_suffix(".json")):  # the sidecar says that both are ours
            file.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("could not delete %s: %s", file, error)
    return existed
