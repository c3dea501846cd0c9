"""Make a plain dataset ready for the loop, in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fiftyone as fo

from unseen.dataset import appearance, reading
from unseen.dataset.fields import Names
from unseen.dataset.workspace import save_workspace
from unseen.errors import DatasetError, LabelError
from unseen.parameters import StepConfig, parameters
from unseen.progress import Progress
from unseen.steps.mark_structure import StructureConfig
from unseen.steps.mark_structure.run import draw_structure, mark_structure
from unseen.steps.mark_structure.sources import Images, find_source
from unseen.steps.prepare_dataset import PrepareConfig, PrepareResult
from unseen.steps.screen_images.run import screen_images
from unseen.steps.split_dataset import SplitConfig
from unseen.steps.split_dataset.run import check_unbegun, split_dataset
from unseen.steps.step import step


@step(PrepareConfig)
def prepare_dataset(
    view: Any, config: PrepareConfig, names: Names, progress: Progress
) -> PrepareResult:
    """Screen, split, fix the classes, mark known structure, save the workspace.

    Everything that can be known to fail is checked first. Labels and images stay as they are; the
    label field is made where it is missing. Called again before the first batch, it takes the new
    parameters; a test split that exists is kept.
    """
    dataset = reading.dataset_of(view)
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    check_unbegun(dataset, names)
    classes, notes = _classes(dataset, names, config.classes)
    images = Images.of(dataset)
    if not images.ids:
        raise DatasetError(f"dataset {dataset.name!r} is empty; add images first")
    source = find_source(dataset, images, config) if config.structure != "none" else None
    splitting = _of(config, SplitConfig)
    split_dataset(dataset, **{**splitting, "dry_run": True})

    notes += _keep(dataset, names, config)
    excluded = len(reading.split(dataset, names.excluded_tag))
    if config.screen:
        shared = {**_of(config, StepConfig), "dry_run": config.dry_run}
        found = screen_images(dataset, workers=config.workers, progress=progress, **shared)
        excluded = len(reading.split(dataset, names.excluded_tag))
        if config.dry_run:
            excluded = max(excluded, len(found.skipped))
    split = split_dataset(dataset, progress=progress, **splitting)
    if source is not None:
        draw_structure(dataset, images, source, config, names, progress)
    elif dataset.get_field(names.structure) is not None:
        mark_structure(dataset, progress=progress, **_of(config, StructureConfig))
    if not config.dry_run:
        save_workspace(dataset)
        if not names.series:
            appearance.set_colours(dataset, names)
    return PrepareResult(
        dataset=dataset.name,
        label_field=names.label_field,
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


def _classes(dataset: Any, names: Names, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The class list, and what should be known about it.

    Raises:
        LabelError: a class has a reserved name, or labels are of a class that is not listed.
    """
    classes = reading.resolve_classes(dataset, names, given)
    found = []
    if dataset.get_field(names.label_field) is not None:
        found = dataset.distinct(f"{names.label_field}.detections.label")
    unlisted = sorted(set(found) - set(classes))
    if unlisted:
        raise LabelError(
            f"field {names.label_field!r} has labels of {', '.join(map(repr, unlisted))}, which "
            f"the classes {', '.join(classes)} do not hold; add them to classes, or rename the "
            "labels with dataset.map_labels"
        )
    if not (given or dataset.classes.get(names.label_field) or dataset.default_classes):
        # Not kept: annotators must be able to find a class that nobody has labelled yet.
        return classes, ["The class list is open: it is what the labels show. Name all classes."]
    return classes, []


def _keep(dataset: Any, names: Names, config: PrepareConfig) -> list[str]:
    """Make the label field, keep the class list and the dataset; say what was done."""
    notes = []
    would = "would be" if config.dry_run else "was"
    if dataset.get_field(names.label_field) is None:
        notes.append(f"The label field {names.label_field!r} {would} made.")
        if not config.dry_run:
            dataset.add_sample_field(
                names.label_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections
            )
    if not dataset.persistent:
        notes.append(f"The dataset {would} made persistent; FiftyOne would delete it otherwise.")
    if not config.dry_run:
        dataset.persistent = True
        if config.classes:
            dataset.classes = {**dataset.classes, names.label_field: list(config.classes)}
        dataset.save()
    return notes


def _of(config: PrepareConfig, base: type[StepConfig]) -> dict[str, Any]:
    """The part of the parameters that a base class declares, for its step."""
    return {p.name: getattr(config, p.name) for p in parameters(base)}
