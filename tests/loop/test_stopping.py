"""Each branch of the rule in docs/method.md, "When to stop"."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from unseen.loop.overview_data import (
    RECOMMENDATIONS,
    Action,
    ClassPoint,
    Counts,
    Curve,
    Gain,
    Interval,
    Novelty,
    Now,
    Point,
    Progress,
    Ranking,
    Trust,
)
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
    progress = Progress(dataset="d", classes=["a", "b"], curves=[curve], rows=[], eval_keys=[])
    ranking = Ranking(
        dataset="d",
        metric="excess",
        field="unseen_excess",
        scored=200,
        histogram=None,
        batch=None,
        rows=[],
        trust=Trust(verdict=trust, sentence=""),
        novelty=None
        if novelty is None
        else Novelty(share=novelty, reference=1.0, batch="batch_02"),
    )
    advice = advise(progress, ranking, now)
    assert advice.recommendation in RECOMMENDATIONS
    json.dumps(advice.to_dict(), allow_nan=False)
    return advice


def test_without_a_labelled_test_split_measure_first():
    advice = answer([], test_unlabelled=60)
    assert advice.recommendation == "measure first"
    assert "has no labels" in advice.sentence
    assert "does not exist" in answer([], test=0).sentence


def test_without_a_measured_detector_measure_first():
    assert "No detector" in answer([replace(point(0, 0.7), macro_f1=None)]).sentence
    assert answer([]).recommendation == "measure first"


def test_labels_that_came_since_are_measured_first():
    advice = answer(LEVEL, iteration=3)
    assert advice.recommendation == "measure first"
    assert "iteration 2" in advice.sentence


def test_an_empty_pool_is_the_end():
    assert answer(LEVEL, pool=0).recommendation == "stop"
    assert answer(LEVEL[:1], pool=0).recommendation == "stop"
    assert "pool is empty" not in answer(LEVEL, pool=0, out=5).sentence


def test_one_batch_is_too_little_to_stop():
    assert answer(LEVEL[:1]).recommendation == "go on"
    advice = answer(LEVEL[:2])
    assert advice.recommendation == "go on"
    assert "One batch is too little" in advice.sentence


def test_a_rise_that_is_no_chance_goes_on():
    rising = [*LEVEL[:2], point(2, 0.8, gain(0.09, 0.04, since=1), gain(0.1, 0.05, 20))]
    advice = answer(rising)
    assert advice.recommendation == "go on"
    assert "+0.09 (95 % +0.05 to +0.13), +0.90 per 100 images" in advice.sentence
    assert advice.figures["gain_one"]["per_image"] == pytest.approx(0.009)
    assert advice.figures["gain_one"]["per_image_interval"] == pytest.approx([0.005, 0.013])
    assert advice.figures["boxes_per_image"] == 3


def test_a_rise_over_two_batches_counts_where_one_is_too_noisy():
    slow = [*LEVEL[:2], point(2, 0.76, gain(0.05, 0.06, since=1), gain(0.06, 0.05, 20))]
    assert "The last 20 images" in answer(slow).sentence
    assert answer(slow).recommendation == "go on"


def test_a_class_that_stays_behind_is_named():
    classes = {"a": cell(0.9), "b": cell(0.5)}
    points = [*LEVEL[:2], replace(LEVEL[2], per_class=classes)]
    advice = answer(points, novelty=0.4)
    assert (advice.recommendation, advice.class_name) == ("look at class", "b")
    assert "b is behind with F1 0.50 (0.47 to 0.53), learned from 60 boxes" in advice.sentence
    assert any(text.startswith("b: F1 0.50") for text in advice.details)


def test_with_novelty_left_one_more_batch():
    advice = answer(LEVEL, novelty=0.3)
    assert advice.recommendation == "go on"
    assert "30 % of the pool is as novel as batch_02" in advice.sentence


def test_novelty_by_a_ranking_that_means_nothing_does_not_count():
    advice = answer(LEVEL, novelty=0.3, trust="no better than random")
    assert advice.recommendation == "stop"


@pytest.mark.parametrize("novelty", [0.01, None])
def test_level_and_nothing_new_is_the_time_to_stop(novelty):
    advice = answer(LEVEL, novelty=novelty)
    assert advice.recommendation == "stop"
    assert "no gain that can be told from chance" in advice.sentence
    assert advice.figures["gain_two"]["interval"] == pytest.approx([-0.05, 0.05])


def test_without_intervals_two_hundredths_count_as_a_gain():
    assert is_gain(replace(gain(0.02, 0), interval=None))
    assert not is_gain(replace(gain(0.019, 0), interval=None))


def test_a_class_is_behind_only_with_few_boxes_or_a_clear_interval():
    mean = point(2, 0.7, classes={"a": cell(0.8), "b": cell(0.6, half=0.2)})
    assert weakest(mean) is None  # its interval reaches over the mean
    assert weakest(replace(mean, class_counts={"a": 60, "b": 5}))[0] == "b"
    unmeasured = {"a": cell(0.7), "b": cell(0.0, support=0)}
    assert weakest(point(2, 0.7, classes=unmeasured)) is None
