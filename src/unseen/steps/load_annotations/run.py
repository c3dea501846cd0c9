"""Take the annotators' labels back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from unseen.annotation import sendings
from unseen.annotation.sendings import Sending
from unseen.dataset import reading, writing
from unseen.dataset.fields import REGION_LABEL
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError
from unseen.progress import Progress
from unseen.steps.load_annotations import LoadConfig, LoadResult
from unseen.steps.step import elapsed, step


@step(LoadConfig)
def load_annotations(loop: Loop, config: LoadConfig, progress: Progress) -> LoadResult:
    """Merge finished jobs into the labels; everything else waits.

    Can be run at any time and as often as one likes: what was loaded once is not loaded twice.
    Labels as they were before are kept for `undo_annotations`.
    """
    from unseen.annotation.cvat.load import load
    from unseen.annotation.cvat.tally import Tally
    from unseen.steps.other_annotation import close

    found = sendings.find_sendings(loop, config.anno_key)
    if not found:
        raise AnnotationError(
            f"nothing was sent from dataset {loop.dataset.name!r} yet; run request_annotations first"
        )
    sendings.check_label_field(found, loop.names)
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    open_before = {s.anno_key for s in found if not s.closed}
    tally = Tally()
    problem = None
    try:
        load(loop, config, [s for s in found if s.backend == "cvat"], tally, progress)
    except AnnotationError as error:
        problem = error  # what came before it is loaded, and belongs into the records
    for sending in found:
        if sending.backend != "cvat" and (not sending.closed or config.anno_key):
            try:
                close(loop, config, sending, tally)
            except AnnotationError as error:
                problem = problem or error
    result = _result(loop.dataset, config, found, tally, open_before)
    if not config.dry_run:
        if tally.added_classes:
            _add_classes(loop, found, sorted(tally.added_classes))
        if tally.written or result.closed:
            writing.group_fields(loop)
            _record(loop, config, result)
    if problem is not None:
        raise problem
    return result


def _add_classes(loop: Loop, found: list[Sending], new: list[str]) -> None:
    """Where a class list is kept, new classes belong to it."""
    for sending in found:
        if not set(new) <= set(sending.classes):
            sending.classes = list(dict.fromkeys([*sending.classes, *new]))
            sendings.write_sending(loop, sending)
    if kept := loop.dataset.classes.get(loop.names.label_field):
        loop.dataset.classes[loop.names.label_field] = list(dict.fromkeys([*kept, *new]))
    elif loop.dataset.default_classes:
        loop.dataset.default_classes = list(dict.fromkeys([*loop.dataset.default_classes, *new]))
    loop.dataset.save()


def _result(
    dataset: Any, config: LoadConfig, found: list[Sending], tally: Any, open_before: set[str]
) -> LoadResult:
    changes = tally.changes
    if changes.hand_drawn_suggestions:
        tally.oddities[f"box of class {REGION_LABEL!r} drawn by hand, which is no label"] += (
            changes.hand_drawn_suggestions
        )

    def counts(counter: Counter[str]) -> dict[str, int]:
        return {k: counter[k] for k in sorted(counter) if counter[k]}

    return LoadResult(
        dataset=dataset.name,
        dry_run=config.dry_run,
        anno_keys=[s.anno_key for s in found],
        jobs_loaded=tally.jobs_loaded,
        jobs_waiting=tally.jobs_waiting,
        labelled=tally.labelled,
        empty=tally.empty,
        unopened=tally.unopened,
        removed=tally.removed,
        written=tally.written,
        added=counts(changes.added),
        changed=counts(changes.changed),
        deleted=counts(changes.deleted),
        suggestions_accepted=counts(changes.suggestions_accepted),
        suggestions_left=changes.suggestions_left,
        suggestions_rejected=changes.suggestions_rejected,
        predictions_kept=counts(changes.predictions_kept),
        predictions_changed=counts(changes.predictions_changed),
        predictions_deleted=counts(changes.predictions_deleted),
        kept_local=changes.kept_local,
        conflicts=changes.conflicts,
        new_classes=counts(tally.new_classes),
        refused=tally.refused,
        oddities=counts(tally.oddities),
        examples=tally.examples,
        gone=tally.gone,
        snapshots=tally.snapshots,
        closed=[s.anno_key for s in found if s.closed and s.anno_key in open_before],
        notes=tally.notes,
    )


def _record(loop: Loop, config: LoadConfig, result: LoadResult) -> None:
    entry = {"parameters": config.to_dict(), "seconds": elapsed(), "result": result.to_dict()}
    loop.write_entry(loop.iteration(), "load_annotations", entry, **loop.label_facts())
