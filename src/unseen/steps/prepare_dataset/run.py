"""Make a plain dataset ready for the loop, in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from unseen.dataset import appearance, reading
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError
from unseen.parameters import StepConfig, parameters
from unseen.progress import Progress
from unseen.steps.mark_structure import StructureConfig
from unseen.steps.mark_structure.run import draw_structure, mark_structure
from unseen.steps.mark_structure.sources import find_source, read_images
from unseen.steps.prepare_dataset import PrepareConfig, PrepareResult
from unseen.steps.screen_images.run import screen_images
from unseen.steps.split_dataset import SplitConfig
from unseen.steps.split_dataset.run import check_unbegun, split_dataset
from unseen.steps.step import step


@step(PrepareConfig)
def prepare_dataset(loop: Loop, config: PrepareConfig, progress: Progress) -> PrepareResult:
    """Screen, split, fix the classes, mark known structure, save the workspace.

    Everything that can be known to fail is checked first. Labels and images stay as they are; the
    label field is made where it is missing. Called again before the first batch, it takes the new
    parameters; a test split that exists is kept.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    check_unbegun(loop)
    classes, notes = _classes(loop, config.classes)
    images = read_images(loop.dataset)
    if not images.ids:
        raise DatasetError(f"dataset {loop.dataset.name!r} is empty; add images first")
    source = find_source(loop.dataset, images, config) if config.structure != "none" else None
    splitting = _of(config, SplitConfig)
    split_dataset(loop.dataset, **{**splitting, "dry_run": True})

    notes += _keep(loop, config)
    excluded = len(loop.dataset.match_tags(loop.names.excluded_tag))
    if config.screen:
        shared = {**_of(config, StepConfig), "dry_run": config.dry_run}
        shared["excluded_tag"] = config.excluded_tag
        found = screen_images(loop.dataset, workers=config.workers, progress=progress, **shared)
        excluded = len(loop.dataset.match_tags(loop.names.excluded_tag))
        if config.dry_run:
            excluded = max(excluded, len(found.skipped))
    split = split_dataset(loop.dataset, progress=progress, **splitting)
    if source is not None:
        draw_structure(loop, images, source, config, progress)
    elif loop.dataset.get_field(loop.names.structure) is not None:
        mark_structure(loop.dataset, progress=progress, **_of(config, StructureConfig))
    if not config.dry_run:
        appearance.save_workspace(loop.dataset)
        if not loop.names.series:
            appearance.set_colours(loop)
    return PrepareResult(
        dataset=loop.dataset.name,
        label_field=loop.names.label_field,
        classes=classes,
        images=len(images.ids),
        excluded=excluded,
        test=split.test,
        test_unlabelled=split.test_unlabelled,
        initial=split.initial,
        initial_unlabelled=split.initial_unlabelled,
        pool=split.pool,
        structure=config.structure,
        chosen_by=split.chosen_by,
        notes=notes,
        dry_run=config.dry_run,
    )


def _classes(loop: Loop, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The class list, and what should be known about it.

    Raises:
        LabelError: a class has a reserved name, or labels are of a class that is not listed.
    """
    classes = loop.classes(given)
    found = []
    if loop.has_labels:
        found = loop.dataset.distinct(f"{loop.names.label_field}.detections.label")
    unlisted = sorted(set(found) - set(classes))
    if unlisted:
        raise LabelError(
            f"field {loop.names.label_field!r} has labels of {', '.join(map(repr, unlisted))}, which "
            f"the classes {', '.join(classes)} do not hold; add them to classes, or rename the "
            "labels with dataset.map_labels"
        )
    if not (
        given or loop.dataset.classes.get(loop.names.label_field) or loop.dataset.default_classes
    ):
        # Not kept: annotators must be able to find a class that nobody has labelled yet.
        return classes, ["The class list is open: it is what the labels show. Name all classes."]
    return classes, []


def _keep(loop: Loop, config: PrepareConfig) -> list[str]:
    """Make the label field, keep the class list and the dataset; say what was done."""
    notes = []
    would = "would be" if config.dry_run else "was"
    if not loop.has_labels:
        notes.append(f"The label field {loop.names.label_field!r} {would} made.")
        if not config.dry_run:
            loop.dataset.add_sample_field(
                loop.names.label_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
            )
    if not loop.dataset.persistent:
        notes.append(f"The dataset {would} made persistent; FiftyOne would delete it otherwise.")
    if not config.dry_run:
        loop.dataset.persistent = True
        if config.classes:
            loop.dataset.classes = {
                **loop.dataset.classes,
                loop.names.label_field: list(config.classes),
            }
        loop.dataset.save()
    return notes


def _of(config: PrepareConfig, base: type[StepConfig]) -> dict[str, Any]:
    """The part of the parameters that a base class declares, for its step."""
    return {p.name: getattr(config, p.name) for p in parameters(base)}
