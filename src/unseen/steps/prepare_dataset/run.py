"""Make a plain dataset ready for the loop, in one go."""

from __future__ import annotations

from collections.abc import Sequence

from unseen.dataset import appearance, labelling, reading, setup, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError
from unseen.parameters import StepConfig, part
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

    Whatever can fail is checked first. Labels and images stay as they are; a missing label field is
    added. Before the first batch it can be called again with other parameters; a test split that
    exists is kept.
    """
    dataset, names = loop.dataset, loop.names
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    check_unbegun(loop)
    setup.check_own_tag(loop)
    classes, notes = _classes(loop, config.classes)
    images = read_images(dataset)
    if not images.ids:
        raise DatasetError(f"dataset {dataset.name!r} is empty; add images first")
    source = find_source(dataset, images, config) if config.structure != "none" else None
    splitting = part(config, SplitConfig)
    split_dataset(dataset, **{**splitting, "dry_run": True})

    notes += _keep(loop, config)
    unusable = 0
    if config.screen:
        screened = screen_images(
            dataset,
            workers=config.workers,
            excluded_tag=config.excluded_tag,
            dry_run=config.dry_run,
            progress=progress,
            **part(config, StepConfig),
        )
        unusable = len(screened.skipped)
    split = split_dataset(dataset, progress=progress, **splitting)
    if source is not None:
        draw_structure(loop, images, source, config, progress)
    elif dataset.get_field(names.structure) is not None:
        mark_structure(dataset, progress=progress, **part(config, StructureConfig))
    if not config.dry_run:
        appearance.save_workspace(dataset)
        if not names.series:
            appearance.set_colours(loop)
    facts = split.to_dict() | {"excluded": max(split.excluded, unusable)}
    return PrepareResult(
        label_field=names.label_field,
        classes=classes,
        images=len(images.ids),
        structure=config.structure,
        notes=notes,
        **facts,
    )


def _classes(loop: Loop, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The class list and notes on it; raises a LabelError for a reserved or unlisted class."""
    field = loop.names.label_field
    classes = loop.classes(given)
    unlisted = sorted(set(loop.label_counts()) - set(classes))
    if unlisted:
        raise LabelError(
            f"field {field!r} has labels of {', '.join(map(repr, unlisted))}, which the classes "
            f"{', '.join(classes)} do not hold; add them to classes, or rename the labels with "
            f"`unseen rename-classes {loop.dataset.name} --rename OLD=NEW`"
        )
    if given or loop.listed_classes():
        return classes, []
    # Not kept: annotators must be able to find a class that nobody has labelled yet.
    text = "The class list is open: it is what the labels show. Name all classes, here or later."
    return classes, [text]


def _keep(loop: Loop, config: PrepareConfig) -> list[str]:
    """Add the label field, keep the class list and the dataset; say what was done."""
    dataset, field = loop.dataset, loop.names.label_field
    notes = []
    would = "would be" if config.dry_run else "was"
    if not loop.has_labels:
        notes.append(f"The label field {field!r} {would} made.")
    if not dataset.persistent:
        notes.append(f"The dataset {would} made persistent; FiftyOne would delete it otherwise.")
    if not config.dry_run:
        writing.set_labels(dataset, field, {})
        dataset.persistent = True
        if config.classes:
            dataset.classes = {**dataset.classes, field: list(config.classes)}
        dataset.save()
    notes += labelling.notes(loop)
    if not config.dry_run:
        labelling.declare(loop)
        labelling.record(loop, loop.whole.labelled_ids(), "prepare_dataset")
    return notes
