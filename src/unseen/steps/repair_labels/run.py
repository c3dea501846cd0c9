"""Clear or confirm empty lists of labels that are not on record."""

from __future__ import annotations

from unseen.dataset import labelling, reading, writing
from unseen.dataset.loop import Loop
from unseen.progress import Progress
from unseen.steps.repair_labels import RepairConfig, RepairResult
from unseen.steps.step import step


@step(RepairConfig)
def repair_labels(loop: Loop, config: RepairConfig, progress: Progress) -> RepairResult:
    """Clear the label field where nobody looked, or record that somebody did.

    It concerns samples with an empty list that no step and no annotator answers for, such as
    `map_labels().save()` leaves behind. Until then they count as unlabelled.
    """
    reading.check_label_field(loop.dataset, loop.names.label_field)
    ids = labelling.unrecorded(loop).values("id")
    if ids and not config.dry_run:
        if config.empty_lists == "labelled":
            labelling.record(loop, ids, "repair_labels")
        else:
            writing.set_raw(loop.dataset, {i: {loop.names.label_field: None} for i in ids})
    progress(1, 1, "repair labels")
    return RepairResult(
        dataset=loop.dataset.name,
        images=len(ids),
        empty_lists=config.empty_lists,
        dry_run=config.dry_run,
    )
