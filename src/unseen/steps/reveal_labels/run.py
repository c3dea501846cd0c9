"""The simulated annotator: copy labels from a hidden field."""

from __future__ import annotations

from typing import Any

from bson import ObjectId

from unseen.dataset import labelling, reading, scope, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError
from unseen.progress import Progress
from unseen.steps.reveal_labels import RevealConfig, RevealResult
from unseen.steps.step import step, write_down

_STEP = "reveal_labels"


@step(RevealConfig)
def reveal_labels(loop: Loop, config: RevealConfig, progress: Progress) -> RevealResult:
    """Label a batch (or the initial images) with what a hidden field holds.

    Samples keep the labels they have. A sample whose hidden field is None gets empty labels: the
    annotator looked and found nothing. With `regions_only` the annotator looks at the unseen regions
    of a batch alone and copies the boxes that reach into them; images without a region are labelled
    as a whole.
    """
    names, dataset = loop.names, loop.dataset
    reading.check_label_field(dataset, config.hidden_field, parameter="hidden_field")
    reading.check_label_field(dataset, names.label_field, must_exist=False)
    writing.set_labels(dataset, names.label_field, {})
    labelling.declare(loop)
    given = config.iteration
    iteration = _next_to_label(loop) if given is None else loop.resolve_iteration(given)
    tag = names.batch(iteration) if iteration else names.initial_tag
    batch = loop.tagged(tag)
    if not len(batch):
        remedy = "select a batch" if iteration else "split the dataset"
        raise DatasetError(f"no sample has the tag {tag!r}; {remedy} first")
    ids, hidden = reading.raw_values(loop.without_labels(batch), [config.hidden_field])
    boxes = {
        i: [{**box, "_id": ObjectId()} for box in (truth or {}).get("detections") or []]
        for i, truth in zip(ids, hidden[config.hidden_field], strict=True)
    }
    scopes: dict[str, scope.Scope] = {}
    if config.regions_only and iteration:
        scopes = scope.around_regions(loop, ids, strongest=config.regions_per_image)
        scope.declare(loop)
    for i, part in scopes.items():
        boxes[i] = [box for box in boxes[i] if reading.has_place(box["bounding_box"])]
        seen = scope.reaches([box["bounding_box"] for box in boxes[i]], part)
        boxes[i] = [box for box, is_seen in zip(boxes[i], seen, strict=True) if is_seen]
    # One update per image, and a count of what is on record: a run that is killed can be repeated.
    entry = labelling.entry(_STEP, iteration)
    updates: dict[str, dict[str, Any]] = {}
    for i, found in boxes.items():
        labels = {"_cls": "Detections", "detections": found}
        updates[i] = {names.label_field: labels, names.labelled: entry}
        if i in scopes:
            updates[i][names.scope] = scope.document(scopes[i])
    writing.set_raw(dataset, updates)
    is_cut_short = not loop.entry(iteration, _STEP)
    revealed = _revealed(loop, batch, iteration) if is_cut_short else dataset.select(ids)
    counts = reading.class_counts(revealed, names.label_field)
    result = RevealResult(
        dataset=dataset.name,
        iteration=iteration,
        images=len(revealed),
        boxes=sum(counts.values()),
        class_counts=counts,
        partly_labelled=scope.count(loop.on(revealed)),
    )
    if result.images:  # nothing new must not change what the record says was labelled then
        write_down(loop, iteration, config, result, loop.label_facts())
    progress(1, 1, "reveal labels")
    return result


def _revealed(loop: Loop, batch: Any, iteration: int) -> Any:
    """The samples of a batch that this step has labelled."""
    field = loop.names.labelled
    return batch.match({f"{field}.step": _STEP, f"{field}.iteration": iteration})


def _next_to_label(loop: Loop) -> int:
    """The first batch with an unlabelled sample, or one that was cut short; the initial images first."""
    tags = {0: loop.names.initial_tag, **loop.batches()}
    for number, tag in tags.items():
        batch = loop.whole.tagged(tag)
        if len(loop.without_labels(batch).limit(1)):
            return number
        if not loop.entry(number, _STEP) and len(_revealed(loop, batch, number).limit(1)):
            return number
    raise DatasetError(
        f"every selected image of dataset {loop.dataset.name!r} is labelled; select the next batch "
        "first"
    )
