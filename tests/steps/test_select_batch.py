"""The frozen batch: who is in it, in which order, and what a second call does."""

from __future__ import annotations

import math

import fiftyone as fo
import numpy as np
import pytest

import unseen
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError
from unseen.loop import overview
from unseen.ranking import METRICS, ranking_metric
from unseen.ranking.choosing import Pool, choose
from unseen.steps.select_batch import MOST_IN_BATCH, pool

pytestmark = pytest.mark.fiftyone


def test_without_scores_a_batch_is_random_or_sequential_in_directory_order(make_wafers):
    dataset = make_wafers(6, labelled=0, test=0)
    backwards = dataset.sort_by("filepath", reverse=True)
    chosen = unseen.select_batch(backwards, budget=3, strategy="sequential").sample_ids
    assert chosen == dataset.sort_by("filepath").limit(3).values("id")
    dataset.delete_sample_field("ground_truth")
    chosen = unseen.select_batch(dataset, budget=2, strategy="random", replace=True)
    assert len(chosen.sample_ids) == 2


def test_a_batch_that_is_with_the_annotators_is_not_replaced(make_wafers):
    dataset = make_wafers(6, labelled=2, test=0)
    sent = unseen.select_batch(dataset, budget=2, strategy="random").sample_ids
    unseen.request_annotations(dataset, backend="app", classes=("particle",))
    problem = overview.why_not(dataset, "select_batch", {"strategy": "random", "replace": True})
    assert problem[0] == "replace"
    with pytest.raises(DatasetError, match="batch_01 is with the annotators") as refused:
        unseen.select_batch(dataset, budget=2, strategy="random", replace=True)
    assert str(refused.value) in problem[1]
    assert dataset.match_tags("batch_01").values("id") == sorted(sent)
    # Once one of its images is labelled, the next batch follows.
    sample = dataset[sent[0]]
    sample["ground_truth"] = fo.Detections()
    sample.save()
    unseen.load_annotations(dataset)
    assert unseen.select_batch(dataset, budget=1, strategy="random").batch == "batch_02"


@pytest.mark.parametrize("metric", METRICS)
def test_plain_is_the_order_of_the_metric_and_diverse_starts_with_the_highest(scored, metric):
    ids, values = scored.exists("unseen_excess").values(["id", f"unseen_{metric}"])
    best = [ids[i] for i in np.argsort(-np.asarray(values), kind="stable")[:5]]
    plain = unseen.select_batch(scored, budget=5, strategy="plain", metric=metric)
    assert plain.sample_ids == best
    settings = {"strategy": "diverse", "metric": metric, "replace": True}
    assert unseen.select_batch(scored, budget=3, **settings).sample_ids[0] == best[0]


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("strategy", ["plain", "entropy", "foreground", "diverse", "random"])
def test_what_the_database_ranks_is_the_ranking_of_the_whole_pool(scored, strategy, share):
    images = Loop(scored).pool.sort_by("filepath")
    ids = images.values("id")
    metric = [2.0, 5.0, math.nan, 5.0, 0.0, 5.0, 2.0, 7.0]
    name = f"unseen_{ranking_metric(strategy, 'excess')}".replace("random", "excess")
    scored.set_values(name, dict(zip(ids, metric, strict=True)), key_field="id")
    embeddings = dict(zip(*images.values(["id", "unseen_embedding"]), strict=True))
    in_memory = Pool(
        len(ids),
        np.arange(len(ids)),
        metric=np.asarray(metric),
        embed=lambda rows: [embeddings[ids[i]] for i in rows],
    )
    for budget in (1, 2, 3, 5, len(ids)):
        chosen = unseen.select_batch(
            scored, budget=budget, strategy=strategy, random_share=share, seed=3, replace=True
        )
        rng = np.random.default_rng(3)
        expected = choose(strategy, in_memory, budget, rng=rng, random_share=share).order
        assert chosen.sample_ids == [ids[i] for i in expected]
        assert (chosen.pool, chosen.unscored) == (len(ids), 0)


@pytest.mark.parametrize("strategy", ["balanced", "mixed"])
def test_a_pool_of_any_size_is_chosen_from_a_bounded_number_of_candidates(
    scored, monkeypatch, strategy
):
    settings = {"strategy": strategy, "features": "statistics", "replace": True}

    def chosen(budget, most):
        monkeypatch.setattr(pool, "MOST_CANDIDATES", most)
        return unseen.select_batch(scored, budget=budget, **settings)

    size = len(Loop(scored).pool)
    whole = chosen(1, size)
    assert (whole.candidates, whole.pool) == (0, size)
    some = chosen(1, 6)
    assert some.pool == size
    assert 3 <= some.candidates <= 6
    assert chosen(1, 6).sample_ids == some.sample_ids
    assert f"{some.candidates} of the scored images" in some.summary()
    if strategy == "balanced":  # the image with the highest gain is always a candidate
        assert some.sample_ids == whole.sample_ids
    # Three times the batch, so that a large one has a choice too.
    assert len(chosen(2, 1).sample_ids) == 2


def test_the_same_seed_gives_the_same_batch(scored):
    settings = {"budget": 4, "strategy": "diverse", "random_share": 0.5, "replace": True}
    first = unseen.select_batch(scored, seed=3, **settings).sample_ids
    again = unseen.select_batch(scored, seed=3, **settings).sample_ids
    other = unseen.select_batch(scored, seed=4, **settings).sample_ids
    assert first == again
    assert first[:2] == other[:2]
    assert first != other


def test_a_batch_that_is_out_is_replaced_only_when_asked(scored):
    unseen.select_batch(scored, budget=3, strategy="plain")
    with pytest.raises(DatasetError, match="batch_01 is still out"):
        unseen.select_batch(scored, budget=2)
    chosen = unseen.select_batch(scored, budget=2, strategy="random", replace=True).sample_ids
    assert set(scored.match_tags("batch_01").values("id")) == set(chosen)
    ranks = dict(zip(*scored.exists("unseen_rank").values(["id", "unseen_rank"]), strict=True))
    assert ranks == {chosen[0]: 1, chosen[1]: 2}
    assert scored.list_saved_views() == ["batch_01"]


def test_scoring_again_does_not_change_a_frozen_batch(scored):
    chosen = unseen.select_batch(scored, budget=3).sample_ids
    unseen.train_unet(scored, steps=3, seed=9, crop_size=32, channels=(4, 8))
    unseen.score_samples(scored)
    assert scored.load_saved_view("batch_01").values("id") == chosen


def test_a_partly_labelled_batch_counts_and_its_rest_returns_to_the_pool(scored):
    first = unseen.select_batch(scored, budget=3, strategy="plain").sample_ids
    scored.set_values("ground_truth", {first[0]: fo.Detections()}, key_field="id")
    second = unseen.select_batch(scored, budget=7, strategy="plain")
    assert second.batch == "batch_02"
    assert set(first[1:]) <= set(second.sample_ids)
    assert first[0] not in second.sample_ids


def test_test_and_excluded_samples_are_never_chosen(scored):
    scored.exists("unseen_excess").limit(2).tag_samples("excluded")
    chosen = unseen.select_batch(scored, budget=6, strategy="plain").sample_ids
    assert not set(chosen) & set(scored.match_tags(["test", "excluded"]).values("id"))


def test_somebody_elses_view_of_the_batchs_name_is_not_replaced(wafers):
    wafers.save_view("batch_01", wafers.limit(2), description="mine")
    with pytest.raises(DatasetError, match=r"'batch_01'.*not made by this package; rename it"):
        unseen.select_batch(wafers, budget=3, strategy="random")
    assert len(wafers.load_saved_view("batch_01")) == 2
    assert wafers.count_sample_tags().get("batch_01", 0) == 0


# --- whose is a batch ------------------------------------------------------------------------------
def test_a_tag_that_no_record_names_is_not_a_batch(scored):
    theirs = ["batch_01", "batch_02"]
    scored.limit(3).tag_samples(theirs)
    before = scored.values("tags")
    for settings in ({}, {"replace": True}):
        with pytest.raises(DatasetError, match=r"3 images .* have the tag 'batch_01'.*series="):
            unseen.select_batch(scored, budget=2, **settings)
    assert scored.values("tags") == before
    assert Loop(scored).batches() == {}
    with pytest.raises(DatasetError, match="has no batch yet"):
        unseen.request_annotations(scored, backend="app")
    assert (
        unseen.select_batch(scored, budget=2, series="mine", strategy="random").batch
        == "mine_batch_01"
    )
    assert unseen.clean_dataset(scored, keep_checkpoints=True).tags == ["mine_batch_01"]
    assert scored.values("tags") == before


def test_a_batch_is_known_and_cleaned_without_its_saved_view(scored):
    unseen.select_batch(scored, budget=2)
    scored.delete_saved_view("batch_01")
    assert unseen.clean_dataset(scored, dry_run=True, keep_checkpoints=True).tags == ["batch_01"]
    unseen.clean_dataset(scored, keep_checkpoints=True)
    assert "batch_01" not in scored.distinct("tags")


def test_a_batch_whose_images_are_all_deleted_is_chosen_anew(scored):
    scored.delete_samples(unseen.select_batch(scored, budget=2).sample_ids)
    assert unseen.select_batch(scored, budget=2).batch == "batch_01"


def test_a_replaced_batch_stays_in_the_record_that_names_it(scored):
    first = unseen.select_batch(scored, budget=2).sample_ids
    scored.set_values("ground_truth", {first[0]: fo.Detections()}, key_field="id")
    unseen.select_batch(scored, budget=2)
    scored.set_values("ground_truth", {first[0]: None}, key_field="id")  # taken back
    assert unseen.select_batch(scored, budget=2, replace=True).batch == "batch_02"
    assert Loop(scored).batches() == {1: "batch_01", 2: "batch_02"}


def test_an_unfinished_batch_is_nobodys_and_is_chosen_again(scored):
    loop, ids = Loop(scored), scored.match_tags("test", bool=False).values("id")[-2:]
    unseen.select_batch(scored, budget=2)
    loop.begin_entry(0, "select_batch", {"batch": "batch_01", "batch_ids": ids})
    scored.set_values("unseen_rank", dict.fromkeys(ids, 7), key_field="id")
    assert loop.batches() == {}
    for settings in ({}, {"iteration": 1}):
        with pytest.raises(DatasetError, match="batch_01 was not finished; run select_batch again"):
            unseen.request_annotations(scored, backend="app", **settings)
    chosen = unseen.select_batch(scored, budget=3)
    assert chosen.batch == "batch_01"
    assert set(scored.match_tags("batch_01").values("id")) == set(chosen.sample_ids)
    assert sorted(scored.exists("unseen_rank").values("unseen_rank")) == [1, 2, 3]
    assert loop.unfinished("select_batch") is None


def test_a_choice_asks_the_database_a_few_dozen_times_however_long_the_loop_is(
    scored, database_commands
):
    counts = []
    for _ in range(3):
        with database_commands.counted() as names:
            chosen = unseen.select_batch(scored, budget=2, strategy="plain")
        counts.append(len(names))
        scored.set_values("ground_truth", {chosen.sample_ids[0]: fo.Detections()}, key_field="id")
    assert max(counts) <= 38
    assert counts[-1] <= counts[0]


def test_the_largest_batch_fits_into_its_record(scored):
    from unseen.ranking.mixed import CRITERIA

    ids = [f"{i:024x}" for i in range(MOST_IN_BATCH)]
    entry = {
        "batch": "batch_01",
        "batch_ids": ids,
        "sources": dict.fromkeys(ids, max(CRITERIA, key=len)),
    }
    Loop(scored).write_entry(0, "select_batch", entry)
    assert len(Loop(scored).entry(0, "select_batch")["sources"]) == MOST_IN_BATCH
