"""What may be said about a ranking, and when."""

from __future__ import annotations

import json

import numpy as np
import pytest

from unseen.loop.overview_data import VERDICTS
from unseen.loop.trust import Evidence, compare, is_flat, judge_ranking, spread

RARE, COMMON = ["common", "rare"], ["common"]


def evidence(ranked_hits, other_hits, *, ranked=10, other=60, is_fair=True, before=None):
    return Evidence(
        batch="batch_01",
        ranked=[RARE] * ranked_hits + [COMMON] * (ranked - ranked_hits),
        compared=[RARE] * other_hits + [COMMON] * (other - other_hits),
        how="of the test split",
        is_fair=is_fair,
        counts_before={"common": 30} if before is None else before,
    )


def judged(values=None, **more):
    values = np.random.default_rng(0).gamma(1, size=200) if values is None else np.asarray(values)
    return judge_ranking(values, metric="excess", budget=10, **more)


def test_labels_that_hold_what_is_rare_more_often_make_it_good():
    trust = judged(evidence=evidence(8, 5))
    assert trust.verdict == "good"
    assert not trust.is_warning
    assert "8 of 10 ranked images" in trust.sentence
    assert "5 of 60 images of the test split" in trust.sentence
    assert trust.figures["p_value"] < 1e-4
    low, high = trust.figures["difference_interval"]
    assert 0 < low < trust.figures["difference_per_image"] < high


def test_labels_that_do_not_are_a_plain_warning():
    trust = judged(evidence=evidence(1, 6))
    assert trust.verdict == "no better than random"
    assert trust.is_warning
    assert "no better than random" in trust.sentence
    low, high = trust.figures["difference_interval"]
    assert low < 0 < high


def test_a_difference_that_chance_explains_is_weak_and_warns():
    trust = judged(evidence=evidence(3, 9))
    assert trust.verdict == "weak"
    assert trust.is_warning
    assert "cannot be told from chance" in trust.sentence
    assert trust.figures["p_value"] > 0.05


def test_labels_decide_even_where_the_metric_is_flat():
    assert judged(np.full(200, 3.0), evidence=evidence(9, 3)).verdict == "good"


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
    assert trust.verdict == "unknown"
    assert not trust.is_warning
    assert "only labels can tell" in trust.sentence


def test_one_rare_image_in_a_hundred_is_not_flat():
    values = np.random.default_rng(2).normal(100, 10, 1000)
    values[:10] = 500
    assert not is_flat(spread(values, 10))
    assert is_flat(spread(values[10:], 10))


def test_the_initial_images_are_no_fair_comparison():
    # What is new is what they do not hold: any batch would look better.
    trust = judged(evidence=evidence(8, 0, other=10, is_fair=False))
    assert trust.verdict == "unknown"
    assert any("nothing fair to compare with" in text for text in trust.details)


def test_where_nothing_is_rare_labels_cannot_tell():
    trust = judged(evidence=evidence(8, 5, before={"common": 30, "rare": 25}))
    assert trust.verdict == "unknown"
    assert any("Where nothing is rare" in text for text in trust.details)


def test_rare_is_what_had_less_than_a_third_of_an_even_share():
    groups = evidence(2, 2, before={"common": 100, "rare": 20})
    assert compare(groups, [])["rare_classes"] == ["rare"]
    groups = evidence(2, 2, before={"common": 100, "rare": 21})
    assert compare(groups, [])["rare_classes"] == []
    assert compare(evidence(2, 2), [])["new_classes"] == ["rare"]


def test_a_class_that_no_image_shows_decides_nothing():
    found = compare(evidence(0, 0), ["common", "rare", "never"])
    assert found["rare_classes"] == []


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_images_are_too_few(count):
    trust = judged(np.arange(count, dtype=float))
    assert trust.verdict == "unknown"
    assert not trust.is_warning


def test_spread_is_that_of_a_known_distribution():
    found = spread(np.arange(1, 10_001, dtype=float), 100)
    assert found["median"] == pytest.approx(5000.5)
    assert found["q95_to_median"] == pytest.approx(1.9, abs=0.001)
    assert found["variation"] == pytest.approx(1 / 3**0.5, abs=0.001)
    assert found["lift"] == pytest.approx(9950.5 / 5000.5)


def test_old_scores_and_the_share_of_unseen_pixels_are_said():
    details = judged(mean_score=0.0176, are_scores_old=True).details
    assert any("1.8 % of the pixels" in text for text in details)
    assert any("older than the newest UNet" in text for text in details)


def test_every_answer_is_plain_json():
    for given in (None, evidence(8, 5), evidence(1, 6), evidence(8, 0, is_fair=False)):
        trust = judged(evidence=given)
        assert trust.verdict in VERDICTS
        json.dumps(trust.to_dict(), allow_nan=False)
