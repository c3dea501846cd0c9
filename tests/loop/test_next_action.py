"""The decision table: every row, and that following it gets somewhere from anywhere."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from unseen.loop.next_action import empty_state, hints, next_action, other_actions, with_params
from unseen.loop.overview_data import CURRENT, NONE, OLD, STATES, Batch, Counts, Facts
from unseen.parameters import from_mapping
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


EMPTY = Facts()
UNTOUCHED = Facts(counts=Counts(images=30, pool=30, unscored=30))
MEASURED = {"unet": CURRENT, "scores": CURRENT}

ROWS = {
    "an empty dataset": (EMPTY, "@voxel51/io/import_samples", {}, "The dataset is empty"),
    "all images in the test split": (
        Facts(counts=Counts(images=9, test=9), is_split=True),
        "@voxel51/io/import_samples",
        {},
        "test split or excluded",
    ),
    "no label, no split": (UNTOUCHED, "prepare_dataset", {}, "to begin with"),
    "a test split but no initial images": (
        Facts(counts=Counts(images=30, pool=20, test=10), is_split=True),
        "prepare_dataset",
        {},
        "to begin with",
    ),
    "labels but no split": (
        Facts(counts=Counts(images=30, labelled=9, boxes=9, pool=21, unscored=21)),
        "prepare_dataset",
        {},
        "no test split",
    ),
    "initial images to be sent": (
        facts(counts=counts(0, initial_unlabelled=10), batch=batch(0), unet=NONE),
        "request_annotations",
        {"images": "initial"},
        "10 initial images need labels",
    ),
    "initial images out": (
        facts(counts=counts(0, out=10), batch=sent(0), unet=NONE),
        "load_annotations",
        {},
        "0 of 10 images of initial images are back",
    ),
    "no UNet": (facts(unet=NONE), "train_unet", {}, "10 images with 30 boxes"),
    "labels newer than the UNet": (
        facts(unet=OLD, new_images=4),
        "train_unet",
        {},
        "4 images were labelled since",
    ),
    "labels changed": (facts(unet=OLD), "train_unet", {}, "labels changed"),
    "pool not scored": (
        facts(counts=counts(unscored=182), scores=OLD),
        "score_samples",
        {},
        "182 images were never scored by the newest UNet",
    ),
    "pool grown": (
        facts(counts=counts(unscored=1)),
        "score_samples",
        {},
        "1 image was never scored by this UNet",
    ),
    "nothing open": (facts(), "select_batch", {}, "200 images is scored"),
    "labels without a box": (
        facts(counts=counts(boxes=0), unet=NONE),
        "select_batch",
        {"strategy": "random"},
        "holds a box",
    ),
    "batch not sent": (
        facts(batch=batch()),
        "request_annotations",
        {"images": "batch"},
        "not handed",
    ),
    "batch partly sent": (
        facts(batch=sent(sent=4, complete=False)),
        "request_annotations",
        {"images": "batch"},
        "Only 4 of 10",
    ),
    "some done on the server": (
        facts(batch=sent(waiting_to_load=7)),
        "load_annotations",
        {},
        "7 of 10 images are done in cvat",
    ),
    "some came back": (
        facts(batch=sent(labelled=7)),
        "load_annotations",
        {},
        "7 of 10 images of batch_01 are back",
    ),
    "batch out, detector old": (
        facts(batch=sent(), detector=OLD),
        "train_detector",
        {},
        "While batch_01 is being labelled",
    ),
    "batch out, nothing more done, detector old": (
        facts(batch=sent(labelled=3, waiting_to_load=0), detector=OLD),
        "train_detector",
        {},
        "While batch_01",
    ),
    "batch out, detector not applied": (
        facts(batch=sent(), is_applied=False, is_evaluated=False),
        "apply_detector",
        {"target": "test"},
        "not seen the test split",
    ),
    "batch out, detector not measured": (
        facts(batch=sent(), is_evaluated=False),
        "evaluate_detector",
        {},
        "not measured yet",
    ),
    "batch out, all else done": (facts(batch=sent()), "load_annotations", {}, "0 of 10"),
    "batch labelled in the App": (
        facts(batch=sent(labelled=10, backend="app")),
        "load_annotations",
        {},
        "close the batch",
    ),
    "batch back, next turn": (
        facts(batch=sent(labelled=10, closed=True), unet=OLD, new_images=10, iteration=1),
        "train_unet",
        {},
        "10 images were labelled",
    ),
    "batch given up in part": (
        facts(batch=sent(labelled=6, closed=True), iteration=1),
        "select_batch",
        {},
        "is scored",
    ),
    "pool empty, detector old": (
        facts(counts=counts(pool=0), batch=sent(labelled=10, closed=True), detector=OLD),
        "train_detector",
        {},
        "No detector has learned",
    ),
    "all done": (
        facts(counts=counts(pool=0), batch=sent(labelled=10, closed=True)),
        "compare_iterations",
        {},
        "Nothing is left to label",
    ),
}


@pytest.mark.parametrize("row", ROWS, ids=ROWS)
def test_every_row_of_the_table(row):
    given, operator, params, words = ROWS[row]
    action = next_action(given)
    assert (action.operator, action.params) == (operator, params)
    assert words in action.reason
    assert action.label


def test_a_test_split_without_labels_is_a_hint_and_stops_nothing():
    given = facts(counts=counts(test_unlabelled=50), detector=NONE, batch=sent())
    assert next_action(given).operator == "load_annotations"  # no detector that nobody can measure
    assert "has no labels yet" in hints(given)[0]
    offered = [(a.operator, a.params) for a in other_actions(given, next_action(given))]
    assert ("request_annotations", {"images": "test"}) in offered
    assert (
        "1 of 50 images of the test split has" in hints(facts(counts=counts(test_unlabelled=1)))[0]
    )
    assert hints(facts()) == []


def test_empty_states_say_what_to_do_first():
    assert "Import images" in empty_state(EMPTY)
    assert "Set the dataset up" in empty_state(UNTOUCHED)
    assert "initial images" in empty_state(ROWS["initial images to be sent"][0])
    assert empty_state(facts()) is None


# --- from anywhere -------------------------------------------------------------------------------
def anything(rng: np.random.Generator) -> Facts:
    """Facts drawn without a thought for how a loop could get there; only the sums hold."""

    def few(high=12):
        return int(rng.integers(0, high)) * int(rng.random() < 0.7)

    pool, labelled, test = few(), few(), few()
    number = int(rng.integers(0, 3))
    size = few() or 5
    done = int(rng.integers(0, size + 1))
    is_sent = rng.random() < 0.5
    a_batch = Batch(
        name=f"batch_{number:02d}" if number else "initial",
        number=number,
        images=size,
        labelled=done,
        removed=int(rng.integers(0, size - done + 1)),
        sent=int(rng.integers(1, size + 1)) if is_sent else 0,
        backend=str(rng.choice(["cvat", "app"])) if is_sent else None,
        complete=bool(is_sent and rng.random() < 0.7),
        closed=bool(is_sent and rng.random() < 0.3),
        waiting_to_load=None if rng.random() < 0.6 else few(4),
    )
    excluded, out = few(5), few(5)
    is_evaluated = bool(rng.random() < 0.5)
    return Facts(
        counts=Counts(
            images=pool + labelled + test + excluded + out,
            pool=pool,
            labelled=labelled,
            boxes=few(40) if labelled else 0,
            test=test,
            test_unlabelled=int(rng.integers(0, test + 1)),
            excluded=excluded,
            out=out,
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
        size = max(1, min(3, c.pool))
        return replace(given, is_split=True, batch=batch(0, images=size, labelled=0))
    if operator == "request_annotations":
        back = min(b.missing, c.pool)
        more = replace(
            c, pool=c.pool - back, unscored=min(c.unscored, c.pool - back), out=c.out + back
        )
        out = replace(b, sent=b.images, complete=True, closed=False, backend=b.backend or "cvat")
        return replace(given, batch=out, counts=more)
    if operator == "load_annotations":
        if b is None:
            more = replace(c, out=0, labelled=c.labelled + c.out, boxes=c.boxes + c.out)
            return replace(given, counts=more)
        came = b.missing
        more = replace(
            c, out=max(0, c.out - came), labelled=c.labelled + came, boxes=c.boxes + 2 * came
        )
        back = replace(b, labelled=b.labelled + came, closed=True, waiting_to_load=None)
        stale = {"unet": OLD if given.unet != NONE else NONE} if came else {}
        if came and given.detector != NONE:
            stale |= {"detector": OLD, "is_applied": False, "is_evaluated": False}
        return replace(given, counts=more, batch=back, iteration=b.number, **stale)
    if operator == "train_unet":
        return replace(given, unet=CURRENT, new_images=0, counts=replace(c, unscored=c.pool))
    if operator == "score_samples":
        return replace(given, scores=CURRENT, counts=replace(c, unscored=0))
    if operator == "select_batch":
        number = (b.number if b else 0) + 1
        return replace(given, batch=batch(number, images=min(4, c.pool), labelled=0))
    if operator == "train_detector":
        return replace(given, detector=CURRENT, is_applied=False, is_evaluated=False)
    if operator == "apply_detector":
        return replace(given, is_applied=True)
    assert operator == "evaluate_detector"
    return replace(given, is_evaluated=True)


@pytest.mark.parametrize("seed", range(8))
def test_from_any_facts_one_action_follows_another_until_all_is_labelled(seed):
    rng = np.random.default_rng(seed)
    for _ in range(150):
        start = given = anything(rng)
        trail = []
        while (action := next_action(given)).operator != "compare_iterations":
            trail.append(action.operator)
            before, given = action, done(given, action.operator)
            after = next_action(given)
            assert (after.operator, after.params) != (before.operator, before.params), (
                start,
                trail,
            )
            assert len(trail) < 150, (start, trail)


@pytest.mark.parametrize("seed", range(4))
def test_every_action_that_is_offered_opens_its_form(seed):
    rng = np.random.default_rng(100 + seed)
    for _ in range(200):
        given = anything(rng)
        best = next_action(given)
        others = other_actions(given, best)
        for action in (best, *others):
            if action.operator.startswith("@"):
                continue
            shared = with_params(action, {"series": "second"})
            from_mapping(catalogue()[action.operator].config, shared.params)
            assert shared.params["series"] == "second"
        pairs = [(a.operator, json.dumps(a.params)) for a in (best, *others)]
        assert len(set(pairs)) == len(pairs)
