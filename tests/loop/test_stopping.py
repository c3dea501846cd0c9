"""Each branch of the rule in docs/method.md, "When to stop"."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from unseen.loop.overview_data import (
    RECOMMENDATIONS,
    Action,
    Counts,
    Interval,
    Novelty,
    Now,
    Ranking,
    Trust,
)
from unseen.loop.progress_data import ClassPoint, Curve, Gain, Point, Progress
from unseen.loop.stopping import advise, is_gain, weakest


def cell(f1, half=0.03, support=40):
    interval = Interval(low=f1 - half, high=f1 + half)
    return ClassPoint(precision=f1, recall=f1, f1=f1, support=support, interval=interval)


def gain(change, half, images=10, since=0):
    interval = Interval(low=change - half, high=change + half)
    return Gain(macro_f1=change, interval=interval, images=images, boxes=3 * images, since=since)


def point(iteration, f1, one=None, two=None, classes=None, boxes=None):
    classes = classes or {"a": cell(f1), "b": cell(f1)}
    return Point(
        series="",
        strategy="mixed",
        iteration=iteration,
        images=10 * (iteration + 1),
        boxes=30 * (iteration + 1),
        class_counts=boxes or dict.fromkeys(classes, 60),
        balance=None,
        macro_f1=f1,
        macro_interval=Interval(low=f1 - 0.05, high=f1 + 0.05) if f1 is not None else None,
        mean_ap=f1,
        per_class=classes,
        eval_key=f"iter_{iteration:02d}",
        gain=one,
        gain_two=two,
    )


#: Two batches that changed nothing.
LEVEL = [
    point(0, 0.70),
    point(1, 0.71, gain(0.01, 0.04)),
    point(2, 0.70, gain(-0.01, 0.04, since=1), gain(0.0, 0.05, 20)),
]


def answer(points, *, novelty=0.01, trust="good", iteration=None, **counts):
    counts = {"images": 300, "pool": 200, "test": 60, "labelled": 30, **counts}
    action = Action(operator="select_batch", label="", reason="")
    now = Now(
        dataset="d",
        iteration=points[-1].iteration if iteration is None and points else iteration or 0,
        counts=Counts(**counts),
        batch=None,
        next_action=action,
        other_actions=[],
    )
    curve = Curve(series="", strategy="diverse", label="Diverse", is_main=True, points=points)
    progress = Progress(dataset="d", classes=["a", "b"], curves=[curve], eval_keys=[])
    ranking = Ranking(
        dataset="d",
        metric="excess",
        field="unseen_excess",
        scored=200,
        histogram=None,
        batch=None,
        rows=[],
        trust=Trust(verdict=trust, sentence=""),
        novelty=novelty and Novelty(share=novelty, reference=1.0, batch="batch_02"),
    )
    advice = advise(progress, ranking, now)
    assert advice.recommendation in RECOMMENDATIONS
    json.dumps(advice.to_dict(), allow_nan=False)
    return advice


UNMEASURED = [replace(point(0, 0.7), macro_f1=None)]
RISING = [*LEVEL[:2], point(2, 0.8, gain(0.09, 0.04, since=1), gain(0.1, 0.05, 20))]
SLOW = [*LEVEL[:2], point(2, 0.76, gain(0.05, 0.06, since=1), gain(0.06, 0.05, 20))]
WORSE = [*LEVEL[:2], point(2, 0.66, gain(-0.05, 0.04, since=1), gain(-0.04, 0.02, 20))]
BEHIND = [*LEVEL[:2], replace(LEVEL[2], per_class={"a": cell(0.9), "b": cell(0.5)})]
USELESS = "no better than random"


@pytest.mark.parametrize(
    ("points", "given", "recommendation", "words"),
    [
        ([], {"test_unlabelled": 60}, "measure first", "has no labels"),
        ([], {"test": 0}, "measure first", "does not exist"),
        ([], {}, "measure first", "No detector"),
        (UNMEASURED, {}, "measure first", "No detector"),
        (LEVEL, {"iteration": 3}, "measure first", "iteration 2"),
        (LEVEL, {"pool": 0}, "stop", "pool is empty"),
        (LEVEL[:1], {"pool": 0}, "stop", "pool is empty"),
        (LEVEL, {"pool": 0, "out": 5}, "stop", "no significant gain"),
        (LEVEL[:1], {}, "go on", "with 10 images labelled. The next one will show"),
        (LEVEL[:2], {}, "go on", "One batch is too little"),
        (RISING, {}, "go on", "+0.09 (95 % +0.05 to +0.13), +0.90 per 100 images"),
        (SLOW, {}, "go on", "The last 20 images"),  # one batch is too noisy
        (BEHIND, {"novelty": 0.4}, "look at class", "b is behind with F1 0.50 (0.47 to 0.53)"),
        (LEVEL, {"novelty": 0.3}, "go on", "30 % of the pool is as novel as batch_02"),
        (LEVEL, {"novelty": 0.3, "trust": USELESS}, "stop", "Nor does the ranking"),
        (LEVEL, {"novelty": 0.01}, "stop", "no significant gain"),
        (LEVEL, {"novelty": None}, "stop", "no significant gain"),
        (
            WORSE,
            {},
            "stop",
            "-0.04 (95 % -0.06 to -0.02), -0.20 per 100 images: a significant loss",
        ),
    ],
)
def test_each_branch_of_the_rule(points, given, recommendation, words):
    advice = answer(points, **given)
    assert advice.recommendation == recommendation
    assert words in advice.sentence
    assert advice.class_name == ("b" if recommendation == "look at class" else None)


def test_the_numbers_are_shown_with_the_answer():
    assert any(text.startswith("b: F1 0.50") for text in answer(BEHIND).details)
    assert "The newest images held 3.0 boxes each." in answer(RISING).details


def test_without_intervals_two_hundredths_count_as_a_gain():
    assert is_gain(replace(gain(0.02, 0), interval=None))
    assert not is_gain(replace(gain(0.019, 0), interval=None))


def test_a_class_is_behind_only_with_few_boxes_or_a_clear_interval():
    mean = point(2, 0.7, classes={"a": cell(0.8), "b": cell(0.6, half=0.2)})
    assert weakest(mean) is None  # its interval reaches over the mean
    assert weakest(replace(mean, class_counts={"a": 60, "b": 5})) == "b"
    unmeasured = {"a": cell(0.7), "b": cell(0.0, support=0)}
    assert weakest(point(2, 0.7, classes=unmeasured)) is None
