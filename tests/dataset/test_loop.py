"""Records survive what databases dislike, and tell which iteration it is."""

from __future__ import annotations

import pytest

from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

NAMES = Names()


def test_class_names_with_dots_and_dollars_come_back(wafers):
    # Also what the encoding itself writes: a full-width stop, dollar and backslash.
    counts = {
        "v1.2": 3,
        "$rare": 1,
        "v1\uff0e2": 4,
        "\uff04rare": 5,
        "\uff3c.": 6,
        "\uff3c\uff0e": 7,
    }
    Loop(wafers, NAMES).write_entry(
        0, "train_unet", {"x": {"a.b": [1, {"c.d": 2}]}}, class_counts=counts
    )
    record = Loop(wafers, NAMES).record(0)
    assert record["class_counts"] == counts
    assert record["steps"]["train_unet"]["x"] == {"a.b": [1, {"c.d": 2}]}
    assert record["steps"]["train_unet"]["versions"]["python"]


def test_steps_of_one_iteration_share_a_record_and_series_do_not(wafers):
    other = Names(series="random")
    Loop(wafers, NAMES).write_entry(1, "train_unet", {"n": 1}, seed=3)
    Loop(wafers, NAMES).write_entry(1, "score_samples", {"n": 2})
    Loop(wafers, NAMES).write_entry(1, "score_samples", {"n": 3})
    Loop(wafers, other).write_entry(1, "train_unet", {"n": 4})
    record = Loop(wafers, NAMES).record(1)
    assert {k: v["n"] for k, v in record["steps"].items()} == {"train_unet": 1, "score_samples": 3}
    assert record["seed"] == 3
    assert [one.names.series for one in Loop(wafers).all_series()] == ["", "random"]
    assert list(Loop(wafers, other).records()) == [1]
    assert Loop(wafers, NAMES).newest_with("score_samples") == 1
    assert Loop(wafers, NAMES).newest_with("score_samples", 2) is None


def test_a_record_that_the_dataset_does_not_name_is_none(wafers):
    import fiftyone.core.odm as foo

    loop = Loop(wafers)
    loop.write_entry(0, "train_unet", {"digest": "a"})
    runs = foo.get_db_conn().runs
    (stored,) = runs.find({"_dataset_id": wafers._doc.id})
    del stored["_id"]
    stored["config"]["iteration"] = 1  # as a process leaves it that was killed before it named it
    runs.insert_one({**stored, "key": "unseen_iter_01"})
    assert list(loop.records()) == [0]


def test_the_iteration_is_the_newest_batch_with_a_label(wafers):
    import fiftyone as fo

    assert Loop(wafers, NAMES).iteration() == 0
    pool = wafers.match_tags("test", bool=False).exists("ground_truth", False)
    ids = pool.values("id")
    for number, chosen in ((1, ids[:2]), (2, ids[2:4])):
        wafers.select(chosen).tag_samples(NAMES.batch(number))
        Loop(wafers).write_entry(number - 1, "select_batch", {"batch": NAMES.batch(number)})
    wafers.select(ids[4:]).tag_samples(["batch_03", "batch_of_mine"])  # on no record
    assert Loop(wafers, NAMES).batches() == {1: "batch_01", 2: "batch_02"}
    assert Loop(wafers, NAMES).iteration() == 0
    wafers.set_values("ground_truth", {ids[0]: fo.Detections()}, key_field="id")
    assert Loop(wafers, NAMES).iteration() == 1
    wafers.set_values("ground_truth", {ids[2]: fo.Detections()}, key_field="id")
    assert Loop(wafers, NAMES).iteration() == 2


def test_files_of_a_step_that_was_run_again_are_still_found_and_removed(wafers, tmp_path):
    import unseen

    settings = {"steps": 2, "crop_size": 32, "channels": (4, 8), "model_dir": str(tmp_path)}
    first = unseen.train_unet(wafers, **settings).checkpoint
    second = unseen.train_unet(wafers, seed=52, **settings).checkpoint
    assert first != second
    entry = Loop(wafers, NAMES).record(0)["steps"]["train_unet"]
    assert (entry["checkpoint"], entry["checkpoints"]) == (second, [first, second])
    assert unseen.clean_dataset(wafers).checkpoints == 2
    assert not list(tmp_path.rglob("*.safetensors"))
