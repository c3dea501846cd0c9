"""Learning curves of real datasets: evaluations counted again, gains, what to compare."""

from __future__ import annotations

import pytest
from overview_facts import (
    all_answers,
    predict,
)

import unseen
from unseen.dataset.fields import Names
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone


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


def test_images_that_left_the_test_split_since_still_count(make_wafers, rng):
    dataset = make_wafers(3, labelled=3, test=25)
    predict(dataset, rng)
    before = overview.progress(dataset).main
    dataset.match_tags("test").limit(5).untag_samples("test")
    assert overview.progress(dataset).main == before


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
