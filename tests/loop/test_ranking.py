"""What the overview says about scores, the batch and its labels, on real datasets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from overview_facts import (
    NAMES,
    all_answers,
    loop_of,
    score,
)

import unseen
from unseen.errors import ConfigError
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone


def test_the_histogram_counts_pool_and_batch_and_rows_are_in_rank_order(begun):
    unseen.select_batch(begun, budget=5, strategy="plain")
    _, ranking, *_ = all_answers(begun)
    assert (sum(ranking.histogram.pool), sum(ranking.histogram.batch)) == (21, 5)
    assert [r.rank for r in ranking.rows] == [1, 2, 3, 4, 5]
    values = [r.value for r in ranking.rows]
    assert values == sorted(values, reverse=True)
    assert values == begun.load_saved_view("batch_01").values(NAMES.excess)
    assert {r.regions for r in ranking.rows} == {3}
    assert {r.filename for r in ranking.rows} == {
        p.rsplit("/", 1)[1] for p in begun.match_tags("batch_01").values("filepath")
    }


def test_scores_of_an_earlier_unet_do_not_mix_in(begun, rng):
    some = loop_of(begun).pool.values("id")
    score(begun, some[:6], rng, mark="earlier")
    _, ranking, *_ = all_answers(begun)
    assert ranking.scored == 20


def test_the_metric_is_as_asked_or_the_one_that_ranked_the_batch(begun):
    asked = overview.ranking(begun, metric="entropy")
    assert (asked.metric, asked.field) == ("entropy", NAMES.entropy)
    with pytest.raises(ConfigError, match="expected one of excess"):
        overview.ranking(begun, metric="beauty")
    assert overview.ranking(begun).metric == "excess"
    unseen.select_batch(begun, budget=2, strategy="plain", metric="alpha")
    assert overview.ranking(begun).metric == "alpha"
    entry = loop_of(begun).entry(0, "score_samples")
    adapted = {"parameters": {"adapt_alpha": True}, "alpha": 2.5, "imbalance": 0.25}
    loop_of(begun).write_entry(0, "score_samples", {**entry, **adapted})
    details = overview.ranking(begun).trust.details
    assert any("alpha (exponent 2.50, by an imbalance of 0.25)" in text for text in details)
    unseen.select_batch(begun, budget=2, strategy="entropy", replace=True)
    assert overview.ranking(begun).metric == "entropy"


def test_once_labelled_the_batch_is_compared_with_the_test_split(begun):
    unseen.select_batch(begun, budget=6, strategy="plain")
    before = Counter(loop_of(begun).label_facts()["class_counts"])
    unseen.reveal_labels(begun)
    _, ranking, *_ = all_answers(begun)
    figures = ranking.trust.figures
    assert (figures["ranked_images"], figures["other_images"]) == (6, 5)
    assert figures["compared_with"] == "of the test split"
    rare = figures["rare_classes"]
    assert all(before[c] <= before.total() / 6 for c in rare)
    batch = begun.match_tags("batch_01").values("ground_truth.detections.label")
    assert figures["ranked_with_rare"] == sum(bool(set(rare) & set(labels)) for labels in batch)
    values = begun.match_tags("batch_01").values(NAMES.excess)
    assert ranking.novelty.reference == pytest.approx(np.median(values))
    pool = loop_of(begun).pool.values(NAMES.excess)
    assert ranking.novelty.share == pytest.approx(np.mean(np.asarray(pool) >= np.median(values)))


def test_the_random_share_of_a_batch_is_its_control_group(begun, tmp_path):
    assert overview.control(begun) is None
    chosen = unseen.select_batch(begun, budget=24, strategy="plain", random_share=0.5).sample_ids
    assert overview.control(begun) is None  # nothing of it is labelled yet
    unseen.reveal_labels(begun)
    ranking = overview.ranking(begun)
    figures = ranking.trust.figures
    assert figures["compared_with"] == "drawn at random"
    assert (figures["ranked_images"], figures["other_images"]) == (12, 12)
    (row,) = ranking.control.batches
    assert (row.batch, row.ranked_images, row.random_images) == ("batch_01", 12, 12)
    labels = begun.select(chosen, ordered=True).values("ground_truth.detections.label")
    boxes = [sum(label in row.rare_classes for label in image or ()) for image in labels]
    assert (row.ranked_boxes, row.random_boxes) == (sum(boxes[:12]), sum(boxes[12:]))
    assert overview.control(begun) == ranking.control
    unseen.compare_iterations(begun, pictures=False, output=str(tmp_path / "report"))
    assert ranking.control.sentence in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("strategy", ["plain", "mixed"])
def test_what_fills_a_batch_at_random_does_not_count_as_ranked(begun, strategy):
    pool = loop_of(begun).pool
    begun.select(pool.values("id")[2:]).set_values(NAMES.model, [None] * (len(pool) - 2))
    unseen.select_batch(begun, budget=8, strategy=strategy)
    unseen.reveal_labels(begun)
    (row,) = overview.control(begun).batches
    assert (row.ranked_images, row.random_images) == (2, 6)


def test_the_histogram_counts_the_images_of_its_view(begun, rng):
    ids = loop_of(begun).pool.values("id")
    everything = begun.values("id")
    score(begun, everything, rng)  # labelled and test images have a value too
    score(begun, ids[:3], rng, mark="earlier")
    begun.select(ids[3:5]).tag_samples("excluded")
    unseen.select_batch(begun, budget=4, strategy="plain")
    for labelled in (False, True):
        if labelled:
            unseen.reveal_labels(begun)
        shown = overview.ranking(begun).histogram
        assert sum(shown.pool) == 17
        assert sum(shown.pool) + sum(shown.batch) == len(overview.counted(begun)) == 21


def test_before_the_first_batch_there_are_no_ranks(begun):
    assert overview.ranking(begun).rows == []
