"""The overview of real datasets: counts, caching, evaluations counted again, any state at all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import fiftyone as fo
import numpy as np
import pytest

import unseen
from unseen.annotation import sendings, truth
from unseen.dataset import writing
from unseen.dataset.fields import LOADED, REMOVED, SENT, Names
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError
from unseen.loop import overview
from unseen.loop.facts import read_facts, read_records
from unseen.loop.overview_data import CURRENT, OLD
from unseen.steps.request_annotations import RequestConfig

pytestmark = pytest.mark.fiftyone

NAMES = Names()
CLASSES = ("particle", "scratch", "stain")
MARK = "abcdef012345"


def loop_of(dataset):
    return Loop(dataset, NAMES)


def all_answers(dataset, names=None):
    """Every question, checked for plain JSON and for counts that add up."""
    answers = [f(dataset, names) for f in (overview.now, overview.ranking, overview.progress)]
    now, ranking, progress = answers
    advice = overview.stopping(progress, ranking, now)
    json.dumps([a.to_dict() for a in (*answers, advice)], allow_nan=False)
    places = ("labelled", "pool", "out", "excluded", "test")
    assert sum(getattr(now.counts, part) for part in places) == len(dataset)
    return now, ranking, progress, advice


def score(dataset, ids, rng, mark=MARK):
    """What scoring leaves, without a network."""
    loop = loop_of(dataset)
    writing.declare_score_fields(loop)
    scores = {
        i: {
            **{m: float(rng.gamma(2)) for m in overview.ALL_METRICS},
            "model": mark,
            "expected_counts": [1.0, 1.0, 1.0],
            "embedding": np.ones(4, np.float32),
            "heatmap": None,
            "regions": [(0.1, 0.1, 0.1, 0.1, 0.5)] * 3,
        }
        for i in ids
    }
    writing.save_scores(loop, scores)


def learned(dataset, **more):
    """The entry of a model that learned the labels as they are, and the facts of its record."""
    facts = loop_of(dataset).label_facts()
    labelled = [facts["labelled_images"], sum(facts["class_counts"].values())]
    return {"labelled": labelled, "parameters": {}, **more}, facts


def record_unet(dataset, iteration, digest=MARK * 5):
    entry, facts = learned(dataset, digest=digest, classes=[], steps=1, working_scale=1)
    entry["parameters"] = {"mode": "default"}
    loop_of(dataset).write_entry(iteration, "train_unet", entry, **facts)


@pytest.fixture
def begun(make_wafers, rng):
    """Split, initial images labelled, pool scored: 4 labelled, 26 in the pool, 5 test images."""
    dataset = make_wafers(30, labelled=4, test=5)
    unseen.split_dataset(dataset, initial=4)
    record_unet(dataset, 0)
    score(dataset, loop_of(dataset).pool.values("id"), rng)
    entry = {"digest": MARK * 5, "classes": [], "parameters": {}, "mean_score": 0.01}
    loop_of(dataset).write_entry(0, "score_samples", entry)
    return dataset


def predict(dataset, rng, iteration=0, quality=0.7, names=NAMES, classes=CLASSES):
    """Predictions that are shaken ground truth and noise, recorded and evaluated."""
    loop, field = Loop(dataset, names), names.predictions(iteration)
    writing.declare_detections(loop, field, "test")
    predictions = {}
    for sample in dataset.match_tags("test"):
        boxes = [
            (d.label, np.abs(np.asarray(d.bounding_box) + rng.normal(0, 0.01, 4)), rng.random())
            for d in sample.ground_truth.detections
            if rng.random() < quality
        ]
        for _ in range(2):
            box = (*rng.uniform(0, 0.7, 2), *rng.uniform(0.05, 0.2, 2))
            boxes.append((str(rng.choice(classes)), box, rng.random()))
        predictions[sample.id] = boxes
    writing.save_detections(dataset, field, predictions)
    entry, facts = learned(dataset, classes=list(classes))
    loop.write_entry(iteration, "train_detector", entry, **facts)
    loop.write_entry(iteration, "apply_detector", {"parameters": {"target": "test"}})
    place = {"series": names.series, "label_field": names.label_field}
    return unseen.evaluate_detector(dataset, gt_field="ground_truth", iteration=iteration, **place)


def facts_of(dataset):
    loop = loop_of(dataset)
    return read_facts(loop, read_records(loop))


def hand_out(dataset, number, backend="app"):
    """A batch that is out, without a server."""
    loop, key = loop_of(dataset), NAMES.anno_key(number)
    ids = dataset.match_tags(NAMES.batch(number)).values("id")
    truth.declare_fields(loop)
    truth.write(loop, key, {i: truth.Update(state=SENT, base=[]) for i in ids})
    config = RequestConfig(backend=backend)
    sending = sendings.begin(loop, config, key, number, CLASSES)
    sendings.write_sending(loop, replace(sending, sample_ids=ids, complete=True))
    return ids


# --- now -----------------------------------------------------------------------------------------
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
    assert now.next_action.operator == "train_detector"  # there is time for it now
    predict(begun, rng)
    assert due() == "load_annotations"
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
    assert now.next_action.reason == "4 of 10 images are done in the App."
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


# --- ranking -------------------------------------------------------------------------------------
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


# --- progress ------------------------------------------------------------------------------------
def test_counts_per_image_give_the_recorded_metrics_exactly(make_wafers, rng):
    dataset = make_wafers(3, labelled=3, test=25)
    result = predict(dataset, rng)
    assert all(m.f1 < 1 for m in result.per_class.values())
    _, _, progress, _ = all_answers(dataset)
    (point,) = progress.main.points
    for name, cell in point.per_class.items():
        precision = cell.tp / (cell.tp + cell.fp) if cell.tp + cell.fp else 0.0
        support = cell.tp + cell.fn
        assert precision == pytest.approx(result.per_class[name].precision)
        assert support == result.per_class[name].support
        assert cell.tp / max(1, support) == pytest.approx(result.per_class[name].recall)
        f1 = 2 * cell.tp / max(1, 2 * cell.tp + cell.fp + cell.fn)
        assert f1 == pytest.approx(result.per_class[name].f1)
    assert point.macro_f1 == result.macro_f1
    assert point.macro_interval.low < point.macro_f1 < point.macro_interval.high
    assert (progress.test_images, progress.iou, progress.min_confidence) == (25, 0.5, 0.5)
    assert progress.eval_keys == ["iter_00"]
    assert (point.predictions, point.gt_field) == ("predictions_00", "ground_truth")
    # Predictions below the confidence are in the field, and must not count.
    cells = point.per_class.values()
    assert sum(c.tp + c.fp for c in cells) < dataset.count("predictions_00.detections")
    for outcome in ("tp", "fp", "fn"):
        assert sum(getattr(c, outcome) for c in cells) == dataset.sum(f"iter_00_{outcome}")


def test_iterations_and_baselines_are_curves_with_gains(begun, rng):
    predict(begun, rng, 0, quality=0.3)
    unseen.select_batch(begun, budget=5)
    unseen.reveal_labels(begun)
    predict(begun, rng, 1, quality=1.0)
    baseline = Names(series="random", label_field="ground_truth")
    unseen.select_batch(begun, budget=5, strategy="random", series="random")
    predict(begun, rng, 1, quality=0.5, names=baseline)
    _, _, progress, advice = all_answers(begun)
    assert [(c.series, c.label, c.is_main) for c in progress.curves] == [
        ("", "Mixed", True),
        ("random", "Random", False),
    ]
    first, second = progress.main.points
    assert (first.images, second.images) == (4, 9)
    assert first.gain is None
    assert second.gain.macro_f1 == pytest.approx(second.macro_f1 - first.macro_f1)
    assert second.gain.images == 5
    assert second.gain.boxes == second.boxes - first.boxes > 0
    assert second.gain.interval.low <= second.gain.macro_f1 <= second.gain.interval.high
    assert set(progress.eval_keys) == {"iter_00", "iter_01", "random_iter_01"}
    assert progress.comparison == ("iter_01", "random_iter_01")  # at as many images
    begun.delete_evaluation("random_iter_01")
    assert overview.progress(begun).comparison == ("iter_01", "iter_00")
    begun.delete_evaluation("iter_00")
    assert overview.progress(begun).comparison is None
    assert advice.recommendation == "go on"


def test_an_evaluation_that_was_deleted_keeps_its_recorded_figures(begun, rng):
    result = predict(begun, rng)
    begun.delete_evaluation("iter_00")
    progress = overview.progress(begun)
    (point,) = progress.main.points
    assert point.macro_f1 == result.macro_f1
    assert point.macro_interval is None
    assert point.eval_key is None
    assert progress.eval_keys == []


def test_class_names_that_mongodb_would_misread_are_counted(make_wafers, rng):
    dataset = make_wafers(2, labelled=2, test=12)
    names = {"particle": "a.b", "scratch": "$c"}
    for sample in dataset.iter_samples(autosave=True):
        for detection in sample.ground_truth.detections:
            detection.label = names[detection.label]
    result = predict(dataset, rng, classes=tuple(names.values()))
    (point,) = overview.progress(dataset).main.points
    for name in ("a.b", "$c"):
        cell = point.per_class[name]
        assert cell.tp + cell.fn == result.per_class[name].support > 0
