"""A batch that criteria share: who chose what, on record and on the sample, and what that earns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.dataset import criteria_history as history
from unseen.dataset import iterations
from unseen.dataset.fields import Names
from unseen.errors import DatasetError
from unseen.science import object_novelty
from unseen.science.mixed import CRITERIA

pytestmark = pytest.mark.fiftyone

UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}
NAMES = Names()
PIXEL, TEXTURE, OBJECT, NEW_CLASS = CRITERIA


@pytest.fixture
def scored(make_wafers, monkeypatch):
    """Four labelled images and thirty in the pool, all alike but for waves all over `hazy`."""
    # An untrained UNet takes everything for an object; those have a test of their own.
    monkeypatch.setattr(object_novelty, "SHARP", 2.0)
    dataset = make_wafers(34, labelled=4, test=0)
    rng = np.random.default_rng(5)
    wave = 40 * np.sin(2 * np.pi * np.arange(64) / 9)
    for path in sorted(dataset.values("filepath"))[4:]:
        pixels = rng.normal(110, 6, (64, 64)) + (wave if path in hazy_paths(dataset) else 0)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    unseen.train_unet(dataset, **UNET)
    unseen.score_samples(dataset)
    return dataset


def hazy_paths(dataset):
    return sorted(dataset.values("filepath"))[6:32:3]


def hazy(dataset):
    return set(dataset.select_by("filepath", hazy_paths(dataset)).values("id"))


def chosen_by(dataset, ids):
    found = dict(zip(*dataset.select(ids).values(["id", "unseen_chosen_by"]), strict=True))
    return [found[i] for i in ids]


def label(dataset, ids, classes):
    """Give the images one box each, of the class that `classes` says for its id."""
    import fiftyone as fo

    boxes = {
        i: fo.Detections(
            detections=[
                fo.Detection(label=name, bounding_box=[0.2, 0.2, 0.3, 0.3])
                for name in classes.get(i, [])
            ]
        )
        for i in ids
    }
    dataset.set_values("ground_truth", boxes, key_field="id")


def test_every_scored_sample_has_a_texture_novelty_and_the_record_what_is_usual(scored):
    novelty = scored.exists("unseen_model").values("unseen_texture")
    assert len(novelty) == 30
    assert min(novelty) >= 0
    thresholds = iterations.read_record(scored, NAMES, 0)["steps"]["score_samples"]["thresholds"]
    assert len(thresholds["texture_median"]) == len(thresholds["texture_width"]) == 50
    best = scored.sort_by("unseen_texture", reverse=True).limit(9).values("id")
    assert set(best) == hazy(scored)


def test_images_that_stand_out_are_chosen_for_their_texture_and_say_so(scored):
    result = unseen.select_batch(scored, budget=6, strategy="mixed")
    by = dict(zip(result.sample_ids, chosen_by(scored, result.sample_ids), strict=True))
    assert set(by.values()) <= set(CRITERIA)
    assert {i for i, criterion in by.items() if criterion == TEXTURE} <= hazy(scored)
    assert result.criteria == {c: n for c in CRITERIA if (n := list(by.values()).count(c))}
    assert result.criteria == {PIXEL: 3, TEXTURE: 3}  # nothing is found yet: equal shares
    assert "3 for unseen pixels, 3 for their texture" in result.summary()
    entry = iterations.read_record(scored, NAMES, 0)["steps"]["select_batch"]
    assert entry["sources"] == by
    scored.reload()
    assert {"unseen_rank", "unseen_chosen_by"} <= set(scored.app_config.active_fields.paths)
    ranks = dict(zip(*scored.exists("unseen_rank").values(["id", "unseen_rank"]), strict=True))
    assert [ranks[i] for i in result.sample_ids] == [1, 2, 3, 4, 5, 6]


def test_a_replaced_batch_leaves_no_criterion_behind(scored):
    first = unseen.select_batch(scored, budget=6, strategy="mixed").sample_ids
    second = unseen.select_batch(scored, budget=4, strategy="mixed", replace=True).sample_ids
    assert set(first) > set(second)
    assert set(scored.exists("unseen_chosen_by").values("id")) == set(second)
    unseen.select_batch(scored, budget=4, strategy="plain", replace=True)
    assert not len(scored.exists("unseen_chosen_by"))
    assert "sources" not in iterations.read_record(scored, NAMES, 0)["steps"]["select_batch"]


def test_control_images_have_no_criterion(scored):
    result = unseen.select_batch(scored, budget=8, strategy="mixed", random_share=0.5)
    by = chosen_by(scored, result.sample_ids)
    assert None not in by[:4]
    assert by[4:] == [None] * 4
    assert sum(result.criteria.values()) == 4


def test_labels_say_which_criterion_found_something_new(scored):
    result = unseen.select_batch(scored, budget=6, strategy="mixed")
    by = dict(zip(result.sample_ids, chosen_by(scored, result.sample_ids), strict=True))
    waiting = next(i for i in result.sample_ids if by[i] == PIXEL)
    labelled = [i for i in result.sample_ids if i != waiting]
    new = {i: ["haze"] if by[i] == TEXTURE else 15 * ["particle"] for i in labelled}
    label(scored, labelled, new)
    boxes = history.labelled_boxes(scored, NAMES)
    assert boxes.counts["haze"] == 3
    assert "haze" not in boxes.initial_counts
    found, tried = history.found_and_tried(scored, NAMES, boxes)
    assert found.tolist() == [0, 3, 0, 0]
    assert tried.tolist() == [2, 3, 0, 0]  # the one that nobody labelled is in neither

    unseen.train_unet(scored, **UNET)
    unseen.score_samples(scored)
    # Odds 1 / 3, 4 / 1 and, never tried, 4 / 1: of four, two for each of the better ones.
    second = unseen.select_batch(scored, budget=4, strategy="mixed")
    assert second.criteria == {TEXTURE: 2, NEW_CLASS: 2}


def test_a_class_of_the_initial_images_is_nothing_found(scored):
    result = unseen.select_batch(scored, budget=6, strategy="mixed")
    label(scored, result.sample_ids, {i: ["scratch"] for i in result.sample_ids})
    boxes = history.labelled_boxes(scored, NAMES)
    found, tried = history.found_and_tried(scored, NAMES, boxes)
    assert found.tolist() == [0, 0, 0, 0]
    assert tried.sum() == 6


def test_the_initial_images_are_those_with_the_tag_or_those_of_no_batch(scored):
    result = unseen.select_batch(scored, budget=4, strategy="mixed")
    label(scored, result.sample_ids, {})
    first = scored.sort_by("filepath").limit(4)
    assert history.labelled_boxes(scored, NAMES).initial == set(first.values("id"))
    first.limit(1).tag_samples("initial")
    assert history.labelled_boxes(scored, NAMES).initial == set(first.limit(1).values("id"))


def test_without_labels_nothing_was_found_or_tried(make_wafers):
    dataset = make_wafers(3, labelled=0, test=0)
    boxes = history.labelled_boxes(dataset, NAMES)
    assert boxes.counts == boxes.initial_counts == {}
    found, tried = history.found_and_tried(dataset, NAMES, boxes)
    assert found.tolist() == tried.tolist() == [0, 0, 0, 0]


def test_the_pool_is_read_as_it_is_stored(scored):
    view = scored.exists("unseen_model")
    numbers = history.pool_numbers(view, NAMES, "unseen_alpha", [1])
    ids, alpha, texture, expected = view.values(
        ["id", "unseen_alpha", "unseen_texture", "unseen_expected_counts"]
    )
    assert numbers.ids == ids
    np.testing.assert_array_equal(numbers.metric, alpha)
    np.testing.assert_array_equal(numbers.texture, texture)
    np.testing.assert_array_equal(numbers.expected, np.asarray(expected)[:, 1:2])
    none = history.pool_numbers(view.limit(0), NAMES, "unseen_alpha", [])
    assert none.ids == []
    assert none.expected.shape == (0, 0)


def test_scores_of_a_version_without_texture_are_asked_for_again(scored):
    entry = iterations.read_record(scored, NAMES, 0)["steps"]["score_samples"]
    levels = {k: v for k, v in entry["thresholds"].items() if not k.startswith("texture")}
    iterations.record_step(scored, NAMES, 0, "score_samples", {**entry, "thresholds": levels})
    scored.clear_sample_field("unseen_texture")
    with pytest.raises(DatasetError, match=r"without unseen_texture.*run score_samples again"):
        unseen.select_batch(scored, budget=3, strategy="mixed")
    with pytest.raises(DatasetError, match="without unseen_region_strength"):
        unseen.select_batch(scored, budget=3, metric="region_strength")
    unseen.select_batch(scored, budget=3, strategy="diverse")
    # A view of single images goes on with the thresholds as they are, and knows no texture.
    view = scored.exists("unseen_model").limit(2)
    scored.set_values("unseen_model", dict.fromkeys(view.values("id"), "old"), key_field="id")
    assert unseen.score_samples(view).thresholds == levels
    assert unseen.score_samples(scored).scored == 30
    unseen.select_batch(scored, budget=3, strategy="mixed", replace=True)


def test_what_objects_look_like_is_kept_for_a_run_that_goes_on(scored, monkeypatch):
    monkeypatch.setattr(object_novelty, "FOREGROUND", -1.0)
    monkeypatch.setattr(object_novelty, "FEWEST", 40)
    monkeypatch.setattr(object_novelty, "SHARP", 0.0)
    unseen.score_samples(scored, rescore=True)
    pool = scored.exists("unseen_model")
    before = dict(zip(*pool.values(["id", "unseen_objects"]), strict=True))
    assert None not in before.values()
    entry = iterations.read_record(scored, NAMES, 0)["steps"]["score_samples"]
    density = Path(entry["objects"]["path"])
    assert entry["checkpoints"] == [str(density)]

    again = pool.limit(4).values("id")
    scored.set_values("unseen_model", dict.fromkeys(again, "old"), key_field="id")
    assert unseen.score_samples(scored).scored == 4
    after = dict(zip(*pool.values(["id", "unseen_objects"]), strict=True))
    assert after == pytest.approx(before, rel=1e-2)
    assert (
        Path(iterations.read_record(scored, NAMES, 0)["steps"]["score_samples"]["objects"]["path"])
        == density
    )

    density.unlink()  # without it there is no telling: all are scored again, against a new one
    assert unseen.score_samples(scored).scored == 30
    assert density.is_file()
    unseen.clean_dataset(scored)
    assert not density.exists()


@pytest.mark.parametrize("strategy", ["mixed", "balanced"])
def test_the_papers_unet_tells_no_classes_apart_and_still_ranks(make_wafers, strategy):
    dataset = make_wafers(10, labelled=4, test=0)
    unseen.train_unet(dataset, mode="paper", **UNET)
    unseen.score_samples(dataset)
    assert len(unseen.select_batch(dataset, budget=3, strategy=strategy).sample_ids) == 3
