"""What is shown, and in which colours; what the user chose stays."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen
from unseen.dataset import appearance, writing
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

UNET = {"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)}


@pytest.fixture(scope="module")
def model(make_module_wafers, tmp_path_factory):
    dataset = make_module_wafers()
    unseen.train_unet(dataset, model_dir=str(tmp_path_factory.mktemp("models")), **UNET)
    return dataset


@pytest.fixture
def trained(model, copy_of):
    return copy_of(model)


def shown(dataset):
    return list(dataset.app_config.active_fields.paths)


def colours(dataset):
    return {entry["path"]: entry["fieldColor"] for entry in dataset.app_config.color_scheme.fields}


def test_fields_are_switched_on_once_and_in_colours_of_their_own(trained):
    unseen.score_samples(trained)
    assert shown(trained) == ["ground_truth", "unseen_regions", "unseen_heatmap"]
    assert set(colours(trained).values()) == set(appearance.COLOURS.values())
    assert colours(trained)["unseen_heatmap"] == appearance.COLOURS["heatmap"]
    assert trained.app_config.color_scheme.opacity == appearance.OPACITY
    unseen.mark_structure(trained, pitch=(16.0, 16.0), origin=(0.0, 0.0))
    unseen.score_samples(trained)
    unseen.select_batch(trained, budget=2, strategy="diverse")
    assert shown(trained)[3:] == ["unseen_structure", "unseen_rank"]
    trained.app_config.active_fields = fo.ActiveFields(paths=["ground_truth"])
    trained.save()
    unseen.score_samples(trained, rescore=True)
    assert shown(trained) == ["ground_truth"]
    unseen.clean_dataset(trained, keep_checkpoints=True)
    assert trained.app_config.color_scheme is None
    assert shown(trained) == ["ground_truth"]


def test_colours_of_an_earlier_version_are_renewed_and_chips_can_be_read_in_both_themes(trained):
    own = {"path": "unseen_heatmap", "fieldColor": "#123456"}
    former = {"path": "unseen_regions", "fieldColor": "#c77700"}
    trained.app_config.color_scheme = fo.ColorScheme(opacity=0.5, fields=[own, former])
    trained.save()
    writing.renew_look(trained)
    wanted = {**appearance.COLOURS, "heatmap": "#123456"}
    names = Loop(trained).names
    assert colours(trained) == {getattr(names, k): c for k, c in wanted.items()}
    for name in ("rank", "chosen_by"):
        for letters in (0.0, 1.0):
            assert contrast(luminance(wanted[name]), letters) >= 4.5


def test_predictions_have_a_colour_until_they_are_deleted(trained):
    writing.declare_detections(Loop(trained), "predictions_01", "test")
    assert colours(trained)["predictions_01"] == appearance.PREDICTIONS
    assert colours(trained)["ground_truth"] == appearance.COLOURS["label_field"]
    unseen.clean_dataset(trained, keep_checkpoints=True)
    assert trained.app_config.color_scheme is None


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_colours_and_fields_of_the_user_come_first(trained):
    trained.app_config.active_fields = fo.ActiveFields(paths=["hidden_truth"])
    own = {"path": "unseen_heatmap", "fieldColor": "#123456"}
    trained.app_config.color_scheme = fo.ColorScheme(opacity=0.9, fields=[own])
    trained.save()
    unseen.score_samples(trained)
    assert shown(trained)[0] == "hidden_truth"
    assert colours(trained)["unseen_heatmap"] == "#123456"
    assert trained.app_config.color_scheme.opacity == 0.9
    unseen.clean_dataset(trained, keep_checkpoints=True)
    assert shown(trained) == ["hidden_truth", "ground_truth"]
    assert colours(trained) == {"unseen_heatmap": "#123456"}


def test_a_baseline_switches_nothing_on(wafers, tmp_path):
    unseen.train_unet(wafers, model_dir=str(tmp_path), series="other", **UNET)
    unseen.score_samples(wafers, series="other")
    assert wafers.app_config.active_fields is None
    assert wafers.app_config.color_scheme is None
