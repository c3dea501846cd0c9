"""A form refuses what its step would refuse, and nothing else."""

from __future__ import annotations

import pytest

from unseen.loop.overview_data import CURRENT, NONE, OLD, Batch, Counts, Facts
from unseen.loop.preconditions import why_not
from unseen.parameters import parameters
from unseen.steps.catalogue import catalogue


def ask(step, facts, **given):
    params = {p.name: p.default for p in parameters(catalogue()[step].config)}
    return why_not(step, facts, {**params, **given})


READY = Facts(
    counts=Counts(images=100, labelled=20, boxes=60, pool=60, test=20, initial=10),
    is_split=True,
    batch=Batch(name="batch_01", number=1, images=10, labelled=10),
    unet=CURRENT,
    scores=CURRENT,
    detector=CURRENT,
    is_applied=True,
)
PLAIN = Facts(counts=Counts(images=30, pool=30, unscored=30))
LABELLED = Facts(counts=Counts(images=30, pool=20, labelled=10))  # looked at, nothing there


@pytest.mark.parametrize("step", catalogue())
def test_a_loop_in_full_swing_refuses_only_another_split(step):
    refusal = ask(step, READY)
    assert (refusal is not None) == (step in ("prepare_dataset", "split_dataset"))


@pytest.mark.parametrize(
    ("step", "facts", "given", "field", "words"),
    [
        ("prepare_dataset", Facts(), {}, None, "add images"),
        ("split_dataset", READY, {}, None, "The loop has begun (batch_01)"),
        ("train_unet", PLAIN, {"label_field": "boxes"}, None, "'boxes'"),
        ("train_unet", LABELLED, {}, None, "10 labelled images holds a box"),
        ("train_detector", PLAIN, {}, None, "No image has labels"),
        ("score_samples", PLAIN, {}, None, "no UNet yet"),
        ("select_batch", Facts(counts=Counts(images=9, test=9)), {}, None, "The pool is empty"),
        ("select_batch", PLAIN, {}, "strategy", "Nothing is scored yet"),
        ("select_batch", PLAIN, {"strategy": "random", "budget": 31}, "budget", "30 at most"),
        ("select_batch", READY, {"budget": 61}, "budget", "60 at most"),
        ("request_annotations", PLAIN, {}, "images", "no batch yet"),
        ("request_annotations", PLAIN, {"images": "initial"}, "images", "set the dataset up"),
        ("request_annotations", PLAIN, {"images": "test"}, "images", "no test split"),
        ("apply_detector", PLAIN, {}, None, "no detector yet"),
        ("evaluate_detector", PLAIN, {}, None, "no detector yet"),
    ],
)
def test_what_cannot_work_is_said_with_the_remedy(step, facts, given, field, words):
    found, sentence = ask(step, facts, **given)
    assert found == field
    assert words in sentence


def test_old_scores_do_not_rank_and_random_needs_none():
    from dataclasses import replace

    old = replace(READY, scores=OLD)
    assert "older UNet" in ask("select_batch", old)[1]
    assert ask("select_batch", replace(old, scores=NONE), strategy="random") is None


def test_a_model_that_is_named_needs_none_on_record():
    assert ask("score_samples", PLAIN, checkpoint="a.safetensors") is None
    assert ask("apply_detector", PLAIN, checkpoint="a.safetensors", target="pool") is None


def test_an_unlabelled_test_split_measures_nothing_unless_labels_are_named():
    from dataclasses import replace

    counts = replace(READY.counts, test_unlabelled=20)
    facts = replace(READY, counts=counts)
    assert "no labels yet" in ask("evaluate_detector", facts)[1]
    assert ask("evaluate_detector", facts, gt_field="hidden_truth") is None
