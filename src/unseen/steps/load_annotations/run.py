"""Take the annotators' labels back."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from unseen.annotation import sendings
from unseen.annotation.sendings import Sending
from unseen.dataset import labelling, reading, writing
from unseen.dataset.fields import REGION_LABEL
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError
from unseen.progress import Progress
from unseen.steps.load_annotations import LoadConfig, LoadResult
from unseen.steps.step import elapsed, step

if TYPE_CHECKING:
    from unseen.annotation.cvat.receive import Tally


@step(LoadConfig)
def load_annotations(loop: Loop, config: LoadConfig, progress: Progress) -> LoadResult:
    """Merge finished jobs into the labels; everything else waits.

    Can be run at any time and repeatedly: what was loaded once is not loaded twice. The labels from
    before are kept for `undo_annotations`.
    """
    from unseen.annotation.cvat.receive import Tally, load
    from unseen.steps.other_annotation import close

    runs = sendings.find_sendings(loop, config.anno_key)
    if not runs:
        raise AnnotationError(
            f"nothing was sent from dataset {loop.dataset.name!r} yet; run request_annotations first"
        )
    sendings.check_label_field(runs, loop.names)
    reading.check_label_field(loop.dataset, loop.names.label_field, must_exist=False)
    open_before = {s.anno_key for s in runs if not s.closed}
    tally = Tally()
    problem = None
    try:
        load(loop, config, [s for s in runs if s.backend == "cvat"], tally, progress)
    except AnnotationError as error:
        problem = error  # what came before it is loaded, and belongs in the records
    for sending in runs:
        if sending.backend != "cvat" and (not sending.closed or config.anno_key):
            try:
                close(loop, config, sending, tally)
            except AnnotationError as error:
                problem = problem or error
    result = _result(loop, config, runs, tally, open_before)
    if not config.dry_run:
        labelling.record(loop, labelling.loaded_ids(loop), "load_annotations")
        if tally.added_classes:
            _add_classes(loop, runs, sorted(tally.added_classes))
        facts, record = loop.label_facts(), loop.record(loop.iteration()) or {}
        is_known = all(record.get(name) == value for name, value in facts.items())
        if tally.written or result.closed or not is_known:  # a killed run recorded nothing
            writing.group_fields(loop)
            entry = {"parameters": config.to_dict(), "seconds": elapsed()}
            entry["result"] = result.to_dict()
            loop.write_entry(loop.iteration(), "load_annotations", entry, **facts)
    if problem is not None:
        raise problem
    return result


def _add_classes(loop: Loop, runs: list[Sending], new: list[str]) -> None:
    """Add new classes to every class list that is kept."""
    for sending in runs:
        if not set(new) <= set(sending.classes):
            sending.classes = list(dict.fromkeys([*sending.classes, *new]))
            sendings.write_sending(loop, sending)
    if kept := loop.dataset.classes.get(loop.names.label_field):
        loop.dataset.classes[loop.names.label_field] = list(dict.fromkeys([*kept, *new]))
    elif loop.dataset.default_classes:
        loop.dataset.default_classes = list(dict.fromkeys([*loop.dataset.default_classes, *new]))
    loop.dataset.save()


def _result(
    loop: Loop, config: LoadConfig, runs: list[Sending], tally: Tally, open_before: set[str]
) -> LoadResult:
    if by_hand := tally.changes.hand_drawn_suggestions:
        kind = f"box of class {REGION_LABEL!r} drawn by hand, which is no label"
        tally.oddities[kind] += by_hand

    def plain(value: Any) -> Any:
        if isinstance(value, Counter):
            return {name: value[name] for name in sorted(value) if value[name]}
        return value

    counted = {**vars(tally.changes), **vars(tally)}
    names = [f.name for f in dataclasses.fields(LoadResult) if f.name in counted]
    return LoadResult(
        dataset=loop.dataset.name,
        dry_run=config.dry_run,
        anno_keys=[s.anno_key for s in runs],
        closed=[s.anno_key for s in runs if s.closed and s.anno_key in open_before],
        **{name: plain(counted[name]) for name in names},
    )
