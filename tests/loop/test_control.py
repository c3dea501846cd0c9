"""The gain over random is that of the labels, and as certain as their number allows."""

from __future__ import annotations

import numpy as np
import pytest

from unseen.loop.control import LabelledParts, control_group

BEFORE = {"particle": 90, "scratch": 10, "stain": 0}
CLASSES = ["particle", "scratch", "stain"]


def parts(ranked, random, name="batch_01", before=None):
    return LabelledParts(
        batch=name, ranked=ranked, random=random, counts_before=BEFORE if before is None else before
    )


def test_without_a_random_part_there_is_nothing_to_say():
    assert control_group([], CLASSES) is None
    assert control_group([parts([["stain"]], [])], CLASSES) is None
    assert control_group([parts([], [["stain"]])], CLASSES) is None


def test_boxes_of_rare_and_new_classes_are_counted_per_image():
    found = control_group(
        [parts([["stain", "stain", "particle"], ["scratch"], []], [["particle"], ["stain"]])],
        CLASSES,
    )
    assert found.batches[0].rare_classes == ["scratch", "stain"]
    assert (found.batches[0].ranked_boxes, found.batches[0].random_boxes) == (3, 1)
    assert found.ranked_per_image == pytest.approx(1.0)
    assert found.random_per_image == pytest.approx(0.5)
    assert found.gain == pytest.approx(0.5)


def test_rare_is_what_was_rare_when_the_batch_was_chosen():
    later = {"particle": 90, "scratch": 60, "stain": 50}
    first = parts([["stain"]] * 4, [[]] * 2)
    second = parts([["stain"]] * 4, [[]] * 2, "batch_02", later)
    found = control_group([first, second], CLASSES)
    assert [row.rare_classes for row in found.batches] == [["stain"], []]
    assert found.gain == pytest.approx(0.5)  # 1 per image in one of two equal batches


def test_batches_count_by_their_ranked_images():
    found = control_group(
        [parts([["stain"]] * 30, [[]] * 5), parts([[]] * 10, [[]] * 5, "batch_02")], CLASSES
    )
    assert found.ranked_per_image == pytest.approx(0.75)


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(100):
        batches = [
            parts(
                [["stain"] * int(n) for n in rng.poisson(1.5, 30)],
                [["stain"] * int(n) for n in rng.poisson(0.5, 10)],
                f"batch_{k:02d}",
            )
            for k in range(3)
        ]
        interval = control_group(batches, CLASSES).interval
        hits += interval.low <= 1.0 <= interval.high
    assert hits >= 86  # 95 % less what a percentile interval of few images lacks


@pytest.mark.parametrize(
    ("ranked", "random", "words"),
    [
        ([["stain"]] * 20, [[]] * 18 + [["stain"]] * 2, "it is real"),
        ([[]] * 18 + [["stain"]] * 2, [["stain"]] * 20, "it is a loss"),
        ([["stain"], []] * 3, [["stain"], []] * 3, "cannot be told from chance"),
        ([["stain"]], [[]], "too few random images"),
        ([["particle"]] * 5, [["particle"]] * 5, "no class was rare"),
    ],
)
def test_the_sentence_says_how_sure_it_is(ranked, random, words):
    assert words in control_group([parts(ranked, random)], CLASSES).sentence
