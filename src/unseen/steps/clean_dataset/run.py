"""Remove everything the steps wrote, and only that."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from pathlib import Path
from typing import Any

from unseen.dataset import (
    appearance,
    feature_runs,
    iterations,
    reading,
    setup,
    structure,
    writing,
)
from unseen.dataset.fields import ITERATION_METHOD, SENDING_METHOD, SNAPSHOT_METHOD, Names
from unseen.dataset.overlays import remove_overlays
from unseen.dataset.storage import model_folder
from unseen.progress import Progress
from unseen.steps.clean_dataset import CleanConfig, CleanResult
from unseen.steps.step import step

logger = logging.getLogger(__name__)

#: Of the custom runs that the steps register.
OWN_METHODS = (
    ITERATION_METHOD,
    setup.SETUP_METHOD,
    structure.STRUCTURE_METHOD,
    SENDING_METHOD,
    SNAPSHOT_METHOD,
)


@step(CleanConfig)
def clean_dataset(
    collection: Any, config: CleanConfig, names: Names, progress: Progress
) -> CleanResult:
    """Remove fields, tags, views, records, evaluations and checkpoints of this package.

    Labels, images and whatever the user made stay: a test tag that existed before is kept, and so
    is a field that only happens to have a similar name.
    """
    dataset = reading.dataset_of(collection)
    checkpoints = [] if config.keep_checkpoints else _checkpoints(dataset, names)
    views = writing.own_views(dataset, names.prefix)
    found = CleanResult(
        dataset=dataset.name,
        fields=writing.own_fields(dataset, names.prefix),
        tags=_tags(dataset, names, views),
        views=views,
        runs=[
            *_records(dataset, names),
            *_annotation_runs(dataset, names),
            *feature_runs.own(dataset, names),
        ],
        evaluations=writing.own_evaluations(dataset, names.prefix),
        checkpoints=sum(path.is_file() for path in checkpoints),
        dry_run=config.dry_run,
    )
    if config.dry_run:
        return found
    for key in found.evaluations:
        dataset.delete_evaluation(key)
    for view in found.views:
        dataset.delete_saved_view(view)
    _untag_excluded(dataset, names)
    for tag in found.tags:
        dataset.match_tags(tag).untag_samples(tag)
    _remove_overlays(dataset, config, names)
    fields = writing.own_fields(dataset, names.prefix)  # evaluations took theirs along
    writing.delete_fields(dataset, fields)
    for key in feature_runs.own(dataset, names):  # while there are records that name them
        dataset.delete_brain_run(key)
    sent, records = _annotation_runs(dataset, names), _records(dataset, names)
    for key in sent:
        dataset.delete_annotation_run(key)
    for key in records:
        dataset.delete_run(key)
    writing.ungroup_fields(dataset)
    appearance.forget(dataset, found.fields, appearance.colours(names))
    removed = sum(_remove(path) for path in checkpoints)
    progress(1, 1, "clean")
    return dataclasses.replace(found, checkpoints=removed)


def _records(dataset: Any, names: Names) -> list[str]:
    """Keys of the custom runs of every loop with this prefix."""
    return [
        key
        for method in OWN_METHODS
        for key in dataset.list_runs(method=method)
        if dataset.get_run_info(key).config.serialize().get("prefix") == names.prefix
    ]


def _remove_overlays(dataset: Any, config: CleanConfig, names: Names) -> None:
    """Delete the copies of images with a heatmap; the images themselves are never touched."""
    folder = model_folder(dataset, config) / "overlays"
    series = {*iterations.list_series(dataset, names.prefix), names.series}
    for key in dataset.list_runs(method=SENDING_METHOD):
        series.add(dataset.get_run_info(key).config.serialize()["series"])
    for name in sorted(series):
        remove_overlays(dataset, Names(prefix=names.prefix, series=name), folder)


def _annotation_runs(dataset: Any, names: Names) -> list[str]:
    """FiftyOne's runs of what was sent; the tasks stay on their servers."""
    found = []
    for key in dataset.list_runs(method=SENDING_METHOD):
        config = dataset.get_run_info(key).config.serialize()
        anno_key = config["sending"]["anno_key"]
        if config["prefix"] == names.prefix and dataset.has_annotation_run(anno_key):
            found.append(anno_key)
    return found


def _tags(dataset: Any, names: Names, views: list[str]) -> list[str]:
    """Batch tags have a view of their name; the splits are known from their record."""
    tags = {view for view in views if re.search(r"batch_\d{2,}$", view)}  # of any series
    for key in dataset.list_runs(method=setup.SETUP_METHOD):
        record = dataset.get_run_info(key).config.serialize()
        if record.get("prefix") == names.prefix:
            tags.add(record["initial_tag"])
            if record["made_test"]:
                tags.add(record["test_tag"])
    return sorted(tags & set(dataset.distinct("tags")))


def _untag_excluded(dataset: Any, names: Names) -> None:
    """Take the excluded tag from the samples that `screen_images` excluded."""
    if dataset.get_field(names.excluded_reason) is not None:
        ours = dataset.exists(names.excluded_reason)
        if len(ours):
            ours.untag_samples(names.excluded_tag)


def _checkpoints(dataset: Any, names: Names) -> list[Path]:
    found = []
    for series in iterations.list_series(dataset, names.prefix):
        loop = Names(prefix=names.prefix, series=series)
        for record in iterations.read_records(dataset, loop).values():
            for entry in record["steps"].values():
                found += [Path(p) for p in entry.get("checkpoints", [])]
    return sorted(set(found))


def _remove(path: Path) -> int:
    """Delete a checkpoint and its sidecar; 1 if it was there."""
    existed = path.is_file()
    for file in (path, path.with_suffix(".json")):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("could not delete %s: %s", file, error)
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # only when nothing else is in it
    return int(existed)
