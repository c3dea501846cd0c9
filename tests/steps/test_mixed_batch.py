"""A batch that criteria share: who chose what, on record and on the sample, and what that earns."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import CheckpointError, ImageError
from unseen.loop import overview
from unseen.ranking.mixed import CRITERIA
from unseen.steps.select_batch import history

pytestmark = pytest.mark.fiftyone

UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}
NAMES = Names()
PIXEL, NOVELTY, COVERAGE, NEW_CLASS = CRITERIA
#: A class that the labelled images of `make_wafers` show.
INITIAL = "particle"


@pytest.fixture(scope="module")
def scored_once(make_module_wafers):
    """Four labelled images and thirty in the pool, all alike but for waves all over `hazy`."""
    dataset = make_module_wafers(34, labelled=4, test=0)
    rng = np.random.default_rng(5)
    wave = 40 * np.sin(2 * np.pi * np.arange(64) / 9)
    for path in sorted(dataset.values("filepath")):
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
    """Sample id -> criterion, in the order of the ids."""
    view = dataset.select(ids, ordered=True)
    return dict(zip(*view.values(["id", "unseen_chosen_by"]), strict=True))


def label(dataset, ids, classes):
    """Give the images a box of each class that `classes` says for its id."""

    def boxes(labels):
        of_image = [fo.Detection(label=c, bounding_box=[0.2, 0.2, 0.3, 0.3]) for c in labels]
        return fo.Detections(detections=of_image)

    labels = {i: boxes(classes.get(i, [])) for i in ids}
    dataset.set_values("ground_truth", labels, key_field="id")


def test_images_of_another_kind_are_chosen_for_that_and_say_so(scored, tmp_path):
    result = unseen.select_batch(scored, budget=6, strategy="mixed")
    by = chosen_by(scored, result.sample_ids)
    assert set(by.values()) <= set(CRITERIA)
    assert result.criteria == {c: n for c in CRITERIA if (n := list(by.values()).count(c))}
    assert result.criteria == {PIXEL: 2, NOVELTY: 1, COVERAGE: 3}  # shares of .3, .2 and .5
    assert set(by) & hazy(scored)  # whoever chose first
    assert "3 for kinds of images not labelled yet" in result.summary()
    assert "2 by pixels" in result.trust
    entry = Loop(scored, NAMES).record(0)["steps"]["select_batch"]
    assert entry["sources"] == by
    assert entry["features"]["name"].startswith("efficientnet_lite0-")
    assert entry["trust"] == result.trust
    assert overview.ranking(scored).trust.details[0] == result.trust
    report = unseen.compare_iterations(scored, output=str(tmp_path / "report")).report
    assert result.trust in Path(report).read_text()
    scored.reload()
    assert "unseen_rank" in scored.app_config.active_fields.paths
    ranks = dict(zip(*scored.exists("unseen_rank").values(["id", "unseen_rank"]), strict=True))
    assert [ranks[i] for i in result.sample_ids] == [1, 2, 3, 4, 5, 6]


def test_without_a_network_plain_statistics_serve(scored):
    result = unseen.select_batch(scored, budget=6, strategy="mixed", features="statistics")
    entry = Loop(scored, NAMES).entry(0, "select_batch")
    assert entry["features"]["name"].startswith("statistics-")
    by = chosen_by(scored, result.sample_ids)
    assert any(by[i] == COVERAGE and i in hazy(scored) for i in result.sample_ids)


def test_features_that_cannot_be_had_are_an_error_and_choose_nothing(scored, tmp_path):
    foreign = tmp_path / "foreign.pt"
    foreign.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"foreign\.pt"):
        unseen.select_batch(scored, budget=3, features=str(foreign))
    assert not len(scored.match_tags("batch_01"))
    assert "select_batch" not in Loop(scored, NAMES).record(0)["steps"]


def test_features_of_images_that_are_all_away_are_an_error_and_choose_nothing(scored):
    pool = scored.match({"ground_truth": None})
    paths = pool.values("filepath")
    pool.set_values("filepath", [f"{path}.away" for path in paths])
    with pytest.raises(ImageError, match=r"none of the 30 .*\.away.*correct the field filepath"):
        unseen.select_batch(scored, budget=4)
    pool.set_values("filepath", paths)
    assert not scored.has_saved_view("batch_01")


def test_a_replaced_batch_is_the_same_and_leaves_no_criterion_behind(scored):
    first = unseen.select_batch(scored, budget=6).sample_ids
    assert unseen.select_batch(scored, budget=6, replace=True).sample_ids == first
    second = unseen.select_batch(scored, budget=4, replace=True).sample_ids
    assert set(scored.exists("unseen_chosen_by").values("id")) == set(second)
    unseen.select_batch(scored, budget=4, strategy="plain", replace=True)
    assert not len(scored.exists("unseen_chosen_by"))
    assert "sources" not in Loop(scored, NAMES).entry(0, "select_batch")


def test_what_a_batch_replaces_does_not_count_as_known(scored):
    unscored = dict.fromkeys(sorted(hazy(scored))[1:], "another")  # no candidates
    scored.set_values(NAMES.model, unscored, key_field="id")
    first = unseen.select_batch(scored, budget=4).sample_ids
    replaced = unseen.select_batch(scored, budget=28, strategy="sequential", replace=True)
    assert set(replaced.sample_ids) & unscored.keys()
    assert unseen.select_batch(scored, budget=4, replace=True).sample_ids == first


def test_control_images_have_no_criterion(scored):
    result = unseen.select_batch(scored, budget=8, strategy="mixed", random_share=0.5)
    by = list(chosen_by(scored, result.sample_ids).values())
    assert None not in by[:4]
    assert by[4:] == [None] * 4
    assert sum(result.criteria.values()) == 4


def test_labels_say_which_criterion_found_something_new(scored):
    result = unseen.select_batch(scored, budget=6, strategy="mixed")
    by = chosen_by(scored, result.sample_ids)
    waiting = next(i for i in result.sample_ids if by[i] == PIXEL)
    labelled = [i for i in result.sample_ids if i != waiting]
    new = {i: ["haze"] if i in hazy(scored) else 15 * ["particle"] for i in labelled}
    label(scored, labelled, new)
    boxes = history.labelled_boxes(Loop(scored, NAMES))
    hits = sum(i in hazy(scored) for i in labelled)
    assert sum(labels.count("haze") for labels in boxes.labels.values()) == hits
    assert all("haze" not in boxes.labels[i] for i in boxes.initial)
    earned = history.found_and_tried(Loop(scored, NAMES), boxes)
    assert earned.found.sum() == hits
    assert earned.tried.tolist() == [1, 1, 3, 0]  # the one that nobody labelled is in neither

    unseen.train_unet(scored, **UNET)
    unseen.score_samples(scored)
    second = unseen.select_batch(scored, budget=5, strategy="mixed")
    by = chosen_by(scored, second.sample_ids)
    more = [i for i in second.sample_ids if by[i] == NEW_CLASS]
    assert more
    assert set(more) <= hazy(scored)
    entry = Loop(scored, NAMES).record(1)["steps"]["select_batch"]
    assert entry["sought"] == ["haze"]


def test_a_class_of_the_initial_images_is_nothing_found(scored):
    result = unseen.select_batch(scored, budget=6, strategy="mixed")
    label(scored, result.sample_ids, {i: [INITIAL] for i in result.sample_ids})
    boxes = history.labelled_boxes(Loop(scored, NAMES))
    earned = history.found_and_tried(Loop(scored, NAMES), boxes)
    assert earned.found.tolist() == [0, 0, 0, 0]
    assert earned.tried.sum() == 6
    # What a criterion of another version chose counts for none of today's.
    entry = Loop(scored, NAMES).entry(0, "select_batch")
    sources = {**entry["sources"], result.sample_ids[0]: "an earlier name"}
    Loop(scored, NAMES).write_entry(0, "select_batch", {**entry, "sources": sources})
    assert history.found_and_tried(Loop(scored, NAMES), boxes).tried.sum() == 5
    # The initial images are those with the tag, or else those of no batch.
    first = scored.sort_by("filepath").limit(4)
    assert boxes.initial == set(first.values("id"))
    first.limit(1).tag_samples("initial")
    assert history.labelled_boxes(Loop(scored, NAMES)).initial == set(first.limit(1).values("id"))


def test_without_labels_nothing_was_found_or_tried(make_wafers):
    dataset = make_wafers(3, labelled=0, test=0)
    boxes = history.labelled_boxes(Loop(dataset, NAMES))
    assert not any(boxes.labels.values())
    earned = history.found_and_tried(Loop(dataset, NAMES), boxes)
    assert earned.found.tolist() == earned.tried.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("strategy", ["mixed", "balanced"])
def test_the_papers_unet_tells_no_classes_apart_and_still_ranks(make_wafers, strategy):
    dataset = make_wafers(10, labelled=4, test=0)
    unseen.train_unet(dataset, mode="paper", **UNET)
    unseen.score_samples(dataset)
    assert len(unseen.select_batch(dataset, budget=3, strategy=strategy).sample_ids) == 3
