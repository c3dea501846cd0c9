"""What is shown, and in which colours; what the user chose stays."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen
from unseen.dataset import appearance
from unseen.dataset.fields import Names

pytestmark = pytest.mark.fiftyone

NAMES = Names()
UNET = {"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)}


@pytest.fixture
def scored(wafers, tmp_path):
    unseen.train_unet(wafers, model_dir=str(tmp_path), **UNET)
    unseen.score_samples(wafers)
    return wafers


def shown(dataset):
    return list(dataset.app_config.active_fields.paths)


def colours(dataset):
    return {entry["path"]: entry["fieldColor"] for entry in dataset.app_config.color_scheme.fields}


def test_labels_heatmap_and_regions_are_on_in_colours_of_their_own(scored):
    assert shown(scored) == [NAMES.label_field, NAMES.heatmap, NAMES.regions]
    found = colours(scored)
    assert found == {
        NAMES.label_field: appearance.LABELS,
        NAMES.heatmap: appearance.HEATMAP,
        NAMES.regions: appearance.REGIONS,
    }
    assert scored.app_config.color_scheme.opacity == appearance.OPACITY


def test_what_the_user_switched_off_stays_off_when_the_pool_is_scored_again(scored):
    scored.app_config.active_fields = fo.ActiveFields(paths=[NAMES.label_field])
    scored.save()
    unseen.score_samples(scored, rescore=True)
    assert shown(scored) == [NAMES.label_field]


def test_colours_and_fields_of_the_user_come_first(wafers, tmp_path):
    wafers.app_config.active_fields = fo.ActiveFields(paths=["hidden_truth"])
    own = {"path": NAMES.heatmap, "fieldColor": "#123456"}
    wafers.app_config.color_scheme = fo.ColorScheme(opacity=0.9, fields=[own])
    wafers.save()
    unseen.train_unet(wafers, model_dir=str(tmp_path), **UNET)
    unseen.score_samples(wafers)
    assert shown(wafers)[0] == "hidden_truth"
    assert colours(wafers)[NAMES.heatmap] == "#123456"
    assert wafers.app_config.color_scheme.opacity == 0.9
    unseen.clean_dataset(wafers)
    assert shown(wafers) == ["hidden_truth", NAMES.label_field]
    assert colours(wafers) == {NAMES.heatmap: "#123456"}


def test_structure_is_added_to_what_is_shown(scored):
    unseen.mark_structure(scored, pitch=(16.0, 16.0), origin=(0.0, 0.0))
    assert shown(scored)[-1] == NAMES.structure
    assert colours(scored)[NAMES.structure] == appearance.STRUCTURE


def test_a_baseline_switches_nothing_on(wafers, tmp_path):
    unseen.train_unet(wafers, model_dir=str(tmp_path), series="other", **UNET)
    unseen.score_samples(wafers, series="other")
    assert wafers.app_config.active_fields is None
    assert wafers.app_config.color_scheme is None


def test_cleaning_leaves_the_app_as_it_was(scored):
    unseen.clean_dataset(scored)
    assert scored.app_config.color_scheme is None
    active = scored.app_config.active_fields
    assert active is None or active.paths == [NAMES.label_field]


def test_the_rank_numbers_the_tiles_once_there_is_a_batch(scored):
    unseen.select_batch(scored, budget=2, strategy="diverse")
    assert shown(scored)[-1] == NAMES.rank
    assert colours(scored)[NAMES.rank] == appearance.RANK
