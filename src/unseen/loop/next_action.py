"""Where the loop stands -> the one right thing to do now.

A decision table: the first row that applies is the action. What people wait for comes first; what
a computer can do while people label comes while they label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from unseen.loop.overview_data import CURRENT, NONE, OLD, Action, Facts

#: How the buttons are labelled.
LABELS = {
    "import_samples": "Import images",
    "prepare_dataset": "Set up the dataset",
    "mark_structure": "Mark known structure",
    "screen_images": "Screen the images",
    "split_dataset": "Split the dataset",
    "train_unet": "Train the UNet",
    "score_samples": "Score the pool",
    "select_batch": "Select a batch",
    "request_annotations": "Hand out the images",
    "load_annotations": "Load labels",
    "list_annotations": "Ask how far labelling is",
    "undo_annotations": "Undo a load",
    "train_detector": "Train the detector",
    "apply_detector": "Predict on the test split",
    "evaluate_detector": "Measure the detector",
    "compare_iterations": "Write the report",
    "next_iteration": "Do all that is due",
}


def next_action(facts: Facts) -> Action:
    """The first row of the decision table that applies."""
    return next(_rows(facts))


def other_actions(facts: Facts, best: Action) -> list[Action]:
    """What else makes sense now, in the order of the loop, without `best`."""
    return [a for a in _possible(facts) if (a.operator, a.params) != (best.operator, best.params)]


def hints(facts: Facts) -> list[str]:
    """What is missing without stopping the loop."""
    counts = facts.counts
    found = []
    if counts.images and facts.is_split and not counts.test:
        found.append(
            "There is no test split, so the detector cannot be measured: tag some images and "
            "label them before the first batch."
        )
    elif counts.test_unlabelled:
        found.append(
            f"{_of(counts.test_unlabelled, counts.test)} of the test split "
            f"{_have(counts.test_unlabelled)} no labels yet; the detector is measured on the "
            "labelled ones only."
            if counts.test > counts.test_unlabelled
            else f"The test split ({_images(counts.test)}) has no labels yet, so the detector "
            "cannot be measured. Hand it out with images='test'."
        )
    if facts.batch is not None and facts.batch.problem:
        found.append(facts.batch.problem)
    return found


def empty_state(facts: Facts) -> str | None:
    """What to do first, where there is nothing to show yet."""
    counts = facts.counts
    if not counts.images:
        return (
            "The dataset is empty. Import images first; then set it up and label the initial ones."
        )
    if not facts.is_split and not counts.labelled:
        return (
            f"{_images(counts.images)}, none of them labelled or split yet. Set the dataset up: a "
            "fixed test split measures the detector, a few initial images start the loop."
        )
    if not counts.labelled:
        return "No image is labelled yet. The ranking starts with the labels of the initial images."
    return None


# --- the table -----------------------------------------------------------------------------------
def _rows(facts: Facts) -> Iterator[Action]:
    """The rows that apply, first one first; the last one always does."""
    counts, batch = facts.counts, facts.batch
    usable = counts.images - counts.test - counts.excluded
    if usable <= 0:
        reason = (
            "The dataset is empty."
            if not counts.images
            else "Every image is in the test split or excluded."
        )
        yield _action("import_samples", reason)
    untouched = batch is None or (batch.number == 0 and not batch.images)
    if untouched and not counts.out:
        if not counts.labelled:
            yield _action("prepare_dataset", "No images are chosen to begin with.")
        elif not facts.is_split and facts.unet == NONE:
            yield _action("prepare_dataset", "There is no test split to measure the detector on.")
    yield from _labelling(facts)
    if counts.pool and counts.labelled:
        yield from _ranking(facts)
    if batch is None and not counts.labelled:  # all that is left is with the annotators
        yield _action("load_annotations", f"{_images(counts.out)} are out for labelling.")
    yield from _detector(facts)
    yield _action("compare_iterations", "Nothing is left to label: every image has its place.")


def _labelling(facts: Facts) -> Iterator[Action]:
    """The newest batch, or the initial images, on their way through labelling."""
    batch = facts.batch
    if batch is None or not batch.images:
        return
    name = "initial images" if batch.number == 0 else batch.name
    missing = batch.missing
    given_up = batch.closed and batch.labelled > 0
    if missing and not given_up:
        params = {"images": "initial" if batch.number == 0 else "batch"}
        have = f"{batch.labelled} of {batch.images} have labels"
        if not batch.sent:
            begun = f"; {have}" if batch.labelled else ""
            text = f"{_images(batch.images)} of {name} are not handed out yet{begun}."
            if batch.number == 0:
                text = f"The {batch.images} initial images need labels first{begun}."
            yield _action("request_annotations", text, **params)
        if not batch.complete:
            text = f"Only {batch.sent} of {batch.images} images of {name} were sent."
            yield _action("request_annotations", text, **params)
        if batch.waiting_to_load:
            text = f"{batch.waiting_to_load} of {batch.images} images are done in {batch.backend}."
            yield _action("load_annotations", text)
        if not batch.labelled or batch.waiting_to_load == 0:
            yield from _detector(facts, f"While {name} is being labelled: ")
        known = "" if batch.waiting_to_load is None else ", no more are done yet"
        text = f"{batch.labelled} of {batch.images} images of {name} are back{known}."
        yield _action("load_annotations", text)
    elif batch.sent and not batch.closed and batch.backend not in (None, "cvat"):
        yield _action("load_annotations", f"All images of {name} are labelled: close the batch.")


def _ranking(facts: Facts) -> Iterator[Action]:
    """Train, score, select."""
    counts = facts.counts
    if not counts.boxes:
        text = "No labelled image holds a box to learn from: label some random images."
        yield _action("select_batch", text, strategy="random")
    if facts.unet == NONE:
        text = f"{_images(counts.labelled)} with {counts.boxes} boxes can teach it what is known."
        yield _action("train_unet", text)
    if facts.unet == OLD:
        text = (
            f"{_images(facts.new_images)} {'was' if facts.new_images == 1 else 'were'} labelled "
            "since the UNet was trained."
            if facts.new_images > 0
            else "The labels changed since the UNet was trained."
        )
        yield _action("train_unet", text)
    if counts.unscored:
        were = "was" if counts.unscored == 1 else "were"
        text = f"{_images(counts.unscored)} {were} never scored by "
        text += "this UNet." if facts.scores == CURRENT else "the newest UNet."
        if facts.has_new_zone:
            text = (
                "What counts in the ranking was changed (known structure): "
                f"{_images(counts.unscored)} to score again."
            )
        yield _action("score_samples", text)
    yield _action("select_batch", f"The pool of {_images(counts.pool)} is scored.")


def _detector(facts: Facts, why: str = "") -> Iterator[Action]:
    """Train and measure the detector of this iteration, where that can be done."""
    if not facts.is_measurable:
        return
    where = f"iteration {facts.iteration}"
    if facts.detector != CURRENT:
        text = f"{why}no detector has learned the labels of {where} yet."
        yield _action("train_detector", _capital(text))
    elif not facts.is_evaluated and not facts.is_applied:
        text = f"{why}the detector of {where} has not seen the test split."
        yield _action("apply_detector", _capital(text), target="test")
    elif not facts.is_evaluated:
        text = f"{why}the detector of {where} is not measured yet."
        yield _action("evaluate_detector", _capital(text))


# --- the rest --------------------------------------------------------------------------------------
def _possible(facts: Facts) -> Iterator[Action]:
    """All that would not be refused, in the order of the loop."""
    counts, batch = facts.counts, facts.batch
    if not counts.images:
        return
    yield _action("screen_images", "Find blank, partial and unreadable images.")
    if batch is None or batch.number == 0:
        yield _action("prepare_dataset", "Classes, test split, initial images, known structure.")
    yield _action("mark_structure", "Die grid, mask or lines, and what of it counts.")
    if counts.labelled:
        yield _action("train_unet", "Learn what is known from the labels as they are now.")
    if facts.unet != NONE and counts.pool:
        yield _action("score_samples", "Score what is not scored yet.")
    if counts.pool and (batch is None or batch.labelled or batch.number == 0):
        yield _action("select_batch", "Freeze the next batch.")
    if batch is not None and batch.images and batch.missing:
        images = "initial" if batch.number == 0 else "batch"
        yield _action("request_annotations", f"Hand out {batch.name}.", images=images)
    if counts.test_unlabelled:
        text = f"{_of(counts.test_unlabelled, counts.test)} of the test split need labels."
        yield _action("request_annotations", text, images="test")
    if batch is not None and batch.sent:
        yield _action("load_annotations", "Take the labels that are done.")
        yield _action("list_annotations", "Ask the annotation server how far it is.")
    if counts.boxes:
        yield _action("train_detector", "Train on all labels as they are now.")
    if facts.detector != NONE:
        if counts.test:
            yield _action("apply_detector", "Predict on the test split.", target="test")
        if counts.pool:
            yield _action("apply_detector", "Predict on the rest of the pool.", target="pool")
        if facts.is_measurable and (facts.is_applied or facts.is_evaluated):
            yield _action("evaluate_detector", "Measure on the test split.")
    if facts.unet != NONE or facts.detector != NONE:
        yield _action("compare_iterations", "All iterations and baselines as one page.")
    if counts.labelled or facts.is_split:
        yield _action("next_iteration", "Load, train, score, select: whatever is due.")


def _action(operator: str, reason: str, **params: object) -> Action:
    label = LABELS[operator]
    images = params.get("images")
    if operator == "request_annotations" and images in ("initial", "test"):
        label = f"Hand out the {'initial images' if images == 'initial' else 'test split'}"
    if operator == "apply_detector" and params.get("target") == "pool":
        label = "Predict on the pool"
    if operator == "import_samples":
        operator = "@voxel51/io/import_samples"
    return Action(operator=operator, params=dict(params), label=label, reason=reason)


def with_params(action: Action, shared: dict[str, object]) -> Action:
    """The action with the parameters that all steps of one loop share."""
    if "/" in action.operator:  # not one of our steps
        return action
    return replace(action, params={**shared, **action.params})


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _of(count: int, total: int) -> str:
    return f"{count:,} of {_images(total)}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
