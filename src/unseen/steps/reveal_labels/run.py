"""The simulated annotator: copy labels from a hidden field."""

from __future__ import annotations

from collections import Counter

import fiftyone as fo

from unseen.dataset import labelling, reading, scope, writing
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError
from unseen.progress import Progress
from unseen.steps.reveal_labels import RevealConfig, RevealResult
from unseen.steps.step import step, write_down


@step(RevealConfig)
def reveal_labels(loop: Loop, config: RevealConfig, progress: Progress) -> RevealResult:
    """Label a batch (or the initial images) with what a hidden field holds.

    Samples keep the labels they have. A sample whose hidden field is None gets empty labels: the
    annotator looked and found nothing. With `regions_only` the annotator looks at the unseen regions
    of a batch alone and copies the boxes that reach into them; images without a region are labelled
    as a whole.
    """
    names = loop.names
    reading.check_label_field(loop.dataset, config.hidden_field, parameter="hidden_field")
    reading.check_label_field(loop.dataset, names.label_field, must_exist=False)
    writing.set_labels(loop.dataset, names.label_field, {})
    given = config.iteration
    iteration = _next_to_label(loop) if given is None else loop.resolve_iteration(given)
    tag = names.batch(iteration) if iteration else names.initial_tag
    batch = loop.view.match_tags(tag)
    if not len(batch):
        remedy = "select a batch" if iteration else "split the dataset"
        raise DatasetError(f"no sample has the tag {tag!r}; {remedy} first")
    unlabelled = loop.without_labels(batch)
    ids, truths = unlabelled.values(["id", config.hidden_field])
    labels = {
        i: truth.copy() if truth is not None else fo.Detections()
        for i, truth in zip(ids, truths, strict=True)
    }
    scopes: dict[str, scope.Scope] = {}
    if config.regions_only and iteration:
        scopes = scope.around_regions(loop, ids, strongest=config.regions_per_image)
    for i, part in scopes.items():
        boxes = labels[i].detections
        seen = scope.reaches([d.bounding_box for d in boxes], part)
        labels[i].detections = [d for d, is_seen in zip(boxes, seen, strict=True) if is_seen]
    writing.set_labels(loop.dataset, names.label_field, labels)
    labelling.record(loop, labels, "reveal_labels")
    scope.write(loop, scopes)
    counts = Counter(d.label for truth in labels.values() for d in truth.detections)
    result = RevealResult(
        dataset=loop.dataset.name,
        iteration=iteration,
        images=len(labels),
        boxes=counts.total(),
        class_counts=dict(sorted(counts.items())),
        partly_labelled=len(scopes),
    )
    if labels:  # nothing new must not change what the record says was labelled then
        write_down(loop, iteration, config, result, loop.label_facts())
    progress(1, 1, "reveal labels")
    return result


def _next_to_label(loop: Loop) -> int:
    """The first batch with an unlabelled sample; the initial images come first."""
    tags = {0: loop.names.initial_tag, **loop.batches()}
    for number, tag in tags.items():
        if len(loop.without_labels(loop.dataset.match_tags(tag)).limit(1)):
            return number
    raise DatasetError(
        f"every selected image of dataset {loop.dataset.name!r} is labelled; select the next batch "
        "first"
    )
