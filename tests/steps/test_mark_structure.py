"""Known structure: found or read, drawn, and followed by the ranking."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.dataset import structure
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, DatasetError, StructureError
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone

PITCH, STREET, SIZE = 32, 4, 128


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight images of one die at known phases: (path, (x, y)) each.

    A repeat has 32 px, the die in it 28 px with structure that no other place of it repeats.
    """
    rng = np.random.default_rng(2)
    tile = np.full((PITCH, PITCH), 60.0)
    tile[: PITCH - STREET, : PITCH - STREET] = 120 + 25 * rng.standard_normal((28, 28)).round()
    folder, made = tmp_path_factory.mktemp("dies"), []
    for number in range(8):
        x, y = (int(v) for v in rng.integers(0, PITCH, 2))
        pixels = np.tile(np.roll(tile, (y, x), axis=(0, 1)), (4, 4))
        pixels = pixels + rng.normal(0, 4, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        made.append((str(folder / f"{number}.png"), (x, y)))
    return made


@pytest.fixture(scope="module")
def model(images, tmp_path_factory, fiftyone_database):
    """A dataset whose first three images are labelled, and a UNet trained on it."""
    import fiftyone as fo

    dataset = fo.Dataset()
    label = fo.Detection(label="particle", bounding_box=[0.1, 0.1, 0.1, 0.1])
    dataset.add_samples([fo.Sample(filepath=path) for path, _ in images])
    labels = [fo.Detections(detections=[label.copy()]) for _ in range(3)]
    dataset.set_values("ground_truth", labels + [None] * 5)
    unseen.train_unet(
        dataset,
        model_dir=str(tmp_path_factory.mktemp("models")),
        **{"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)},
    )
    yield dataset
    dataset.delete()


@pytest.fixture
def wafers(model, copy_of):
    """A copy of that dataset with its records: nothing is scored or marked."""
    return copy_of(model)


def grids(dataset):
    return {s.filepath: s.unseen_structure.polylines[0] for s in dataset.exists("unseen_structure")}


def mask_file(path, box, size=(64, 64)):
    """A mask of `size` (height, width) that is inside in `box`, a pair of slices."""
    mask = np.zeros(size, np.uint8)
    mask[box] = 255
    Image.fromarray(mask).save(path)
    return str(path)


def half(tmp_path):
    return mask_file(tmp_path / "half.png", np.s_[:, :32])


def test_a_grid_is_found_in_images_of_any_phase(wafers, images):
    planned = unseen.mark_structure(wafers, dry_run=True)
    wafers.reload()
    assert planned.marked == 8
    assert "would have" in planned.summary()
    assert wafers.get_field("unseen_structure") is None
    result = unseen.mark_structure(wafers, structure="grid")
    assert result.marked == 8
    assert result.pitch == pytest.approx([PITCH, PITCH], abs=0.1)
    assert result.street == pytest.approx([STREET, STREET], abs=1.01)
    found = grids(wafers)
    for path, phase in images:
        distance = np.abs(np.subtract(phase, found[path].origin)) % PITCH
        assert np.minimum(distance, PITCH - distance).max() <= 1.0
    assert "px" in result.summary()


def test_a_given_grid_is_drawn_where_it_was_given_without_reading_the_images(wafers):
    result = unseen.mark_structure(wafers, pitch=(64.0, 32.0), origin=(8.0, 0.0))
    (line,) = grids(wafers.limit(1)).values()
    xs = {p[0] * SIZE for segment in line.points for p in segment if segment[0][1] == 0}
    assert {8.0, 72.0} <= xs
    assert result.median_fit is None
    assert line.pitch == [64.0, 32.0]


def test_images_without_a_repeat_and_a_field_of_others_are_refused(make_wafers):
    import fiftyone as fo

    dataset = make_wafers(6)
    fields = sorted(dataset.get_field_schema())
    with pytest.raises(StructureError, match="pitch"):
        unseen.mark_structure(dataset, structure="grid")
    dataset.reload()
    assert sorted(dataset.get_field_schema()) == fields
    assert not dataset.list_runs()
    dataset.add_sample_field("unseen_structure", fo.StringField)
    with pytest.raises(DatasetError, match="not made by this package"):
        unseen.mark_structure(dataset, pitch=(8.0, 8.0), origin=(0.0, 0.0))
    assert isinstance(dataset.get_field("unseen_structure"), fo.StringField)


def test_a_mask_is_drawn_as_its_outline_on_images_of_its_proportions(wafers, tmp_path):
    wide = mask_file(tmp_path / "wide.png", np.s_[8:16], size=(32, 64))
    with pytest.raises(StructureError, match=r"8 of 8 images have other proportions"):
        unseen.mark_structure(wafers, structure="mask", structure_file=wide)
    assert wafers.get_field("unseen_structure") is None
    file = mask_file(tmp_path / "mask.png", np.s_[16:48, 16:32])
    assert unseen.mark_structure(wafers, structure="mask", structure_file=file).marked == 8
    (line,) = grids(wafers.limit(1)).values()
    points = np.asarray(line.points[0])
    assert line.closed
    assert points.min(axis=0) == pytest.approx([0.25, 0.25], abs=0.01)
    assert points.max(axis=0) == pytest.approx([0.5, 0.75], abs=0.01)


def test_polylines_in_px_and_relative_ones_are_the_same(wafers, tmp_path):
    square = np.asarray([[32, 32], [96, 32], [96, 96], [32, 96]])
    drawn = []
    for size in (128, 1):
        pad = {"points": (square / 128 * size).tolist(), "closed": True, "label": "pad"}
        file = tmp_path / f"{size}.json"
        file.write_text(json.dumps({"size": [size, size], "polylines": [pad]}))
        unseen.mark_structure(wafers, structure="polylines", structure_file=str(file))
        (line,) = grids(wafers.limit(1)).values()
        drawn.append((line.label, np.asarray(line.points).round(5).tolist()))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == "pad"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "no JSON"),
        ([1, 2], "no list of polylines"),
        ({"polylines": []}, "empty"),
        ({"polylines": [{"points": [[0, 0]]}]}, "at least 2"),
        ({"polylines": [{"points": [[0, 0], [1, 1]], "closed": True}]}, "at least 3"),
        ({"polylines": [{"points": [[0, 0], [40, 40]]}]}, 'Give "size"'),
        ({"size": [0, 9], "polylines": [{"points": [[0, 0], [1, 1]]}]}, "size is not"),
        ({"polylines": [{"points": [[0, 0], [1, 1]]}]}, "needs closed polylines"),
    ],
)
def test_a_wrong_file_of_polylines_is_refused(wafers, tmp_path, content, words):
    path = tmp_path / "lines.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    settings = {"structure_file": str(path), "zone": "inside"}
    with pytest.raises(StructureError, match=words) as caught:
        unseen.mark_structure(wafers, structure="polylines", **settings)
    assert '"polylines"' in str(caught.value) or "closed" in words
    assert wafers.get_field("unseen_structure") is None


def test_polylines_of_a_field_count_per_image(wafers):
    import fiftyone as fo

    sample = wafers.last()
    shape = fo.Polyline(points=[[(0, 0), (0.5, 0), (0.5, 1), (0, 1)]], closed=True, label="pad")
    sample["pads"] = fo.Polylines(polylines=[shape])
    sample.save()
    result = unseen.mark_structure(wafers, structure="field", structure_field="pads")
    assert (result.marked, result.images) == (1, 8)
    assert list(grids(wafers)) == [sample.filepath]
    assert "7 images have none; they count in full" in result.summary()
    with pytest.raises(StructureError, match="there are: pads, unseen_structure"):
        unseen.mark_structure(wafers, structure="field", structure_field="ground_truth")


def scores(dataset):
    """(images, 3) metrics of the pool, and the marks of its samples."""
    pool = dataset.exists("ground_truth", False).sort_by("filepath")
    metrics = [f"unseen_{name}" for name in ("excess", "alpha", "foreground")]
    return np.asarray(pool.values(metrics)).T, pool.values("unseen_model")


def test_what_does_not_count_has_no_heat_no_regions_and_its_weight_in_the_metric(wafers, tmp_path):
    unseen.score_samples(wafers, threshold=0.0)
    everywhere, _ = scores(wafers)
    file, parts = half(tmp_path), {}
    for zone, weight in (("inside", 0.25), ("inside", 0.0), ("outside", 0.0)):
        unseen.mark_structure(
            wafers, structure="mask", structure_file=file, zone=zone, weight=weight
        )
        result = unseen.score_samples(wafers, threshold=0.0)
        assert result.scored == 5  # all of them: what counts has changed
        parts[zone, weight], _ = scores(wafers)
    inside, outside = parts["inside", 0.0], parts["outside", 0.0]
    # At the threshold 0 the metrics are plain sums, so the two halves make the whole.
    np.testing.assert_allclose(inside + outside, everywhere, rtol=2e-3, atol=1e-3)
    assert (inside[:, 1] > 0).all()
    sums = [0, 2]  # M_alpha takes the power of what was weighted
    expected = (inside + 0.25 * outside)[:, sums]
    np.testing.assert_allclose(parts["inside", 0.25][:, sums], expected, rtol=2e-3, atol=1e-3)
    for heat in wafers.exists("unseen_heatmap").values("unseen_heatmap.map"):
        assert not heat[:, : heat.shape[1] // 2 - 1].any()
    for boxes in wafers.exists("unseen_regions").values("unseen_regions.detections.bounding_box"):
        assert all(box[0] >= 0.5 - 1 / 64 for box in boxes)


def test_structure_that_is_only_shown_changes_no_score(wafers):
    unseen.score_samples(wafers)
    before, marks = scores(wafers)
    unseen.mark_structure(wafers, structure="grid")
    assert structure.read_record(Loop(wafers)).version is None
    assert overview.now(wafers).next_action.operator != "train_unet"
    unseen.score_samples(wafers, rescore=True)
    after, marks_after = scores(wafers)
    np.testing.assert_array_equal(before, after)
    assert marks == marks_after


def test_the_panel_and_the_selection_know_that_what_counts_has_changed(wafers, tmp_path):
    unseen.split_dataset(wafers, test_count=0, initial=3)
    unseen.score_samples(wafers)
    assert overview.now(wafers).next_action.operator == "select_batch"
    unseen.mark_structure(wafers, structure="mask", structure_file=half(tmp_path), zone="inside")
    action = overview.now(wafers).next_action
    assert action.operator == "score_samples"
    assert "What counts" in action.reason
    with pytest.raises(DatasetError, match="what counts in the ranking changed"):
        unseen.select_batch(wafers, budget=2)
    unseen.score_samples(wafers)
    assert overview.now(wafers).next_action.operator == "select_batch"
    assert len(unseen.select_batch(wafers, budget=2).sample_ids) == 2
    assert overview.ranking(wafers).scored == 5


def test_only_images_whose_structure_changed_are_scored_again(wafers, tmp_path):
    file, settings = half(tmp_path), {"structure": "mask", "zone": "inside"}
    unseen.mark_structure(wafers, structure_file=file, **settings)
    unseen.score_samples(wafers)
    assert unseen.mark_structure(wafers, structure_file=file, **settings).changed == 0
    assert unseen.score_samples(wafers).already_scored == 5
    other = mask_file(tmp_path / "other.png", np.s_[:20])
    one = wafers.exists("ground_truth", False).limit(1)
    assert unseen.mark_structure(one, structure_file=other, **settings).changed == 1
    again = unseen.score_samples(wafers)
    assert (again.scored, again.already_scored) == (1, 4)


def test_structure_is_removed_by_none_and_by_clean(wafers):
    for remove in (
        lambda: unseen.mark_structure(wafers, structure="none"),
        lambda: unseen.clean_dataset(wafers, keep_checkpoints=True),
    ):
        unseen.mark_structure(wafers, pitch=(64.0, 32.0), origin=(8.0, 0.0), zone="inside")
        assert wafers.get_field("unseen_structure") is not None
        remove()
        wafers.reload()
        assert wafers.get_field("unseen_structure") is None
        assert not wafers.has_run("unseen_known_structure")
        active = wafers.app_config.active_fields
        assert active is None or "unseen_structure" not in active.paths


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"street": (1.0, 2.0, 3.0)}, "two numbers"),
        ({"origin": (1.0, 2.0)}, "without a pitch"),
        ({"structure": "mask"}, "needs structure_file"),
    ],
)
def test_wrong_parameters_are_named(settings, words):
    with pytest.raises(ConfigError, match=words):
        unseen.mark_structure("no dataset is asked", **settings)
