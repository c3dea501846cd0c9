"""What is due and what would be refused: every row, and that following it gets somewhere."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from unseen.dataset.fields import Names
from unseen.loop.overview import empty_state, hints, with_names
from unseen.loop.overview_data import CURRENT, NONE, OLD, STATES, Batch, Counts, Facts
from unseen.loop.rules import LABELS, due, other_actions, waits_for, why_not
from unseen.parameters import from_mapping, parameters
from unseen.steps.catalogue import catalogue


def counts(labelled=10, pool=200, test=50, **more):
    made = {"labelled": labelled, "boxes": 3 * labelled, "pool": pool, "test": test, **more}
    images = labelled + pool + test + made.get("excluded", 0) + made.get("out", 0)
    return Counts(images=images, initial=10, **made)


def batch(number=1, images=10, labelled=0, **more):
    name = f"batch_{number:02d}" if number else "initial"
    return Batch(name=name, number=number, images=images, labelled=labelled, **more)


def sent(number=1, labelled=0, backend="cvat", **more):
    more = {"sent": 10, "complete": True, **more}
    return batch(number, labelled=labelled, backend=backend, **more)


def facts(**changes):
    """A loop in which the first batch can be selected, changed."""
    before = {
        "counts": counts(),
        "is_split": True,
        "batch": batch(0, labelled=10),
        "unet": CURRENT,
        "scores": CURRENT,
        "detector": CURRENT,
        "is_applied": True,
        "is_evaluated": True,
    }
    return Facts(**{**before, **changes})


# --- what is due -----------------------------------------------------------------------------------
EMPTY = Facts()
UNTOUCHED = Facts(counts=Counts(images=30, pool=30, unscored=30))
TEST_ONLY = Facts(counts=Counts(images=9, test=9), is_split=True)
NO_INITIAL = Facts(counts=Counts(images=30, pool=20, test=10), is_split=True)
NO_SPLIT = Facts(counts=Counts(images=30, labelled=9, boxes=9, pool=21, unscored=21))
UNLABELLED = facts(counts=counts(0, initial_unlabelled=10), batch=batch(0), unet=NONE)
OUT = facts(batch=sent())
INITIAL_OUT = facts(counts=counts(0, out=10), batch=sent(0), unet=NONE)
NO_BOXES = facts(counts=counts(boxes=0), unet=NONE)
UNSCORED = facts(counts=counts(unscored=182), scores=OLD)
BACK = facts(batch=sent(labelled=10, closed=True), iteration=1)
NO_POOL = replace(BACK, counts=counts(pool=0))


@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        (EMPTY, "@voxel51/io/import_samples", "The dataset is empty"),
        (TEST_ONLY, "@voxel51/io/import_samples", "test split or excluded"),
        (UNTOUCHED, "prepare_dataset", "no initial images"),
        (NO_INITIAL, "prepare_dataset", "no initial images"),
        (NO_SPLIT, "prepare_dataset", "no test split"),
        (UNLABELLED, "request_annotations images=initial", "10 initial images need labels"),
        (INITIAL_OUT, "load_annotations", "0 of 10 images of initial images are back"),
        (facts(unet=NONE), "train_unet", "10 images with 30 boxes"),
        (facts(unet=OLD, new_images=4), "train_unet", "4 images were labelled since"),
        (facts(unet=OLD), "train_unet", "labels changed"),
        (UNSCORED, "score_samples", "182 images were never scored by the newest UNet"),
        (replace(UNSCORED, scores=CURRENT), "score_samples", "never scored by this UNet"),
        (replace(UNSCORED, has_new_zone=True), "score_samples", "known structure"),
        (facts(), "select_batch", "200 images is scored"),
        (NO_BOXES, "select_batch strategy=random", "holds a box"),
        (facts(batch=batch()), "request_annotations images=batch", "not sent to annotators"),
        (
            facts(batch=sent(sent=4, complete=False)),
            "request_annotations images=batch",
            "Only 4 of 10",
        ),
        (facts(batch=sent(waiting_to_load=7)), "load_annotations", "7 of 10 images are done in"),
        (facts(batch=sent(labelled=7)), "load_annotations", "7 of 10 images of batch_01 are back"),
        (replace(OUT, detector=OLD), "train_detector", "While batch_01 is being labelled"),
        (
            facts(batch=sent(labelled=3, waiting_to_load=0), detector=OLD),
            "train_detector",
            "While batch_01",
        ),
        (
            replace(OUT, is_applied=False, is_evaluated=False),
            "apply_detector target=test",
            "not seen the test split",
        ),
        (replace(OUT, is_evaluated=False), "evaluate_detector", "not measured yet"),
        (OUT, "load_annotations", "0 of 10"),
        (facts(batch=sent(labelled=10, backend="app")), "load_annotations", "close the batch"),
        (facts(batch=sent(labelled=7, backend="app")), "label_next images=batch", "3 of 10 images"),
        (replace(BACK, unet=OLD, new_images=10), "train_unet", "10 images were labelled"),
        (facts(batch=sent(labelled=6, closed=True), iteration=1), "select_batch", "is scored"),
        (replace(NO_POOL, detector=OLD), "train_detector", "No detector has learned"),
        (NO_POOL, "compare_iterations", "Nothing is left to label"),
    ],
)
def test_every_row_of_the_table(given, expected, words):
    action = due(given)
    params = [f"{k}={v}" for k, v in action.params.items()]
    assert " ".join([action.operator, *params]) == expected
    assert words in action.reason
    assert action.label


def test_a_test_split_without_labels_is_a_hint_and_stops_nothing():
    given = facts(counts=counts(test_unlabelled=50), detector=NONE, batch=sent())
    assert due(given).operator == "load_annotations"  # no detector that nobody can measure
    assert "has no labels yet" in hints(given)[0]
    offered = [(a.operator, a.params) for a in other_actions(given, due(given))]
    assert ("request_annotations", {"images": "test"}) in offered
    some = facts(counts=counts(test_unlabelled=1))
    assert "1 of 50 images of the test split has" in hints(some)[0]
    assert hints(facts()) == []


def test_empty_states_say_what_to_do_first():
    assert "Import images" in empty_state(EMPTY)
    assert "Set the dataset up" in empty_state(UNTOUCHED)
    assert "initial images" in empty_state(UNLABELLED)
    assert empty_state(facts()) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (UNTOUCHED, "labels to begin with"),
        (UNLABELLED, "0 of 10 images have some, and it is not sent yet"),
        (facts(batch=sent(labelled=4)), "6 of 10 images of batch_01 are still with the annotators"),
        (facts(batch=sent(labelled=4, removed=2)), "4 of 8 images of batch_01 are still"),
        (facts(batch=sent(complete=False)), "only partly sent"),
        (facts(batch=sent(labelled=8, removed=2)), None),
        (facts(batch=sent(removed=10)), None),
        (Facts(counts=counts()), None),
    ],
)
def test_the_next_batch_waits_for_the_labels_of_this_one(given, words):
    waiting = waits_for(given)
    assert waiting is None if words is None else words in waiting


def test_part_of_a_batch_is_enough_where_that_is_asked_for():
    given = facts(batch=batch(images=100, labelled=7))
    assert 0.07 * 100 > 7
    assert waits_for(given, 0.07) is None
    assert waits_for(given, 0.08)


# --- what would be refused -------------------------------------------------------------------------
READY = Facts(
    counts=Counts(images=100, labelled=20, boxes=60, pool=60, test=20, initial=10),
    iteration=1,
    is_split=True,
    batch=batch(labelled=10),
    unet=CURRENT,
    scores=CURRENT,
    detector=CURRENT,
    is_applied=True,
)
LABELLED = Facts(counts=Counts(images=30, pool=20, labelled=10))  # looked at, nothing there
STALE = replace(READY, scores=OLD)
NEW_ZONE = replace(STALE, has_new_zone=True)
UNMEASURABLE = replace(READY, counts=replace(READY.counts, test_unlabelled=20))
OPEN = replace(READY, iteration=0, batch=batch())


def ask(step, given, **params):
    defaults = {p.name: p.default for p in parameters(catalogue()[step].config)}
    return why_not(step, given, {**defaults, **params})


@pytest.mark.parametrize("step", catalogue())
def test_a_loop_in_full_swing_refuses_only_another_split(step):
    assert (ask(step, READY) is not None) == (step in ("prepare_dataset", "split_dataset"))


@pytest.mark.parametrize(
    ("step", "given", "params", "field", "words"),
    [
        ("prepare_dataset", EMPTY, {}, None, "add images"),
        ("split_dataset", READY, {}, None, "The loop has begun (batch_01)"),
        ("train_unet", UNTOUCHED, {"label_field": "boxes"}, None, "'boxes'"),
        ("train_unet", LABELLED, {}, None, "10 labelled images holds a box"),
        ("train_detector", UNTOUCHED, {}, None, "No image has labels"),
        ("score_samples", UNTOUCHED, {}, None, "no UNet yet"),
        ("select_batch", TEST_ONLY, {}, None, "The pool is empty"),
        ("select_batch", UNTOUCHED, {}, "strategy", "No image has been scored yet"),
        ("select_batch", STALE, {}, "strategy", "older than the newest UNet"),
        ("select_batch", NEW_ZONE, {}, "strategy", "known structure"),
        ("select_batch", UNTOUCHED, {"strategy": "random", "budget": 31}, "budget", "30 at most"),
        ("select_batch", READY, {"budget": 61}, "budget", "60 at most"),
        ("select_batch", OPEN, {}, "replace", "batch_01 is still out"),
        ("rank_regions", UNTOUCHED, {}, None, "No image has been scored yet"),
        ("request_annotations", UNTOUCHED, {}, "images", "no batch yet"),
        ("request_annotations", UNTOUCHED, {"images": "initial"}, "images", "set the dataset up"),
        ("request_annotations", UNTOUCHED, {"images": "test"}, "images", "no test split"),
        ("apply_detector", UNTOUCHED, {}, None, "no detector yet"),
        ("evaluate_detector", UNTOUCHED, {}, None, "no detector yet"),
        ("evaluate_detector", UNMEASURABLE, {}, None, "no labels yet"),
    ],
)
def test_what_cannot_work_is_said_with_the_remedy(step, given, params, field, words):
    found, sentence = ask(step, given, **params)
    assert found == field
    assert words in sentence


@pytest.mark.parametrize(
    ("step", "given", "params"),
    [
        ("select_batch", replace(STALE, scores=NONE), {"strategy": "random"}),
        ("select_batch", OPEN, {"replace": True}),
        ("score_samples", UNTOUCHED, {"checkpoint": "a.safetensors"}),
        ("apply_detector", UNTOUCHED, {"checkpoint": "a.safetensors", "target": "pool"}),
        ("evaluate_detector", UNMEASURABLE, {"gt_field": "hidden_truth"}),
    ],
)
def test_what_is_given_need_not_be_on_record(step, given, params):
    assert ask(step, given, **params) is None


# --- from anywhere ---------------------------------------------------------------------------------
def anything(rng: np.random.Generator) -> Facts:
    """Facts drawn without a thought for how a loop could get there; only the sums hold."""

    def few(high=12):
        return int(rng.integers(0, high)) * int(rng.random() < 0.7)

    pool, labelled, test = few(), few(), few()
    number = int(rng.integers(0, 3))
    size = few() or 5
    done = int(rng.integers(0, size + 1))
    is_sent = rng.random() < 0.5
    a_batch = batch(
        number,
        size,
        done,
        removed=int(rng.integers(0, size - done + 1)),
        sent=int(rng.integers(1, size + 1)) if is_sent else 0,
        backend=str(rng.choice(["cvat", "app"])) if is_sent else None,
        complete=bool(is_sent and rng.random() < 0.7),
        closed=bool(is_sent and rng.random() < 0.3),
        waiting_to_load=None if rng.random() < 0.6 else few(4),
    )
    is_evaluated = bool(rng.random() < 0.5)
    return Facts(
        counts=counts(
            labelled,
            pool,
            test,
            boxes=few(40) if labelled else 0,
            test_unlabelled=int(rng.integers(0, test + 1)),
            excluded=few(5),
            out=few(5),
            unscored=int(rng.integers(0, pool + 1)),
        ),
        iteration=number,
        is_split=test > 0 or rng.random() < 0.5,
        batch=a_batch if rng.random() < 0.8 else None,
        unet=str(rng.choice(STATES)),
        new_images=few(4),
        scores=str(rng.choice(STATES)),
        detector=str(rng.choice(STATES)),
        is_applied=is_evaluated or bool(rng.random() < 0.5),
        is_evaluated=is_evaluated,
    )


def done(given: Facts, operator: str) -> Facts:
    """What the facts are once the action has done what it is for."""
    c, b = given.counts, given.batch
    if operator == "@voxel51/io/import_samples":
        more = replace(c, images=c.images + 20, pool=c.pool + 20, unscored=c.unscored + 20)
        return replace(given, counts=more)
    if operator == "prepare_dataset":
        return replace(given, is_split=True, batch=batch(0, images=max(1, min(3, c.pool))))
    if operator == "request_annotations":
        back = min(b.missing, c.pool)
        pool = c.pool - back
        more = replace(c, pool=pool, unscored=min(c.unscored, pool), out=c.out + back)
        out = replace(b, sent=b.images, complete=True, closed=False, backend=b.backend or "cvat")
        return replace(given, batch=out, counts=more)
    if operator in ("load_annotations", "label_next"):
        came = c.out if b is None else b.missing
        labelled, boxes = c.labelled + came, c.boxes + 2 * came
        more = replace(c, out=max(0, c.out - came), labelled=labelled, boxes=boxes)
        if b is None:
            return replace(given, counts=more)
        is_closed = operator == "load_annotations"
        back = replace(b, labelled=b.labelled + came, closed=is_closed, waiting_to_load=None)
        stale = {"unet": OLD if given.unet != NONE else NONE} if came else {}
        if came and given.detector != NONE:
            stale |= {"detector": OLD, "is_applied": False, "is_evaluated": False}
        return replace(given, counts=more, batch=back, iteration=b.number, **stale)
    if operator == "select_batch":
        number = (b.number if b else 0) + 1
        return replace(given, batch=batch(number, images=min(4, c.pool)))
    changes = {
        "train_unet": {"unet": CURRENT, "new_images": 0, "counts": replace(c, unscored=c.pool)},
        "score_samples": {"scores": CURRENT, "counts": replace(c, unscored=0)},
        "train_detector": {"detector": CURRENT, "is_applied": False, "is_evaluated": False},
        "apply_detector": {"is_applied": True},
        "evaluate_detector": {"is_evaluated": True},
    }
    return replace(given, **changes[operator])


def test_from_any_facts_one_action_follows_another_until_all_is_labelled(rng):
    for _ in range(1000):
        start = given = anything(rng)
        trail = []
        while (action := due(given)).operator != "compare_iterations":
            trail.append((action.operator, action.params))
            given = done(given, action.operator)
            after = due(given)
            assert (after.operator, after.params) != trail[-1], (start, trail)
            assert len(trail) < 150, (start, trail)


def test_every_action_that_is_offered_opens_its_form(rng):
    for _ in range(400):
        given = anything(rng)
        best = due(given)
        actions = [best, *other_actions(given, best)]
        for action in actions:
            if not action.operator.startswith("@") and action.operator != "label_next":
                params = with_names(action, Names(series="second")).params
                from_mapping(catalogue()[action.operator].config, params)
                assert params["series"] == "second"
        assert len({(a.operator, json.dumps(a.params)) for a in actions}) == len(actions)


def test_a_button_has_the_name_of_its_form():
    steps = catalogue()
    assert {n: steps[n].label for n in LABELS if n in steps} == {
        n: label for n, label in LABELS.items() if n in steps
    }
    assert set(LABELS) - set(steps) == {"import_samples", "label_next"}
