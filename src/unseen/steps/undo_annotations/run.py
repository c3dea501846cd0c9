"""Restore labels as they were before a load."""

from __future__ import annotations

from typing import Any

from unseen.annotation import sendings, snapshots
from unseen.dataset import labelling
from unseen.dataset.loop import Loop
from unseen.progress import Progress
from unseen.steps.step import step
from unseen.steps.undo_annotations import UndoConfig, UndoResult


@step(UndoConfig)
def undo_annotations(loop: Loop, config: UndoConfig, progress: Progress) -> UndoResult:
    """Put back the labels of every image that a load changed.

    What is there now is kept as a snapshot too, so that an undo can be undone by its name. The
    annotation run is open again: the next load brings the annotators' labels back.
    """
    snapshot = snapshots.choose(loop, config.snapshot)
    change = snapshots.difference(loop, snapshot)
    kept = None
    if not config.dry_run:
        iteration = loop.iteration()
        kept = snapshots.take(loop, snapshot.anno_key, list(change.current), "undo", snapshot.key)
        snapshots.note_written(loop.dataset, kept, list(change.current))
        # Before the labels: an undo that is killed must not leave a run that looks loaded.
        _open_again(loop, snapshot.anno_key, set(change.current))
        snapshots.put_back(loop.dataset, change)
        labelling.forget(loop, change.current)
        labelling.record(loop, change.current, "undo_annotations")
        entry = {"parameters": config.to_dict(), "restored": snapshot.key, "kept": kept}
        loop.write_entry(iteration, "undo_annotations", entry, **loop.label_facts())
        snapshots.note_restored(loop, snapshot)
    progress(1, 1, "restore labels")
    return UndoResult(
        dataset=loop.dataset.name,
        dry_run=config.dry_run,
        restored=snapshot.key,
        anno_key=snapshot.anno_key,
        images=len(change.current),
        boxes_before=sum(map(_count, change.current.values())),
        boxes_after=sum(map(_count, change.wanted.values())),
        kept=kept,
    )


def _open_again(loop: Loop, anno_key: str, restored: set[str]) -> None:
    """Let the next load look at everything that is still on the server."""
    sending = sendings.read_sending(loop, anno_key)
    if sending is None:
        return
    sending.closed = False
    for task in sending.tasks:
        task.loaded = {}
        if task.gone and restored & set(task.own.values()):
            sending.complete = False  # these images are to be sent again
    sendings.write_sending(loop, sending)


def _count(document: Any) -> int:
    return len((document or {}).get("detections") or [])
