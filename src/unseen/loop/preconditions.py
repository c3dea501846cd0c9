"""What a step would refuse, known from where the loop stands: said in its form, before it runs.

Only what is certain is said; whatever else is wrong the step itself finds, before it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unseen.loop.overview_data import NONE, OLD, Facts
from unseen.ranking import SCORED_STRATEGIES

#: The field of the form that a message belongs to (None = the whole), and the message.
Refusal = tuple[str | None, str]
Params = Mapping[str, Any]


def why_not(step: str, facts: Facts, params: Params) -> Refusal | None:
    """Why a step would refuse to run now, or None.

    Args:
        step: name of a step.
        facts: where the loop stands.
        params: parameters that were given; defaults are filled in by the caller.
    """
    check = _CHECKS.get(step)
    return check(facts, params) if check else None


def _split(facts: Facts, params: Params) -> Refusal | None:
    batch, counts = facts.batch, facts.counts
    if not counts.images:
        return None, "The dataset is empty: add images first."
    if batch is not None and batch.number:
        return None, (
            f"The loop has begun ({batch.name}), so its split is fixed. Clean the dataset to start "
            "over."
        )
    usable = counts.images - counts.excluded - counts.test
    if counts.test and (params.get("initial") or 0) > usable:
        return "initial", f"Only {usable} images are left beside the test split: lower it."
    return None


def _train(facts: Facts, params: Params) -> Refusal | None:
    if facts.counts.boxes:
        return None
    if facts.counts.labelled:
        return None, (
            f"None of the {facts.counts.labelled} labelled images holds a box to learn from: label "
            "some more, for example a batch with the strategy random."
        )
    return None, (
        f"No image has labels in {params.get('label_field')!r} yet. Hand out the initial images, or "
        "choose another label field."
    )


def _score(facts: Facts, params: Params) -> Refusal | None:
    if facts.unet == NONE and not params.get("checkpoint"):
        return None, "There is no UNet yet: train it first."
    return None


def _select(facts: Facts, params: Params) -> Refusal | None:
    counts, budget = facts.counts, params.get("budget")
    if not counts.pool:
        return (
            None,
            "The pool is empty: every image is labelled, out, in the test split or excluded.",
        )
    if params.get("strategy") in SCORED_STRATEGIES:
        if facts.scores == NONE:
            return "strategy", "Nothing is scored yet: score the pool first, or choose random."
        if facts.scores == OLD:
            return "strategy", (
                "The scores are those of an older UNet or of another zone: score the pool first, or "
                "choose random."
            )
    if isinstance(budget, int) and budget > counts.pool:
        return "budget", f"The pool has {counts.pool} images: take {counts.pool} at most."
    return None


def _rank_regions(facts: Facts, params: Params) -> Refusal | None:
    if facts.scores == NONE:
        return None, "Nothing is scored yet: score the pool first."
    if facts.scores == OLD:
        return None, (
            "The scores are those of an older UNet or of another zone: score the pool first."
        )
    if not facts.counts.pool:
        return (
            None,
            "The pool is empty: every image is labelled, out, in the test split or excluded.",
        )
    return None


def _more_like_this(facts: Facts, params: Params) -> Refusal | None:
    if not facts.counts.pool:
        return (
            None,
            "The pool is empty: every image is labelled, out, in the test split or excluded.",
        )
    return None


def _request(facts: Facts, params: Params) -> Refusal | None:
    batch, images = facts.batch, params.get("images")
    if images == "batch" and (batch is None or not batch.number):
        return "images", "There is no batch yet: select one first, or hand out the initial images."
    if images == "initial" and not facts.counts.initial:
        return "images", "No images are chosen to begin with: set the dataset up first."
    if images == "test" and not facts.counts.test:
        return "images", "There is no test split: set the dataset up first."
    return None


def _apply(facts: Facts, params: Params) -> Refusal | None:
    if facts.detector == NONE and not params.get("checkpoint"):
        return None, "There is no detector yet: train it first."
    if params.get("target") == "test" and not facts.counts.test:
        return "target", "There is no test split: choose the pool or the view."
    return None


def _evaluate(facts: Facts, params: Params) -> Refusal | None:
    if facts.detector == NONE:
        return (
            None,
            "There is no detector yet: train it first, and let it predict on the test split.",
        )
    if not facts.counts.test:
        return None, "There is no test split to measure on."
    if not params.get("gt_field") and facts.counts.test == facts.counts.test_unlabelled:
        return None, "The test split has no labels yet: hand it out with images 'test'."
    return None


_CHECKS: dict[str, Callable[[Facts, Params], Refusal | None]] = {
    "prepare_dataset": _split,
    "split_dataset": _split,
    "train_unet": _train,
    "score_samples": _score,
    "select_batch": _select,
    "rank_regions": _rank_regions,
    "more_like_this": _more_like_this,
    "request_annotations": _request,
    "train_detector": _train,
    "apply_detector": _apply,
    "evaluate_detector": _evaluate,
    "auto_label": _evaluate,
}
