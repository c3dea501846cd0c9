"""What is allowed now and what is due: decided here, from the facts, for everybody who asks.

`why_not` says what a step would refuse (forms, the panel, the steps themselves), `due` what is to
be done next (panel), `waits_for` what keeps the next batch from being chosen (`next_iteration`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from unseen.loop.overview_data import CURRENT, NONE, OLD, Action, Batch, Facts, images_text
from unseen.ranking import SCORED_STRATEGIES

#: The parameter that a message belongs to (None = the whole form), and the message.
Refusal = tuple[str | None, str]
Params = Mapping[str, Any]


EMPTY_POOL = "The pool is empty: every image is labelled, out, in the test split or excluded."


# --- what a step would refuse ----------------------------------------------------------------------
def why_not(step: str, facts: Facts, params: Params) -> Refusal | None:
    """Why a step would refuse to run with these parameters now, or None.

    Only what is certain is said; the step itself finds the rest before it writes anything.
    """
    return next(_refusals(step, facts, params), None)


def scores_problem(state: str, *, has_new_zone: bool) -> str | None:
    """Why nothing can be ranked by the scores, which are in one of STATES, or None."""
    if state == NONE:
        return "no image has been scored yet; train a UNet and score the pool first (score_samples)"
    if state == OLD and has_new_zone:
        return (
            "what counts in the ranking changed since the pool was scored (known structure: zone, "
            "margin or weight); score the pool again (score_samples)"
        )
    if state == OLD:
        return "the scores are older than the newest UNet; score the pool again (score_samples)"
    return None


def open_batch_problem(name: str) -> str:
    """Why no other batch can be selected while none of this one is labelled."""
    return (
        f"{name} is still out: none of its images is labelled yet. Label it first, or choose it "
        "anew, with the parameter replace"
    )


def sent_batch_problem(name: str) -> str:
    """Why a batch that annotators work on cannot be chosen anew."""
    return (
        f"{name} is with the annotators, whose work would be lost: have an image of it labelled and "
        "load it, or delete its tasks on the annotation server and load (load_annotations)"
    )


def _refusals(step: str, facts: Facts, params: Params) -> Iterator[Refusal]:
    counts, given = facts.counts, params.get
    begun = facts.batch.name if facts.batch is not None and facts.batch.number else None
    match step:
        case "prepare_dataset" | "split_dataset":
            if not counts.images:
                yield None, "The dataset is empty: add images first."
            if begun:
                text = f"The loop has begun ({begun}), so its split is fixed."
                yield None, f"{text} Clean the dataset to start over."
            if counts.test and (given("initial") or 0) > facts.usable:
                text = f"Only {facts.usable} images are left beside the test split: lower it."
                yield "initial", text
        case "train_unet" | "train_detector":
            if not counts.labelled:
                text = f"No image has labels in {given('label_field')!r} yet."
                yield (
                    None,
                    f"{text} Request annotations for the initial images, or choose another label field.",
                )
            if not counts.boxes:
                text = f"None of the {counts.labelled} labelled images holds a box to learn from"
                yield None, f"{text}: label some more, for example a batch of random images."
        case "score_samples":
            if facts.unet == NONE and not given("checkpoint"):
                yield None, "There is no UNet yet: train it first."
        case "select_batch":
            if begun and facts.has_open_batch and given("replace") and facts.is_batch_out:
                yield "replace", f"{sent_batch_problem(begun)}."
            if begun and facts.has_open_batch and not given("replace"):
                yield "replace", f"{open_batch_problem(begun)}."
            if not counts.pool:
                yield None, EMPTY_POOL
            problem = scores_problem(facts.scores, has_new_zone=facts.has_new_zone)
            if problem and given("strategy") in SCORED_STRATEGIES:
                yield "strategy", f"{_capital(problem)}, or choose random."
            if isinstance(given("budget"), int) and params["budget"] > counts.pool:
                yield "budget", f"The pool has {counts.pool} images: take {counts.pool} at most."
        case "rank_regions" | "more_like_this":
            problem = scores_problem(facts.scores, has_new_zone=facts.has_new_zone)
            if problem and step == "rank_regions":
                yield None, f"{_capital(problem)}."
            if not counts.pool:
                yield None, EMPTY_POOL
        case "request_annotations":
            if given("images") == "batch" and not begun:
                text = "There is no batch yet: select one first, or request annotations for the initial images."
                yield "images", text
            if given("images") == "initial" and not counts.initial:
                yield "images", "There are no initial images: set the dataset up first."
            if given("images") == "test" and not counts.test:
                yield "images", "There is no test split: set the dataset up first."
        case "apply_detector" | "evaluate_detector" | "auto_label":
            if facts.detector == NONE and not given("checkpoint"):
                yield None, "There is no detector yet: train it first."
            if given("target") == "test" and not counts.test:
                yield "target", "There is no test split: choose the pool or the view."
            if step == "apply_detector":
                return
            if not counts.test:
                yield None, "There is no test split to measure on."
            if counts.test == counts.test_unlabelled and not given("gt_field"):
                yield None, "The test split has no labels yet: request annotations for it."


# --- what is due -----------------------------------------------------------------------------------
def due(facts: Facts) -> Action:
    """The one right thing to do now: the first row of the decision table that applies.

    What people wait for comes first; what a computer can do while people label comes meanwhile.
    """
    return next(_rows(facts))


def waits_for(facts: Facts, min_loaded: float = 1.0) -> str | None:
    """What is missing before the next batch can be chosen, or None.

    `min_loaded` is the share of the newest batch that must have labels.
    """
    batch = facts.batch
    if batch is None or not batch.expected:
        if facts.counts.labelled or (batch is not None and batch.number):
            return None
        return "labels to begin with: split the dataset and label its initial images"
    # Not because a product like 0.07 * 100 is a little more than 7.
    if batch.labelled and batch.labelled >= min_loaded * batch.expected - 1e-6:
        return None
    if batch.complete:
        return (
            f"{batch.missing} of {batch.expected} images of {batch.name} are still with the "
            "annotators"
        )
    return (
        f"the labels of {batch.name}: {batch.labelled} of {batch.expected} images have some, and it "
        f"is {'only partly sent' if batch.sent else 'not sent yet'}. Send it with "
        "request_annotations (or the parameter send), or label it another way"
    )


def _rows(facts: Facts) -> Iterator[Action]:
    """The rows that apply, the first one first; the last one always does."""
    counts, batch = facts.counts, facts.batch
    if facts.usable <= 0:
        reason = "Every image is in the test split or excluded."
        yield _action("import_samples", reason if counts.images else "The dataset is empty.")
    is_untouched = batch is None or (batch.number == 0 and not batch.images)
    if is_untouched and not counts.out:
        if not counts.labelled:
            yield _action("prepare_dataset", "There are no initial images to label.")
        elif not facts.is_split and facts.unet == NONE:
            yield _action("prepare_dataset", "There is no test split to measure the detector on.")
    if batch is not None and batch.images:
        yield from _labelling(facts, batch)
    if counts.pool and counts.labelled:
        yield from _ranking(facts)
    if batch is None and not counts.labelled:  # the rest is with the annotators
        yield _action("load_annotations", f"{images_text(counts.out)} are out for labelling.")
    yield from _detector(facts)
    yield _action("compare_iterations", "Nothing is left to label.")


def _labelling(facts: Facts, batch: Batch) -> Iterator[Action]:
    """The newest batch, or the initial images, on their way through labelling."""
    name = "initial images" if batch.number == 0 else batch.name
    which = name if batch.number == 0 else f"images of {name}"
    if batch.missing and not (batch.closed and batch.labelled):
        images = "initial" if batch.number == 0 else "batch"
        if not batch.sent:
            begun = f"; {batch.labelled} of {batch.images} have labels" if batch.labelled else ""
            text = f"{images_text(batch.images)} of {name} are not sent to annotators yet{begun}."
            if batch.number == 0:
                text = f"The {batch.images} initial images need labels first{begun}."
            yield _action("request_annotations", text, images=images)
        if not batch.complete:
            text = f"Only {batch.sent} of {batch.images} images of {name} were sent."
            yield _action("request_annotations", text, images=images)
        if batch.backend == "app":
            text = f"{batch.missing} of {batch.expected} {which} are left to label."
            yield _action("label_next", text, images=images)
        if batch.waiting_to_load:
            text = f"{batch.waiting_to_load} of {batch.images} images are done in {batch.backend}."
            yield _action("load_annotations", text)
        if not batch.labelled or batch.waiting_to_load == 0:
            yield from _detector(facts, f"While {name} is being labelled: ")
        known = "" if batch.waiting_to_load is None else ", no more are done yet"
        text = f"{batch.labelled} of {batch.images} images of {name} are back{known}."
        yield _action("load_annotations", text)
    elif batch.sent and not batch.closed and batch.backend != "cvat":
        text = f"All {which} are labelled: close the batch."
        yield replace(_action("load_annotations", text), label="Close the batch", has_form=False)


def _ranking(facts: Facts) -> Iterator[Action]:
    """Train, score, select."""
    counts = facts.counts
    if not counts.boxes:
        text = "No labelled image holds a box to learn from: label some random images."
        yield _action("select_batch", text, strategy="random")
    if facts.unet == NONE:
        text = (
            f"{images_text(counts.labelled)} with {counts.boxes} boxes are labelled to learn from."
        )
        yield _action("train_unet", text)
    if facts.unet == OLD:
        text = "The labels changed since the UNet was trained."
        if facts.new_images > 0:
            were = "was" if facts.new_images == 1 else "were"
            text = f"{images_text(facts.new_images)} {were} labelled since the UNet was trained."
        yield _action("train_unet", text)
    if counts.unscored:
        unscored = images_text(counts.unscored)
        if facts.has_new_zone:
            text = f"What counts in the ranking changed (known structure): score {unscored} again."
        else:
            were = "was" if counts.unscored == 1 else "were"
            which = "this" if facts.scores == CURRENT else "the newest"
            text = f"{unscored} {were} never scored by {which} UNet."
        yield _action("score_samples", text)
    yield _action("select_batch", f"The pool of {images_text(counts.pool)} is scored.")


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


# --- what else can be done -------------------------------------------------------------------------
def other_actions(facts: Facts, best: Action) -> list[Action]:
    """What else makes sense now and would not be refused, in the order of the loop."""
    counts, batch = facts.counts, facts.batch
    if not counts.images:
        return []
    is_sent = batch is not None and batch.sent > 0
    missing = batch.missing if batch is not None else 0
    name, part = ("", "") if batch is None else (batch.name, "batch" if batch.number else "initial")
    is_predicted = facts.is_measurable and (facts.is_applied or facts.is_evaluated)
    has_model = facts.unet != NONE or facts.detector != NONE
    unlabelled = f"{counts.test_unlabelled:,} of {images_text(counts.test)} of the test split"
    rows: list[tuple[object, str, str, dict[str, Any]]] = [
        (True, "screen_images", "Find blank, partial and unreadable images.", {}),
        (True, "prepare_dataset", "Classes, test split, initial images, known structure.", {}),
        (True, "mark_structure", "Die grid, mask or lines, and what of it counts.", {}),
        (True, "train_unet", "Learn from the labels as they are now.", {}),
        (counts.pool, "score_samples", "Score what is not scored yet.", {}),
        (True, "select_batch", "Freeze the next batch.", {}),
        (missing, "request_annotations", f"Send {name} to annotators.", {"images": part}),
        (
            counts.test_unlabelled and facts.test_backend in (None, "app"),
            "label_next" if facts.test_backend else "request_annotations",
            f"{unlabelled} need labels.",
            {"images": "test"},
        ),
        (is_sent, "load_annotations", "Load the labels that are done.", {}),
        (is_sent, "list_annotations", "Ask the annotation server how far it is.", {}),
        (True, "train_detector", "Train on all labels as they are now.", {}),
        (True, "apply_detector", "Predict on the test split.", {"target": "test"}),
        (counts.pool, "apply_detector", "Predict on the rest of the pool.", {"target": "pool"}),
        (is_predicted, "evaluate_detector", "Measure on the test split.", {}),
        (has_model, "compare_iterations", "All iterations and baselines as one page.", {}),
        (
            counts.labelled or facts.is_split,
            "next_iteration",
            "Load, train, score, select: whatever is due.",
            {},
        ),
    ]
    return [
        action
        for is_sensible, step, reason, params in rows
        if is_sensible and why_not(step, facts, params) is None
        if (action := _action(step, reason, **params)) and not _is_same(action, best)
    ]


def _is_same(one: Action, other: Action) -> bool:
    return (one.operator, one.params) == (other.operator, other.params)


# --- words -----------------------------------------------------------------------------------------
#: What an action is called on buttons, as forms and operators call it.
LABELS = {
    "import_samples": "Import images",
    "prepare_dataset": "Set up the dataset",
    "mark_structure": "Mark known structure",
    "screen_images": "Screen images",
    "train_unet": "Train the UNet",
    "score_samples": "Score the pool",
    "select_batch": "Next batch",
    "request_annotations": "Request annotations",
    "label_next": "Label the next image",
    "load_annotations": "Load annotations",
    "list_annotations": "Annotation status",
    "train_detector": "Train the detector",
    "apply_detector": "Apply the detector",
    "evaluate_detector": "Evaluate the detector",
    "compare_iterations": "Compare iterations",
    "next_iteration": "Next iteration",
}
#: What follows the name on a button that says which images it is about.
_ABOUT = {"initial": ": initial images", "test": ": test split", "pool": ": pool"}


def _action(operator: str, reason: str, **params: object) -> Action:
    about = str(params.get("images") or params.get("target"))
    label = LABELS[operator]
    if operator in ("request_annotations", "apply_detector"):
        label += _ABOUT.get(about, "")
    if operator == "import_samples":
        operator = "@voxel51/io/import_samples"
    elif operator == "label_next" and about == "test":
        label = "Label the test split"
    has_form = operator != "label_next"
    return Action(operator=operator, params=params, label=label, reason=reason, has_form=has_form)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
