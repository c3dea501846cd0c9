"""Hand a batch to the annotators, in rank order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import fiftyone as fo

from unseen.annotation import BACKENDS, sendings
from unseen.annotation.queue import rank_order
from unseen.annotation.sendings import Sending
from unseen.dataset import reading, writing
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ConfigError, DatasetError, LabelError
from unseen.progress import Progress
from unseen.steps.request_annotations import RequestConfig, RequestResult
from unseen.steps.step import step, write_down

if TYPE_CHECKING:
    from unseen.annotation.cvat.plan import Outgoing, Plan


@step(RequestConfig)
def request_annotations(loop: Loop, config: RequestConfig, progress: Progress) -> RequestResult:
    """Send images to CVAT, prepare FiftyOne's Annotate tab, or use another annotation backend.

    Everything is checked before anything is sent or written. Started again after a failure, it
    sends what is missing and nothing twice.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    _check_backend(config.backend)
    iteration, tag, anno_key = _target(loop, config)
    ids = rank_order(loop.tagged(tag), loop.names, tag)
    if not ids:
        raise DatasetError(
            f"no image has the tag {tag!r}; "
            + ("select a batch first" if config.images == "batch" else "split the dataset first")
        )
    earlier = sendings.read_sending(loop, anno_key)
    if earlier is not None and earlier.backend != config.backend:
        raise AnnotationError(
            f"{anno_key} was handed to {earlier.backend} already; continue there with "
            f"backend={earlier.backend!r}, not with {config.backend!r}"
        )
    if earlier is None and loop.dataset.has_annotation_run(anno_key):
        raise AnnotationError(
            f"annotation run {anno_key!r} exists and is not in the records: it was made by another "
            "program, or a request was killed. Remove it with "
            f"dataset.delete_annotation_run({anno_key!r}), and what it left with {config.backend}"
        )
    classes = _classes(loop, config)
    if not classes:
        raise LabelError(
            "there is no class yet; name in 'classes' all that annotators can choose from"
        )
    sending = earlier or sendings.begin(loop, config, anno_key, iteration, classes)
    if config.backend == "cvat":
        result = _to_cvat(loop, config, sending, ids, classes, progress)
    else:
        from unseen.steps.other_annotation import request

        result = request(loop, config, sending, ids, classes)
    # A killed run may have sent without a record, or stored one that the dataset does not name.
    entry = loop.entry(iteration, "request_annotations")
    is_known = entry.get("anno_key") == anno_key and loop.dataset.has_run(
        loop.names.run_key(iteration)
    )
    if not result.dry_run and (result.sent or not is_known):
        writing.group_fields(loop)
        sent = sendings.read_sending(loop, anno_key)
        tasks = [task.task_id for task in sent.tasks] if sent else []
        write_down(loop, iteration, config, result, tasks=tasks)
    return result


def _check_backend(backend: str) -> None:
    known = dict.fromkeys([*BACKENDS, *sorted(fo.annotation_config.backends)])
    if backend not in known:
        raise ConfigError(
            f"unknown annotation backend {backend!r}; expected one of {', '.join(known)}"
        )


def _classes(loop: Loop, config: RequestConfig) -> list[str]:
    """As given or kept by the dataset; else those sent before, and every label seen so far."""
    classes = loop.classes(config.classes)
    if config.classes or loop.dataset.classes.get(loop.names.label_field):
        return classes
    before = [c for s in sendings.read_sendings(loop) for c in s.classes]
    return list(dict.fromkeys([*before, *classes]))


def _target(loop: Loop, config: RequestConfig) -> tuple[int, str, str]:
    """Iteration, tag and annotation key of what is asked for."""
    if config.images == "initial":
        return 0, loop.names.initial_tag, loop.names.own_anno_key("initial")
    if config.images == "test":
        return 0, loop.names.test_tag, loop.names.own_anno_key("test")
    number = config.iteration
    known = loop.batches()
    if number is None:
        loop.check_finished()
        if not known:
            raise DatasetError(
                f"dataset {loop.dataset.name!r} has no batch yet; run select_batch first, or pass "
                "images='initial' to send the initial images"
            )
        number = max(known)
    loop.resolve_iteration(number)
    if number == 0:
        return 0, loop.names.initial_tag, loop.names.own_anno_key("initial")
    return number, loop.names.batch(number), loop.names.anno_key(number)


def _to_cvat(
    loop: Loop,
    config: RequestConfig,
    sending: Sending,
    ids: Sequence[str],
    classes: Sequence[str],
    progress: Progress,
) -> RequestResult:
    from unseen.annotation.cvat.plan import make_plan
    from unseen.annotation.cvat.send import carry_out
    from unseen.dataset.overlays import remove_overlays

    plan = make_plan(loop, config, sending, ids, classes, progress)
    images, boxes = plan.images, plan.boxes()
    media: dict[str, str] = {}
    notes = _notes(loop, config, boxes["suggestion"], classes) if images else []
    if images and plan.reference is not None:
        notes.append(f"Images without anything drawn in are named on {plan.reference}.")
    floats = sum(image.is_float for image in (*images, *plan.golden))
    if floats:
        notes.append(
            f"{floats} images hold floats, which CVAT shows black: copies in 8 bits are sent."
        )
    is_drawn = config.overlay or config.structure or config.regions_only
    if images and not config.dry_run:
        if is_drawn or floats:
            shown = [i for i in (*images, *plan.golden) if is_drawn or i.is_float]
            media = _copies(loop, config, plan, progress, shown)
        if is_drawn:
            plain = sum(media.get(i.sample_id) == i.filepath for i in images)
            if plain:
                notes.append(f"{plain} images have nothing to draw in and are sent as they are.")
        try:
            carry_out(loop, plan, media, progress)
        except BaseException:
            if media and not sending.tasks:
                remove_overlays(loop, _overlay_folder(loop, config, plan), media)
            raise
        writing.group_fields(loop)
    return RequestResult(
        dataset=loop.dataset.name,
        anno_key=sending.anno_key,
        backend="cvat",
        images=len(sending.sent_ids()),
        sent=len(images),
        dry_run=config.dry_run,
        complete=sending.complete,
        tasks=[{"name": t.name, "url": t.url, "images": len(t.own)} for t in sending.live_tasks],
        classes=list(classes),
        suggestions=boxes["suggestion"],
        predictions=boxes["prediction"],
        labels=boxes["label"],
        overlays=sum(is_drawn and media.get(i.sample_id, i.filepath) != i.filepath for i in images),
        in_part=sum(image.sample_id in sending.scopes for image in images),
        golden=len(plan.golden),
        second_opinions=len(plan.seconds),
        notes=notes,
    )


def _notes(
    loop: Loop, config: RequestConfig, suggestions: int, classes: Sequence[str]
) -> list[str]:
    notes = []
    if config.suggestions and not suggestions and config.images == "batch":
        notes.append("There are no unseen regions to suggest: these images were not scored.")
    if not config.classes and not loop.dataset.classes.get(loop.names.label_field):
        notes.append(
            f"Annotators can choose the classes seen so far: {', '.join(classes)}. Pass classes= "
            "to offer others."
        )
    return notes


def _copies(
    loop: Loop, config: RequestConfig, plan: Plan, progress: Progress, images: Sequence[Outgoing]
) -> dict[str, str]:
    """Sample id -> the copy with something drawn in, or the image if it needs none."""
    from unseen.dataset.overlays import write_overlays

    return write_overlays(
        loop.on(loop.dataset.select([i.sample_id for i in images])),
        _overlay_folder(loop, config, plan),
        opacity=config.overlay_opacity,
        heat=config.overlay,
        lines=config.structure,
        scopes=plan.sending.scopes,
        progress=progress,
    )


def _overlay_folder(loop: Loop, config: RequestConfig, plan: Plan) -> Path:
    from unseen.dataset.overlays import overlay_folder

    return overlay_folder(loop, config.model_dir) / plan.sending.anno_key
