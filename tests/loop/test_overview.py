"""The overview of real datasets: counts, caching, any state at all."""

from __future__ import annotations

from dataclasses import replace

import fiftyone as fo
import pytest
from overview_facts import (
    NAMES,
    all_answers,
    facts_of,
    hand_out,
    loop_of,
    predict,
    record_unet,
)

import unseen
from unseen.annotation import sendings, truth
from unseen.dataset.fields import LOADED, REMOVED, Names
from unseen.loop import overview
from unseen.loop.overview_data import CURRENT, OLD

pytestmark = pytest.mark.fiftyone


def test_an_empty_dataset_says_what_to_do_first(make_wafers):
    now, ranking, progress, advice = all_answers(make_wafers(0, labelled=0, test=0))
    assert now.next_action.operator == "@voxel51/io/import_samples"
    assert now.empty_state
    assert ranking.empty_state
    assert progress.empty_state
    assert advice.recommendation == "measure first"


def test_counts_are_those_of_the_views(begun):
    loop = loop_of(begun)
    some = loop.pool.values("id")
    begun.select(some[:3]).tag_samples("excluded")
    begun.select(some[3:5]).tag_samples("my own tag")
    begun.match_tags("test").limit(2).set_values("ground_truth", [None] * 2)
    counts = all_answers(begun)[0].counts
    assert counts.pool == len(loop.pool) == 23
    assert counts.labelled == len(loop.labelled) == 4
    assert counts.boxes == loop.labelled.count("ground_truth.detections")
    assert (counts.test, counts.test_unlabelled, counts.excluded, counts.initial) == (5, 2, 3, 4)


def test_the_loop_is_followed_from_the_split_to_the_next_turn(begun, rng):
    def due():
        now, *_ = all_answers(begun)
        return now.next_action.operator

    assert due() == "select_batch"
    unseen.select_batch(begun, budget=5)
    assert due() == "request_annotations"
    hand_out(begun, 1)
    now, *_ = all_answers(begun)
    assert now.counts.out == 5
    assert (now.batch.sent, now.batch.labelled, now.batch.missing) == (5, 0, 5)
    assert now.next_action.operator == "label_next"
    predict(begun, rng)
    unseen.reveal_labels(begun)
    assert due() == "load_annotations"  # closes the batch
    unseen.load_annotations(begun)
    now, *_ = all_answers(begun)
    assert now.iteration == 1
    assert now.next_action.operator == "train_unet"
    assert "5 images were labelled" in now.next_action.reason
    record_unet(begun, 1, "1" * 64)
    now, ranking, *_ = all_answers(begun)
    assert now.next_action.operator == "score_samples"
    assert "21 images were never scored by the newest UNet" in now.next_action.reason
    assert any("older than the newest UNet" in text for text in ranking.trust.details)


def test_removed_images_are_neither_missing_nor_in_the_pool(begun):
    unseen.select_batch(begun, budget=5)
    ids = hand_out(begun, 1)
    states = {i: truth.Update(state=REMOVED) for i in ids[:2]}
    states |= {i: truth.Update(state=LOADED) for i in ids[2:]}
    truth.write(loop_of(begun), NAMES.anno_key(1), states)
    now, *_ = all_answers(begun)
    assert (now.batch.removed, now.batch.missing) == (2, 3)
    assert now.counts.excluded == 2


def test_an_answer_is_kept_until_something_changes(begun):
    first = overview.now(begun)
    assert overview.now(begun) is first
    changes = (
        lambda: begun.match_tags("initial").limit(1).tag_samples("excluded"),
        lambda: loop_of(begun).write_entry(0, "screen_images", {}),
        lambda: begun.delete_samples(loop_of(begun).pool.limit(1)),
        lambda: begun.set_values("ground_truth", [None] * len(begun)),
        lambda: unseen.select_batch(begun, strategy="random", budget=2),
    )
    for change in changes:
        before = overview.now(begun)
        assert overview.now(begun) is before
        change()
        assert overview.now(begun) is not before
    assert overview.now(begun).counts.labelled == 0


def test_another_process_that_wrote_is_noticed(begun):
    before = overview.now(begun)
    loop_of(begun).labelled._dataset._sample_collection.update_many(
        {}, {"$set": {"tags": ["excluded"]}, "$currentDate": {"last_modified_at": True}}
    )
    assert overview.now(begun).counts.excluded == len(begun) != before.counts.excluded


def test_labels_that_come_without_any_record_can_be_looked_at(make_wafers):
    dataset = make_wafers(12, labelled=12, test=3)
    now, ranking, progress, _ = all_answers(dataset)
    assert now.counts.pool == 0
    assert now.next_action.operator == "train_detector"
    assert ranking.empty_state
    assert progress.empty_state


def test_a_label_field_of_another_kind_is_said(make_wafers):
    dataset = make_wafers(3, labelled=1, test=0)
    dataset.add_sample_field("kind", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    dataset.set_values("kind", [fo.Classification(label="x")] * 3)
    now, *_ = all_answers(dataset, Names(label_field="kind"))
    assert "holds Classification" in now.empty_state


def test_samples_without_tags_are_counted(begun):
    begun._sample_collection.update_many({}, {"$unset": {"tags": ""}})
    now, *_ = all_answers(begun)
    assert (now.counts.test, now.batch) == (0, None)


def test_another_loop_has_its_own_numbers_and_its_buttons_carry_its_name(begun):
    other = Names(series="second", label_field="second_labels")
    now, *_ = all_answers(begun, other)
    assert now.counts.labelled == 0
    shared = {"series": "second", "label_field": "second_labels"}
    for action in (now.next_action, *now.other_actions):
        assert action.params.items() >= shared.items()
    assert all_answers(begun)[0].next_action.params == {}


def test_a_dataset_can_be_asked_by_name_and_by_view(begun):
    assert overview.now(begun.name) == overview.now(begun.limit(1)) == overview.now(begun)


def test_labels_that_came_or_changed_make_models_old(begun):
    assert facts_of(begun).unet == CURRENT
    sample = loop_of(begun).pool.first()
    sample.ground_truth = sample.hidden_truth.copy()
    sample.save()
    unseen.select_batch(begun, budget=2, strategy="random")  # writes the record's counts anew
    assert (facts_of(begun).unet, facts_of(begun).new_images) == (OLD, 1)
    record_unet(begun, 0)
    assert facts_of(begun).unet == CURRENT
    sample.ground_truth.detections.append(sample.ground_truth.detections[0].copy())
    sample.save()
    assert (facts_of(begun).unet, facts_of(begun).new_images) == (OLD, 0)


def test_labels_that_were_made_in_the_app_wait_to_be_loaded(begun):
    unseen.select_batch(begun, budget=10)
    ids = hand_out(begun, 1)
    begun.select(ids[:4]).set_values("ground_truth", [fo.Detections()] * 4)
    now = overview.now_with_server(begun)
    assert now.batch.waiting_to_load == 4
    assert now.next_action.reason == "6 of 10 images of batch_01 are left to label."
    assert ("load_annotations", {}) in [(a.operator, a.params) for a in now.other_actions]
    unseen.load_annotations(begun)
    now = overview.now_with_server(begun)
    assert now.batch.waiting_to_load == 0


def test_a_server_that_cannot_be_asked_is_a_hint(begun):
    unseen.select_batch(begun, budget=5)
    hand_out(begun, 1, backend="app")
    assert overview.now(begun).asked_server is False
    assert overview.now_with_server(begun).asked_server is True
    sending = sendings.read_sending(loop_of(begun), NAMES.anno_key(1))
    unreachable = replace(sending, backend="cvat", url="http://127.0.0.1:9")
    sendings.write_sending(loop_of(begun), unreachable)
    answer = overview.now_with_server(begun)
    assert answer.asked_server is False
    assert answer.batch.problem in answer.hints
