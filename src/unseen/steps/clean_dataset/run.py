"""Remove everything the steps wrote, and only that."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from pathlib import Path

from unseen.dataset import (
    appearance,
    brain,
    setup,
    structure,
    writing,
)
from unseen.dataset.fields import ITERATION_METHOD, SENDING_METHOD, SNAPSHOT_METHOD
from unseen.dataset.loop import Loop
from unseen.dataset.overlays import remove_overlays
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
def clean_dataset(loop: Loop, config: CleanConfig, progress: Progress) -> CleanResult:
    """Remove fields, tags, views, records, evaluations and checkpoints of this package.

    Labels, images and whatever the user made stay: a test tag that existed before is kept, and so
    is a field that only happens to have a similar name.
    """
    checkpoints = [] if config.keep_checkpoints else _checkpoints(loop)
    views = writing.own_views(loop)
    ours = CleanResult(
        dataset=loop.dataset.name,
        fields=writing.own_fields(loop),
        tags=_tags(loop, views),
        views=views,
        runs=[
            *_records(loop),
            *_annotation_runs(loop),
            *brain.own_runs(loop),
        ],
        evaluations=writing.own_evaluations(loop),
        checkpoints=sum(path.is_file() for path in checkpoints),
        dry_run=config.dry_run,
    )
    if config.dry_run:
        return ours
    for key in ours.evaluations:
        loop.dataset.delete_evaluation(key)
    for view in ours.views:
        loop.dataset.delete_saved_view(view)
    if loop.dataset.get_field(loop.names.excluded_reason) is not None:
        screened = loop.dataset.exists(loop.names.excluded_reason)
        if len(screened):
            screened.untag_samples(loop.names.excluded_tag)
    for tag in ours.tags:
        loop.dataset.match_tags(tag).untag_samples(tag)
    _remove_overlays(loop, config)
    fields = writing.own_fields(loop)  # evaluations took theirs along
    writing.delete_fields(loop.dataset, fields)
    for key in brain.own_runs(loop):  # while there are records that name them
        loop.dataset.delete_brain_run(key)
    sent, records = _annotation_runs(loop), _records(loop)
    for key in sent:
        loop.dataset.delete_annotation_run(key)
    for key in records:
        loop.dataset.delete_run(key)
    writing.ungroup_fields(loop.dataset)
    appearance.forget(loop, ours.fields)
    removed = sum(_remove(path) for path in checkpoints)
    progress(1, 1, "clean")
    return dataclasses.replace(ours, checkpoints=removed)


def _records(loop: Loop) -> list[str]:
    """Keys of the custom runs of every loop with this prefix."""
    return [
        key
        for method in OWN_METHODS
        for key in loop.dataset.list_runs(method=method)
        if loop.dataset.get_run_info(key).config.serialize().get("prefix") == loop.names.prefix
    ]


def _remove_overlays(loop: Loop, config: CleanConfig) -> None:
    """Delete the copies of images with a heatmap; the images themselves are never touched."""
    folder = loop.folder(config.model_dir) / "overlays"
    series = {loop.names.series, *(one.names.series for one in loop.all_series())}
    for key in loop.dataset.list_runs(method=SENDING_METHOD):
        series.add(loop.dataset.get_run_info(key).config.serialize()["series"])
    for name in sorted(series):
        names = dataclasses.replace(loop.names, series=name)
        remove_overlays(Loop(loop.dataset, names), folder)


def _annotation_runs(loop: Loop) -> list[str]:
    """FiftyOne's runs of what was sent; the tasks stay on their servers."""
    found = []
    for key in loop.dataset.list_runs(method=SENDING_METHOD):
        config = loop.dataset.get_run_info(key).config.serialize()
        anno_key = config["sending"]["anno_key"]
        if config["prefix"] == loop.names.prefix and loop.dataset.has_annotation_run(anno_key):
            found.append(anno_key)
    return found


def _tags(loop: Loop, views: list[str]) -> list[str]:
    """Batch tags have a view of their name; the splits are known from their record."""
    tags = {view for view in views if re.search(r"batch_\d{2,}$", view)}  # of any series
    for key in loop.dataset.list_runs(method=setup.SETUP_METHOD):
        record = loop.dataset.get_run_info(key).config.serialize()
        if record.get("prefix") == loop.names.prefix:
            tags.add(record["initial_tag"])
            if record["made_test"]:
                tags.add(record["test_tag"])
    return sorted(tags & set(loop.dataset.distinct("tags")))


def _checkpoints(loop: Loop) -> list[Path]:
    """Every model file that a record names."""
    return sorted(
        {
            Path(path)
            for one in loop.all_series()
            for record in one.records().values()
            for entry in record["steps"].values()
            for path in entry.get("checkpoints", [])
        }
    )


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
