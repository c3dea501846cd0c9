"""What may be said about a ranking, and when; the gain over the control group."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unseen.loop.overview_data import VERDICTS
from unseen.loop.trust import (
    Evidence,
    LabelledBatch,
    compare,
    control_group,
    is_flat,
    judge_ranking,
    spread,
)

RARE, COMMON = ["common", "rare"], ["common"]


def evidence(ranked_hits, other_hits, *, ranked=10, other=60, is_fair=True, before=None):
    batch = LabelledBatch(
        name="batch_01",
        ranked=[RARE] * ranked_hits + [COMMON] * (ranked - ranked_hits),
        random=[],
        counts_before={"common": 30} if before is None else before,
    )
    compared = [RARE] * other_hits + [COMMON] * (other - other_hits)
    return Evidence(batch=batch, compared=compared, how="of the test split", is_fair=is_fair)


def judged(values=None, **more):
    """The trust in a ranking, checked for plain JSON."""
    values = np.random.default_rng(0).gamma(1, size=200) if values is None else np.asarray(values)
    trust = judge_ranking(values, metric="excess", budget=10, **more)
    assert trust.verdict in VERDICTS
    json.dumps(trust.to_dict(), allow_nan=False)
    return trust


@pytest.mark.parametrize(
    ("hits", "ranked", "other_hits", "verdict", "words"),
    [
        (8, 10, 5, "good", "8 of 10 ranked images"),
        (8, 10, 5, "good", "5 of 60 images of the test split"),
        (3, 10, 9, "weak", "not significant yet"),
        (2, 20, 6, "no better than random", "no better than random"),
    ],
)
def test_labels_decide_and_all_but_good_is_a_warning(hits, ranked, other_hits, verdict, words):
    found = evidence(hits, other_hits, ranked=ranked)
    trust = judged(evidence=found)
    assert (trust.verdict, trust.is_warning) == (verdict, verdict != "good")
    assert words in trust.sentence
    assert (trust.figures["p_value"] <= 0.05) == (verdict == "good")
    low, high = trust.figures["difference_interval"]
    assert low < trust.figures["difference_per_image"] < high
    assert (low > 0) == (verdict == "good")
    flat = judged(np.full(200, 3.0), evidence=found)
    assert flat.verdict == verdict


@pytest.mark.parametrize(
    "values",
    [np.zeros(200), np.full(200, 7.0), np.random.default_rng(1).normal(100, 10, 200)],
    ids=["nothing is unseen", "all equal", "noise around a level"],
)
def test_a_flat_metric_is_a_plain_warning(values):
    trust = judged(values)
    assert trust.verdict == "no better than random"
    assert trust.is_warning


def test_before_labels_come_back_a_metric_that_differs_is_unknown_not_good():
    trust = judged()
    assert (trust.verdict, trust.is_warning) == ("unknown", False)
    assert "only labels can tell" in trust.sentence


def test_one_rare_image_in_a_hundred_is_not_flat():
    values = np.random.default_rng(2).normal(100, 10, 1000)
    values[:10] = 500
    assert not is_flat(spread(values, 10))
    assert is_flat(spread(values[10:], 10))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        # What is new is what the initial images do not hold: any batch would look better.
        (evidence(8, 0, other=10, is_fair=False), "no fair comparison"),
        (evidence(8, 5, before={"common": 30, "rare": 25}), "Where nothing is rare"),
        (evidence(1, 9, ranked=8), "Too few images to tell the ranking from random: 1 of 8"),
        (evidence(1, 3, ranked=30, other=12), "Too few images"),
    ],
)
def test_some_labels_cannot_tell(given, words):
    trust = judged(evidence=given)
    assert trust.verdict == "unknown"
    assert any(words in text for text in trust.details)


def test_rare_is_what_had_at_most_a_third_of_an_even_share():
    groups = evidence(2, 2, before={"common": 100, "rare": 20})
    assert compare(groups, [])["rare_classes"] == ["rare"]
    groups = evidence(2, 2, before={"common": 100, "rare": 21})
    assert compare(groups, [])["rare_classes"] == []
    assert compare(evidence(2, 2), [])["new_classes"] == ["rare"]
    # A class that no image shows decides nothing.
    assert compare(evidence(0, 0), ["common", "rare", "never"])["rare_classes"] == []


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_images_are_too_few(count):
    trust = judged(np.arange(count, dtype=float))
    assert (trust.verdict, trust.is_warning) == ("unknown", False)


def test_spread_is_that_of_a_known_distribution():
    figures = spread(np.arange(1, 10_001, dtype=float), 100)
    assert figures["median"] == pytest.approx(5000.5)
    assert figures["q95_to_median"] == pytest.approx(1.9, abs=0.001)
    assert figures["variation"] == pytest.approx(1 / 3**0.5, abs=0.001)
    assert figures["lift"] == pytest.approx(9950.5 / 5000.5)


def test_old_scores_and_the_share_of_unseen_pixels_are_said():
    details = " ".join(judged(mean_score=0.0176, are_scores_old=True).details)
    assert "1.8 %" in details
    assert "older than the newest UNet" in details


# --- the control group -----------------------------------------------------------------------------
BEFORE = {"particle": 90, "scratch": 10, "stain": 0}
CLASSES = ["particle", "scratch", "stain"]
STAIN = ["stain"]


def control(*batches):
    made = [
        LabelledBatch(name=f"batch_{k:02d}", ranked=ranked, random=random, counts_before=BEFORE)
        for k, (ranked, random) in enumerate(batches)
    ]
    return control_group(made, CLASSES)


def test_without_a_random_part_there_is_nothing_to_say():
    assert control() is None
    assert control(([STAIN], [])) is None
    assert control(([], [STAIN])) is None


def test_boxes_of_rare_and_new_classes_are_counted_per_image():
    found = control(([["stain", "stain", "particle"], ["scratch"], []], [["particle"], STAIN]))
    assert found.batches[0].rare_classes == ["scratch", "stain"]
    assert (found.batches[0].ranked_boxes, found.batches[0].random_boxes) == (3, 1)
    assert (found.ranked_per_image, found.random_per_image) == pytest.approx((1.0, 0.5))
    assert found.gain == pytest.approx(0.5)


def test_rare_is_what_was_rare_when_the_batch_was_chosen():
    later = {"particle": 90, "scratch": 60, "stain": 50}
    batches = [
        LabelledBatch(name=name, ranked=[STAIN] * 4, random=[[]] * 2, counts_before=before)
        for name, before in (("batch_01", BEFORE), ("batch_02", later))
    ]
    found = control_group(batches, CLASSES)
    assert [row.rare_classes for row in found.batches] == [["stain"], []]
    assert found.gain == pytest.approx(0.5)  # 1 per image in one of two equal batches


def test_batches_count_by_their_ranked_images():
    found = control(([STAIN] * 30, [[]] * 5), ([[]] * 10, [[]] * 5))
    assert found.ranked_per_image == pytest.approx(0.75)


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says():
    rng = np.random.default_rng(5)

    def part(mean, size):
        return [STAIN * int(n) for n in rng.poisson(mean, size)]

    intervals = [
        control(*[(part(1.5, 30), part(0.5, 10)) for _ in range(3)]).interval for _ in range(100)
    ]
    hits = sum(interval.low <= 1.0 <= interval.high for interval in intervals)
    assert hits >= 86  # 95 % less what a percentile interval of few images lacks


@pytest.mark.parametrize(
    ("ranked", "random", "words"),
    [
        ([STAIN] * 20, [[]] * 18 + [STAIN] * 2, "the gain is significant"),
        ([[]] * 18 + [STAIN] * 2, [STAIN] * 20, "it is a significant loss"),
        ([STAIN, []] * 3, [STAIN, []] * 3, "not significant yet"),
        ([STAIN], [[]], "too few random images"),
        ([["particle"]] * 5, [["particle"]] * 5, "no class was rare"),
    ],
)
def test_the_sentence_says_how_sure_it_is(ranked, random, words):
    assert words in control((ranked, random)).sentence
