"""Handing out and closing batches where nothing of CVAT is asked.

In the App people label straight into the label field: there is nothing to send, and loading only
closes the batch. Other backends of FiftyOne (Label Studio, Labelbox, your own) pass through.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

from unseen.configs import LoadConfig, RequestConfig
from unseen.dataset import app_annotation, other_backends, sendings, snapshots, truth, writing
from unseen.dataset.fields import LOADED, SENT, Names
from unseen.dataset.sendings import Sending
from unseen.errors import AnnotationError, LabelError
from unseen.results import RequestResult


def request(
    dataset: Any,
    config: RequestConfig,
    names: Names,
    anno_key: str,
    iteration: int,
    ids: Sequence[str],
    classes: Sequence[str],
) -> RequestResult:
    """Make a batch ready for the App, or send it through another backend."""
    if not classes:
        raise LabelError(
            "there is no class yet; pass classes=, with all that annotators shall choose from"
        )
    earlier = sendings.read_sending(dataset, names, anno_key)
    there = set(earlier.sent_ids()) if earlier else set()
    new = [i for i in ids if i not in there]
    if earlier is not None and new and config.backend != "app":
        raise AnnotationError(
            f"{anno_key} was handed to {config.backend} with {len(there)} images, and {len(new)} "
            "came since; that tool takes no more into one run. Send them with the next batch"
        )
    result = RequestResult(
        dataset=dataset.name,
        anno_key=anno_key,
        backend=config.backend,
        images=len(there) + (0 if config.dry_run else len(new)),
        sent=len(new),
        dry_run=config.dry_run,
        complete=earlier is not None and not new,
        classes=list(classes),
        notes=_notes(config, names, iteration),
    )
    if config.dry_run or not new:
        return result
    if config.backend == "app":
        app_annotation.prepare(dataset, names, classes)
    else:
        given = {"url": config.url, "project_name": config.project}
        settings = {name: value for name, value in given.items() if value is not None}
        other_backends.check(config.backend, settings)
        truth.declare_fields(dataset, names)
        images = dataset.select(new, ordered=True)
        other_backends.send(images, anno_key, config.backend, names.label_field, classes, settings)
    truth.declare_fields(dataset, names)
    truth.write(dataset, names, anno_key, {i: truth.Update(state=SENT, base=[]) for i in new})
    sending = earlier or Sending(
        anno_key=anno_key,
        images=config.images,
        iteration=iteration,
        backend=config.backend,
        label_field=names.label_field,
        classes=list(classes),
        parameters=config.to_dict(),
        token=secrets.token_hex(4),
        started_at=sendings.now(),
    )
    sending.sample_ids = [*sending.sample_ids, *new]
    sending.complete, sending.closed = True, False
    sendings.write_sending(dataset, names, sending)
    writing.group_fields(dataset, names)
    return result


def close(dataset: Any, names: Names, config: LoadConfig, sending: Sending, tally: Any) -> None:
    """Count what is labelled; close the batch once nothing is missing.

    Args:
        dataset: the dataset.
        names: the loop.
        config: how to load.
        sending: a batch of another backend than CVAT.
        tally: is added to.
    """
    before = truth.read(dataset, names, sending.anno_key, sending.sample_ids)
    if sending.backend != "app" and not config.dry_run:
        kept = snapshots.take(dataset, names, sending.anno_key, sending.sample_ids, "load")
        snapshots.note_written(dataset, kept, sending.sample_ids)
        tally.snapshots.append(kept)
        other_backends.load(dataset, sending.anno_key)
    held = truth.read(dataset, names, sending.anno_key, sending.sample_ids)
    _count(before, held, tally)
    unlabelled = [i for i, t in held.items() if t.document is None]
    if unlabelled and not config.empty_is_labelled:
        tally.unopened += len(unlabelled)
        tally.notes.append(
            f"{len(unlabelled)} images of {sending.anno_key} have no labels yet. Label them, or "
            "load with empty_is_labelled=True if somebody looked at them and there is nothing"
        )
    elif unlabelled:
        tally.empty += len(unlabelled)
    if config.dry_run:
        return
    updates = {i: truth.Update(state=LOADED) for i, t in held.items() if t.document is not None}
    if unlabelled and config.empty_is_labelled:
        kept = snapshots.take(dataset, names, sending.anno_key, unlabelled, "load")
        snapshots.note_written(dataset, kept, unlabelled)
        tally.snapshots.append(kept)
        nothing = truth.merged_document(None, [])
        updates.update({i: truth.Update(state=LOADED, document=nothing) for i in unlabelled})
        tally.written += len(unlabelled)
    truth.write(dataset, names, sending.anno_key, updates)
    if len(updates) == len(held) and not sending.closed:
        sending.closed = True
        sendings.write_sending(dataset, names, sending)


def _count(before: dict[str, truth.Truth], held: dict[str, truth.Truth], tally: Any) -> None:
    for i, now in held.items():
        if now.document is None:
            continue
        boxes = now.boxes()
        tally.labelled += bool(boxes)
        tally.empty += not boxes
        if now.state != LOADED:  # new since the last look
            tally.changes.added += Counter(box.label for box in boxes)
        tally.written += before[i].document != now.document


def _notes(config: RequestConfig, names: Names, iteration: int) -> list[str]:
    notes = []
    if config.backend == "app":
        view = names.batch(iteration) if iteration else f"tag {config.images}"
        notes.append(
            f"Open the dataset in the App, choose the view {view}, open an image and its Annotate "
            "tab. Then run load_annotations to close the batch."
        )
    if config.predictions or config.overlay:
        notes.append("Predictions and overlays are sent to CVAT only.")
    return notes
