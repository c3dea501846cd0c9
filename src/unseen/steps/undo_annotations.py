"""Restore labels as they were before a load."""

from __future__ import annotations

from typing import Any

from unseen.configs import UndoConfig
from unseen.dataset import reading, sendings, snapshots
from unseen.dataset.fields import Names
from unseen.progress import Progress
from unseen.results import UndoResult
from unseen.steps.step import step


@step(UndoConfig)
def undo_annotations(view: Any, config: UndoConfig, names: Names, progress: Progress) -> UndoResult:
    """Put back the labels of every image that a load changed.

    What is there now is kept as a snapshot too, so that an undo can be undone by its name. The
    annotation run is open again: the next load brings the annotators' labels back.
    """
    dataset = reading.dataset_of(view)
    snapshot = snapshots.choose(dataset, names, config.snapshot)
    current, _, wanted = snapshots.difference(dataset, names, snapshot)
    kept = None
    if not config.dry_run:
        kept = snapshots.take(dataset, names, snapshot.anno_key, list(current), "undo")
        snapshots.note_written(dataset, kept, list(current))
        snapshots.restore(dataset, names, snapshot)
        sending = sendings.read_sending(dataset, names, snapshot.anno_key)
        if sending is not None:
            sending.closed = False
            for task in sending.tasks:
                task.loaded = {}
            sendings.write_sending(dataset, names, sending)
    progress(1, 1, "restore labels")
    return UndoResult(
        dataset=dataset.name,
        dry_run=config.dry_run,
        restored=snapshot.key,
        anno_key=snapshot.anno_key,
        images=len(current),
        boxes_before=sum(map(_count, current.values())),
        boxes_after=sum(map(_count, wanted.values())),
        kept=kept,
    )


def _count(document: Any) -> int:
    return len((document or {}).get("detections") or [])
