"""Handing out and closing batches without CVAT.

In the App people label straight into the label field: there is nothing to send, and loading only
closes the batch. Other backends of FiftyOne (Label Studio, Labelbox, your own) pass through.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unseen.annotation import app_annotation, other_backends, sendings, snapshots, truth
from unseen.annotation.merge import KnownBox
from unseen.annotation.sendings import Sending
from unseen.dataset import scope, writing
from unseen.dataset.fields import LOADED, SENT
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError
from unseen.steps.load_annotations import LoadConfig
from unseen.steps.request_annotations import RequestConfig, RequestResult

if TYPE_CHECKING:
    from unseen.annotation.cvat.receive import Tally


def request(
    loop: Loop,
    config: RequestConfig,
    sending: Sending,
    ids: Sequence[str],
    classes: Sequence[str],
) -> RequestResult:
    """Prepare a batch for the App, or send it through another backend.

    `sending` is new or as an earlier run left it.
    """
    anno_key, there = sending.anno_key, set(sending.sent_ids())
    new = [i for i in ids if i not in there]
    if there and new and config.backend != "app":
        raise AnnotationError(
            f"{anno_key} was handed to {config.backend} with {len(there)} images, and {len(new)} "
            "came since; that tool takes no more into one run. Send them with the next batch"
        )
    if config.regions_only and config.backend != "app":
        raise AnnotationError(
            f"regions_only=True with backend={config.backend!r}, which shows no outlines; use cvat "
            "or app, or leave regions_only out"
        )
    result = RequestResult(
        dataset=loop.dataset.name,
        anno_key=anno_key,
        backend=config.backend,
        images=len(there) + (0 if config.dry_run else len(new)),
        sent=len(new),
        dry_run=config.dry_run,
        complete=not new,
        classes=list(classes),
        notes=_notes(loop, config, sending.iteration),
    )
    if config.dry_run or not new:
        return result
    scopes = scope.asked_for(loop, config, new)
    if config.backend == "app":
        # Before the schemas: the rectangles can be moved in the Annotate tab.
        scope.write(loop, scopes)
        app_annotation.prepare(loop, classes)
    else:
        given = {"url": config.url, "project_name": config.project}
        settings = {name: value for name, value in given.items() if value is not None}
        other_backends.send(loop, new, anno_key, config.backend, classes, settings)
    truth.declare_fields(loop)
    held = truth.read(loop, anno_key, new)
    updates = {i: truth.Update(state=SENT, base=_known(t)) for i, t in held.items()}
    truth.write(loop, anno_key, updates)
    sending.sample_ids = [*sending.sample_ids, *new]
    sending.complete, sending.closed = True, False
    sending.scopes = {**sending.scopes, **scopes}
    sendings.write_sending(loop, sending)
    writing.group_fields(loop)
    return dataclasses.replace(result, in_part=len(scopes))


def close(loop: Loop, config: LoadConfig, sending: Sending, tally: Tally) -> None:
    """Take over what was drawn since the last load; close the batch once nothing is missing."""
    if not config.dry_run:
        truth.declare_fields(loop)
    before = truth.read(loop, sending.anno_key, sending.sample_ids)
    kept = None
    if sending.backend != "app" and config.dry_run:
        tally.note(f"A dry run cannot look into {sending.backend}; this is what is here.")
    elif sending.backend != "app":
        kept = _load_other(loop, sending)
    held = truth.read(loop, sending.anno_key, sending.sample_ids)
    unlabelled = [i for i, t in held.items() if t.document is None]
    updates = {}
    for i, now in held.items():
        if now.document is None:
            continue
        known = _known(now)
        is_new = now.state != LOADED
        if _count(now, tally) or is_new:
            tally.written += 1
        if is_new or known != now.base:
            updates[i] = truth.Update(state=LOADED, base=known)
    if unlabelled and not config.empty_is_labelled:
        tally.unopened += len(unlabelled)
        tally.note(
            f"{len(unlabelled)} images of {sending.anno_key} have no labels yet. Label them, or "
            "load with empty_is_labelled=True if somebody looked at them and there is nothing"
        )
    elif unlabelled:
        tally.empty += len(unlabelled)
        tally.written += len(unlabelled)
        empty = truth.Update(state=LOADED, document=truth.merged_document(None, []), base=[])
        updates.update(dict.fromkeys(unlabelled, empty))
    if config.dry_run:
        return
    if unlabelled and config.empty_is_labelled:
        kept = kept or snapshots.take(loop, sending.anno_key, unlabelled, "load")
    if kept is not None:
        changed = {i for i, t in held.items() if t.document != before[i].document}
        if snapshots.narrow(loop.dataset, kept, changed.union(updates.keys() & set(unlabelled))):
            tally.snapshots.append(kept)
    if updates:
        truth.write(loop, sending.anno_key, updates)
    is_done = config.empty_is_labelled or not unlabelled
    if is_done and not sending.closed:
        sending.closed = True
        sendings.write_sending(loop, sending)


def _load_other(loop: Loop, sending: Sending) -> str:
    """Let FiftyOne load from the backend: everything or nothing. Returns the snapshot from before."""
    kept = snapshots.take(loop, sending.anno_key, sending.sample_ids, "load")
    snapshots.note_written(loop.dataset, kept, sending.sample_ids)
    try:
        other_backends.load(loop.dataset, sending.anno_key)
    except BaseException:
        snapshot = next(s for s in snapshots.list_snapshots(loop) if s.key == kept)
        snapshots.put_back(loop.dataset, snapshots.difference(loop, snapshot))
        snapshots.narrow(loop.dataset, kept, [])
        raise
    return kept


def _known(now: truth.Truth) -> list[KnownBox]:
    """The labels as they are, to tell at the next load what changed."""
    return [
        KnownBox("label", box.id, None, None, box.label, box.box, in_truth=True)
        for box in now.boxes()
    ]


def _count(now: truth.Truth, tally: Tally) -> bool:
    """Count the boxes of an image and their changes since the last load; whether there are any."""
    boxes = {box.id: box for box in now.boxes()}
    known = {box.id: box for box in now.base or []}
    tally.labelled += bool(boxes)
    tally.empty += not boxes
    added = [box.label for i, box in boxes.items() if i not in known]
    deleted = [box.label for i, box in known.items() if i not in boxes]
    changed = [
        box.label
        for i, box in boxes.items()
        if i in known and (box.label, box.box) != (known[i].label, known[i].box)
    ]
    tally.changes.added += Counter(added)
    tally.changes.deleted += Counter(deleted)
    tally.changes.changed += Counter(changed)
    return bool(added or deleted or changed)


def _notes(loop: Loop, config: RequestConfig, iteration: int) -> list[str]:
    notes = []
    if config.backend == "app":
        view = (
            loop.names.batch(iteration)
            if iteration
            else getattr(loop.names, f"{config.images}_tag")
        )
        notes.append(
            f"Open the dataset in the App, choose the view {view}, open an image and its Annotate "
            "tab. Then run load_annotations to close the batch."
        )
    if config.predictions or config.auto_labels or config.overlay or config.structure:
        notes.append("Predictions, overlays and structure are sent to CVAT only.")
    return notes
