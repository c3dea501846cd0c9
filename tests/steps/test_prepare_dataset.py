"""A plain dataset is made ready in one call; what is wrong is said before anything is written."""

from __future__ import annotations

from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image
from quick_steps import contents

import unseen
from unseen.errors import BudgetError, ConfigError, DatasetError, LabelError, StructureError
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone


def test_a_plain_dataset_is_ready_for_the_loop_afterwards(make_wafers):
    wafers = make_wafers(12, labelled=0, test=0)
    Image.new("L", (64, 64), 7).save(wafers.first().filepath)  # blank
    settings = {"label_field": "boxes", "classes": ("particle", "scratch"), "test_count": 3}
    before = contents(wafers)
    planned = unseen.prepare_dataset(wafers, initial=4, dry_run=True, **settings)
    assert contents(wafers) == before
    assert (planned.test, planned.initial, planned.excluded) == (3, 4, 1)
    assert "would be ready" in planned.summary()
    result = unseen.prepare_dataset(wafers, initial=4, **settings)
    wafers.reload()
    assert wafers.classes["boxes"] == ["particle", "scratch"]
    assert wafers.get_field("boxes") is not None
    assert wafers.persistent
    assert wafers.list_workspaces() == ["Curation"]
    coloured = [entry["path"] for entry in wafers.app_config.color_scheme.fields]
    assert {"boxes", "unseen_heatmap", "unseen_regions"} <= set(coloured)
    assert wafers.count_sample_tags() == {"test": 3, "initial": 4, "excluded": 1}
    assert (result.test, result.initial, result.pool, result.excluded) == (3, 4, 4, 1)
    assert (result.test_unlabelled, result.initial_unlabelled) == (3, 4)
    assert "is ready" in result.summary()
    now = overview.now(wafers)
    assert now.next_action.operator == "request_annotations"
    assert now.counts.pool == 8  # initial images are in the pool until they have labels

    # Before the first batch, new parameters are taken; the test split is kept.
    test = set(wafers.match_tags("test").values("id"))
    again = unseen.prepare_dataset(wafers, initial=2, **{**settings, "test_count": 5})
    assert set(wafers.match_tags("test").values("id")) == test
    assert wafers.count_sample_tags() == {"test": 3, "initial": 2, "excluded": 1}
    assert again.initial == 2
    unseen.select_batch(wafers, budget=2, strategy="random")
    before = contents(wafers)
    with pytest.raises(DatasetError, match="has batches already"):
        unseen.prepare_dataset(wafers)
    assert contents(wafers) == before


def test_later_steps_use_the_label_field_and_the_tags_it_was_set_up_with(make_wafers, tmp_path):
    wafers = make_wafers(12, labelled=0, test=0)
    labelled = wafers.sort_by("filepath").limit(6)
    labels = dict(zip(*labelled.values(["id", "hidden_truth"]), strict=True))
    wafers.add_sample_field("boxes", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    wafers.set_values("boxes", labels, key_field="id")
    unseen.prepare_dataset(
        wafers, label_field="boxes", test_count=2, initial=4, test_tag="held", seed=1
    )
    trained = unseen.train_unet(
        wafers, steps=2, crop_size=32, channels=(4, 8), model_dir=str(tmp_path)
    )
    held = wafers.match_tags("held").exists("boxes")
    assert trained.images == 6 - len(held)
    assert overview.now(wafers).counts.test == 2
    assert overview.now(wafers).next_action.params == {"label_field": "boxes", "test_tag": "held"}
    with pytest.raises(DatasetError, match="no label field 'elsewhere'"):
        unseen.train_unet(wafers, label_field="elsewhere")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"label_field": "metadata"}, DatasetError, "expected Detections"),
        ({"classes": ("unseen",)}, LabelError, "'unseen'"),
        ({"classes": ("particle",)}, LabelError, "'scratch'"),
        ({"structure": "mask"}, ConfigError, "structure_file"),
        ({"structure": "mask", "structure_file": "/nowhere.png"}, StructureError, "nowhere.png"),
        ({"structure": "field", "structure_field": "x"}, StructureError, "no field of polylines"),
        ({"structure": "grid"}, StructureError, "repeat"),
        ({"pitch": (8.0,)}, ConfigError, "two numbers"),
        ({"origin": (1.0, 1.0)}, ConfigError, "without a pitch"),
        ({"initial": 400, "screen": False}, BudgetError, "initial=400"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(wafers, settings, error, words):
    before = contents(wafers)
    with pytest.raises(error, match=words):
        unseen.prepare_dataset(wafers, **settings)
    assert contents(wafers) == before


def test_an_empty_dataset_is_refused(empty):
    with pytest.raises(DatasetError, match="is empty; add images"):
        unseen.prepare_dataset(empty)


def initial(dataset):
    return sorted(dataset.match_tags("initial").values("filepath"))


@pytest.mark.parametrize("is_tested", [False, True])
def test_where_nothing_is_labelled_the_initial_images_show_each_kind(
    make_wafers, tmp_path, is_tested
):
    # More images than the components that are looked at: fewer would all lie equally far apart.
    wafers = make_wafers(51, labelled=0, test=0)
    paths = sorted(wafers.values("filepath"))
    if is_tested:  # labels of a test split teach nothing
        wafers.add_samples(make_wafers(0, labelled=0, test=2))
    for number, path in enumerate(paths):  # thirty of one kind, then twenty, one unreadable
        pixels = np.random.default_rng(number).integers(0, 40, (64, 64)).astype(np.uint8)
        pixels[:, ::4] += 180 * (number >= 30)
        Image.fromarray(pixels).save(path)
    Path(paths[50]).write_bytes(b"no image")
    settings = {"test_count": 0, "initial": 2, "screen": False, "model_dir": str(tmp_path)}
    planned = unseen.prepare_dataset(wafers, dry_run=True, **settings)
    assert not (tmp_path / "features").exists()
    done = unseen.prepare_dataset(wafers, **settings)
    assert (tmp_path / "features").exists()
    assert [path in paths[30:50] for path in initial(wafers)] == [False, True]
    assert planned.chosen_by == done.chosen_by
    assert "typical" in done.summary()
    chosen = initial(wafers)
    unseen.prepare_dataset(wafers, **settings)
    assert initial(wafers) == chosen
    with pytest.raises(BudgetError, match="initial=51 exceeds the 50 of 51 images"):
        unseen.prepare_dataset(wafers, **{**settings, "initial": 51})


def test_the_pool_that_is_counted_holds_no_labelled_images(make_wafers):
    wafers = make_wafers(9, labelled=5, test=2)
    result = unseen.prepare_dataset(wafers, initial=3, screen=False)
    assert (result.test, result.initial, result.initial_unlabelled, result.pool) == (2, 3, 0, 4)
    assert result.pool == overview.now(wafers).counts.pool


def test_with_labels_the_initial_images_stay_or_are_the_first_in_directory_order(make_wafers):
    wafers = make_wafers(12, labelled=1, test=0)
    paths = sorted(wafers.values("filepath"))
    done = unseen.prepare_dataset(wafers, test_count=0, initial=3, initial_order="coverage")
    assert initial(wafers) == paths[:3]
    assert "there are labels" in done.summary()
    unseen.prepare_dataset(wafers, initial=3, initial_order="random", seed=7)
    before = initial(wafers)
    assert before != paths[:3]
    unseen.prepare_dataset(wafers, initial=3)
    assert initial(wafers) == before


def test_of_very_many_images_a_random_sample_is_looked_at(make_wafers, tmp_path, monkeypatch):
    from unseen.steps.split_dataset import typical_images

    monkeypatch.setattr(typical_images, "SAMPLE", 5)
    wafers = make_wafers(9, labelled=0, test=0)
    done = unseen.prepare_dataset(wafers, test_count=1, initial=3, model_dir=str(tmp_path))
    assert "of a random 5 images" in done.chosen_by
    assert len(initial(wafers)) == 3
