"""The whole loop on a dozen images, with the real models, database and files."""

from __future__ import annotations

import pytest

import unseen
from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import Cancelled

pytestmark = pytest.mark.fiftyone

QUICK_UNET = {"steps": 12, "crop_size": 64, "channels": (8, 16)}
QUICK_DETECTOR = {"steps": 6, "architecture": "small"}


def test_the_loop_runs_step_by_step_and_leaves_what_it_promises(wafers):
    split = unseen.split_dataset(wafers, initial=4)
    assert (split.test, split.initial, split.pool, split.test_was_fixed) == (4, 4, 8, True)

    unet = unseen.train_unet(wafers.name, **QUICK_UNET)
    assert unet.iteration == 0
    assert unet.images == 4
    scored = unseen.score_samples(wafers)
    assert scored.scored == 8
    assert wafers.exists("unseen_heatmap").count() == 8

    batch = unseen.select_batch(wafers, budget=3)
    assert batch.batch == "batch_01"
    assert wafers.load_saved_view("batch_01").values("id") == batch.sample_ids
    assert wafers.select(batch.sample_ids, ordered=True).values("unseen_rank") == [1, 2, 3]
    assert set(wafers.match_tags("batch_01").values("id")) == set(batch.sample_ids)

    revealed = unseen.reveal_labels(wafers)
    assert revealed.iteration == 1
    assert revealed.images == 3
    detector = unseen.train_detector(wafers, **QUICK_DETECTOR)
    assert (detector.iteration, detector.images) == (1, 7)
    assert detector.weights == (
        "small Faster R-CNN, trained from scratch; architecture small as asked for"
    )
    applied = unseen.apply_detector(wafers)
    assert (applied.field, applied.images) == ("predictions_01", 4)
    evaluated = unseen.evaluate_detector(wafers)
    assert evaluated.eval_key == "iter_01"
    assert set(evaluated.per_class) == {"particle", "scratch"}
    assert wafers.list_evaluations() == ["iter_01"]

    compared = unseen.compare_iterations(wafers)
    assert [i.iteration for i in compared.iterations] == [0, 1]
    assert "scratch" in compared.table

    before = set(wafers.get_field_schema()) - {"ground_truth"}
    unseen.clean_dataset(wafers)
    wafers.reload()
    assert set(wafers.get_field_schema()) == {
        f for f in before if not f.startswith(("unseen_", "predictions_", "iter_"))
    } | {"ground_truth"}
    assert wafers.list_runs() == []
    assert wafers.list_evaluations() == []
    assert wafers.list_saved_views() == []
    assert wafers.distinct("tags") == ["test"]


def test_simulate_runs_every_strategy_with_the_same_number_of_images(make_wafers):
    dataset = make_wafers(9, labelled=0, test=3)
    settings = {
        "strategies": ("diverse", "random", "entropy"),
        "iterations": 1,
        "budget": 2,
        "initial": 3,
        "unet_steps": 3,
        "detector_steps": 2,
        "full": True,
    }
    result = unseen.simulate(dataset, **settings)
    rows = {(i.series, i.iteration): i.images for i in result.iterations}
    assert rows == {("", 0): 3, ("", 1): 5, ("random", 1): 5, ("entropy", 1): 5, ("full", 0): 9}
    assert all(i.macro_f1 is not None for i in result.iterations)
    assert dataset.exists("ground_truth").match_tags("test", bool=False).count() == 5
    assert not [f for f in dataset.get_field_schema() if f.endswith("_labels")]

    again = unseen.simulate(dataset, **settings)
    assert again.iterations == result.iterations
    assert again.first_batch_seconds is None


def test_a_baseline_leaves_the_fields_of_a_series_whose_name_begins_with_its_own(make_wafers):
    import fiftyone as fo

    dataset = make_wafers(9, labelled=0, test=3)
    other = Loop(dataset, Names(series="random_2"))
    writing.declare(other, "unseen_random_2_kept", fo.FloatField, "Of another series")
    other.write_entry(0, "train_unet", {})
    quick = {"iterations": 1, "budget": 2, "initial": 3, "detector": False}
    unseen.simulate(dataset, strategies=("sequential", "random"), **quick)
    assert dataset.match_tags("random_batch_01").count() == 2
    own = [f for f in dataset.get_field_schema() if f.startswith("unseen_random_")]
    assert own == ["unseen_random_2_kept"]


def test_a_simulation_that_was_stopped_goes_on_where_it_was(make_wafers):
    settings = {
        "strategies": ("plain", "sequential"),
        "iterations": 2,
        "budget": 2,
        "initial": 3,
        "unet_steps": 3,
        "detector": False,
    }
    whole = unseen.simulate(make_wafers(9, labelled=0, test=3), **settings)

    stopped = make_wafers(9, labelled=0, test=3)
    calls = []

    def stop_in_the_second_training(done, total, label=""):
        if label == "plain 1/2: train UNet" and done >= 2:
            calls.append(label)
            raise Cancelled

    with pytest.raises(Cancelled):
        unseen.simulate(stopped, progress=stop_in_the_second_training, **settings)
    assert calls
    resumed = unseen.simulate(stopped, **settings)

    def facts(result):
        return [(i.series, i.iteration, i.images, i.class_counts) for i in result.iterations]

    assert facts(resumed) == facts(whole)
