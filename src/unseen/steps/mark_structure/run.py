"""Find or read known structure of the images, and say what of it counts in the ranking."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fiftyone as fo
import numpy as np

from unseen.arrays.images import image_size
from unseen.dataset import appearance, structure, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, ImageError
from unseen.progress import Progress
from unseen.results import Skipped
from unseen.steps.mark_structure import StructureConfig, StructureResult
from unseen.steps.mark_structure.sources import Images, Source, find_source, read_images
from unseen.steps.step import step


@step(StructureConfig)
def mark_structure(loop: Loop, config: StructureConfig, progress: Progress) -> StructureResult:
    """Draw the structure into a field of its own; `zone`, `margin` and `weight` say what counts.

    The field changes no label and is sent to nobody unless asked. The next scoring follows the
    zone; images whose structure changed count as not scored. Files and parameters are checked, and
    a grid is learned, before anything is written. Structure `none` removes what was marked.
    """
    if config.structure == "none":
        return _remove(loop, dry_run=config.dry_run)
    images = read_images(loop.view)
    if not images.ids:
        raise DatasetError(
            f"dataset {loop.dataset.name!r} has no images (or the view is empty); add images first"
        )
    return draw_structure(loop, images, find_source(loop.dataset, images, config), config, progress)


def draw_structure(
    loop: Loop, images: Images, source: Source, config: StructureConfig, progress: Progress
) -> StructureResult:
    """Write the structure of a checked source, and the record of what counts."""
    if not config.dry_run:
        if loop.dataset.get_field(loop.names.structure) is None:
            appearance.show(loop, loop.names.label_field, loop.names.structure)
        text = "Known structure of the image: die grid, mask or lines"
        writing.declare(loop, loop.names.structure, fo.Polylines, text)
        rules = (config.structure, config.zone, config.margin, config.weight)
        record = structure.StructureRecord(*rules, config.to_dict())
        structure.write_record(loop, record)
    marked = changed = 0
    fits: list[float] = []
    skipped: list[Skipped] = []
    for start in range(0, len(images.ids), structure.CHUNK):
        part = slice(start, start + structure.CHUNK)
        labels: dict[str, structure.Label | None] = {}
        for sample_id, path, drawn in _draw(source, images, part, config.workers):
            if isinstance(drawn, ImageError):
                skipped.append(Skipped(sample_id=sample_id, filepath=path, reason=str(drawn)))
                continue
            labels[sample_id], fit = drawn
            fits += [] if fit is None else [fit]
            progress(start + len(labels), len(images.ids), "mark structure")
        marked += sum(label is not None for label in labels.values())
        if not config.dry_run:
            changed += structure.save_labels(loop, labels)
    if not config.dry_run:
        writing.group_fields(loop)
    return StructureResult(
        dataset=loop.dataset.name,
        structure=config.structure,
        images=len(images.ids),
        marked=marked,
        changed=changed,
        zone=config.zone,
        margin=config.margin,
        weight=config.weight,
        pitch=source.pitch,
        street=source.street,
        strength=source.strength,
        median_fit=float(np.median(fits)) if fits else None,
        skipped=skipped,
        dry_run=config.dry_run,
    )


def _draw(
    source: Source, images: Images, part: slice, workers: int
) -> Iterator[tuple[str, str, Any]]:
    """Id, path and structure of each image of a part, or the error that says why it is unreadable."""

    def draw(sample_id: str, path: str, size: tuple[int, int] | None) -> tuple[str, str, Any]:
        try:
            return sample_id, path, source.draw(sample_id, path, size or image_size(path))
        except ImageError as error:
            return sample_id, path, error

    with ThreadPoolExecutor(workers) as threads:
        yield from threads.map(draw, images.ids[part], images.paths[part], images.sizes[part])


def _remove(loop: Loop, *, dry_run: bool) -> StructureResult:
    has_field = loop.dataset.get_field(loop.names.structure) is not None
    ids = loop.view.exists(loop.names.structure).values("id") if has_field else []
    changed = 0
    if has_field and not dry_run:
        for start in range(0, len(ids), structure.CHUNK):
            part = dict.fromkeys(ids[start : start + structure.CHUNK])
            changed += structure.save_labels(loop, part)
        if not len(loop.dataset.exists(loop.names.structure)):
            writing.delete_fields(loop.dataset, [loop.names.structure])
            structure.write_record(loop, None)
            writing.group_fields(loop)
    return StructureResult(
        dataset=loop.dataset.name,
        structure="none",
        images=len(ids),
        marked=0,
        changed=changed,
        zone="everywhere",
        dry_run=dry_run,
    )
