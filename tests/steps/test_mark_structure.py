"""Known structure: found or read, drawn, and followed by the ranking."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import unseen
from unseen.dataset import structure
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError, DatasetError, StructureError
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone

PITCH, STREET, SIZE = 32, 4, 128
UNET = {"steps": 2, "batch_size": 2, "crop_size": 32, "channels": (4, 8)}


def die(rng):
    """One die of 28 px with structure that no other place of it repeats, in a repeat of 32 px."""
    tile = np.full((PITCH, PITCH), 60.0)
    tile[: PITCH - STREET, : PITCH - STREET] = 120 + 25 * rng.standard_normal((28, 28)).round()
    return tile


@pytest.fixture
def wafers(tmp_path, fiftyone_database):
    """Eight images of the same die at known phases; the first three with a label."""
    import fiftyone as fo

    rng = np.random.default_rng(2)
    tile = die(rng)
    dataset = fo.Dataset()
    samples, phases = [], {}
    for number in range(8):
        x, y = (int(v) for v in rng.integers(0, PITCH, 2))
        pixels = np.tile(np.roll(tile, (y, x), axis=(0, 1)), (4, 4))
        pixels = pixels + rng.normal(0, 4, pixels.shape)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        label = fo.Detection(label="particle", bounding_box=[0.1, 0.1, 0.1, 0.1])
        sample = fo.Sample(filepath=str(path))
        if number < 3:
            sample["ground_truth"] = fo.Detections(detections=[label])
        samples.append(sample)
        phases[str(path)] = (x, y)
    dataset.add_samples(samples)
    yield dataset, phases
    dataset.delete()


def grids(dataset):
    return {
        sample.filepath: sample.unseen_structure.polylines[0]
        for sample in dataset.exists("unseen_structure")
    }


def test_a_grid_is_found_in_images_of_any_phase(wafers):
    dataset, phases = wafers
    result = unseen.mark_structure(dataset, structure="grid")
    assert result.marked == 8
    assert result.pitch == pytest.approx([PITCH, PITCH], abs=0.1)
    assert result.street == pytest.approx([STREET, STREET], abs=1.01)
    found = grids(dataset)
    for path, (x, y) in phases.items():
        left, top = (v % PITCH for v in found[path].origin)
        for given, origin in ((x, left), (y, top)):
            distance = abs(given - origin) % PITCH
            assert min(distance, PITCH - distance) <= 1.0
    assert "px" in result.summary()


def test_a_given_grid_is_drawn_where_it_was_given_without_reading_the_images(wafers):
    dataset, _ = wafers
    result = unseen.mark_structure(dataset, pitch=(64.0, 32.0), origin=(8.0, 0.0))
    (line,) = grids(dataset.limit(1)).values()
    xs = sorted({p[0] * SIZE for segment in line.points for p in segment if segment[0][1] == 0})
    assert {8.0, 72.0} <= set(xs)
    assert result.median_fit is None
    assert line.pitch == [64.0, 32.0]


def test_images_without_a_repeat_are_refused_and_nothing_is_written(make_wafers):
    dataset = make_wafers(6)
    fields = sorted(dataset.get_field_schema())
    with pytest.raises(StructureError, match="pitch"):
        unseen.mark_structure(dataset, structure="grid")
    dataset.reload()
    assert sorted(dataset.get_field_schema()) == fields
    assert not dataset.list_runs()


def test_a_mask_is_drawn_as_its_outline(wafers, tmp_path):
    dataset, _ = wafers
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    result = unseen.mark_structure(
        dataset, structure="mask", structure_file=str(tmp_path / "mask.png"), zone="inside"
    )
    assert result.marked == 8
    (line,) = grids(dataset.limit(1)).values()
    points = np.asarray(line.points[0])
    assert line.closed
    assert points.min(axis=0) == pytest.approx([0.25, 0.25], abs=0.01)
    assert points.max(axis=0) == pytest.approx([0.5, 0.75], abs=0.01)


def test_a_mask_of_other_proportions_is_refused(wafers, tmp_path):
    dataset, _ = wafers
    mask = np.zeros((32, 64), np.uint8)
    mask[8:16] = 1
    Image.fromarray(mask).save(tmp_path / "wide.png")
    with pytest.raises(StructureError, match=r"8 of 8 images have other proportions"):
        unseen.mark_structure(dataset, structure="mask", structure_file=str(tmp_path / "wide.png"))
    assert dataset.get_field("unseen_structure") is None


def polylines_file(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def test_polylines_in_px_and_relative_ones_are_the_same(wafers, tmp_path):
    dataset, _ = wafers
    square = [[32, 32], [96, 32], [96, 96], [32, 96]]
    px = {"size": [128, 128], "polylines": [{"points": square, "closed": True, "label": "pad"}]}
    relative = {
        "polylines": [
            {"points": (np.asarray(square) / 128).tolist(), "closed": True, "label": "pad"}
        ]
    }
    drawn = []
    for number, content in enumerate((px, relative)):
        file = polylines_file(tmp_path / f"{number}.json", content)
        unseen.mark_structure(dataset, structure="polylines", structure_file=file)
        (line,) = grids(dataset.limit(1)).values()
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
        ({"size": [0, 9], "polylines": [{"points": [[0, 0], [1, 1]]}]}, "size="),
    ],
)
def test_a_wrong_file_of_polylines_is_refused_with_its_layout(wafers, tmp_path, content, words):
    dataset, _ = wafers
    path = tmp_path / "lines.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(StructureError, match=words) as caught:
        unseen.mark_structure(dataset, structure="polylines", structure_file=str(path))
    assert '"polylines"' in str(caught.value)
    assert dataset.get_field("unseen_structure") is None


def test_open_lines_have_no_inside(wafers, tmp_path):
    dataset, _ = wafers
    file = polylines_file(tmp_path / "a.json", {"polylines": [{"points": [[0, 0], [1, 1]]}]})
    with pytest.raises(StructureError, match="needs closed polylines"):
        unseen.mark_structure(dataset, structure="polylines", structure_file=file, zone="inside")


def test_polylines_of_a_field_count_per_image(wafers):
    import fiftyone as fo

    dataset, _ = wafers
    sample = dataset.last()
    shape = fo.Polyline(points=[[(0, 0), (0.5, 0), (0.5, 1), (0, 1)]], closed=True, label="pad")
    sample["pads"] = fo.Polylines(polylines=[shape])
    sample.save()
    result = unseen.mark_structure(dataset, structure="field", structure_field="pads")
    assert (result.marked, result.images) == (1, 8)
    assert list(grids(dataset)) == [sample.filepath]
    assert "7 images have none; they count in full" in result.summary()


def scores(dataset, names=None):
    names = names or Names()
    pool = dataset.exists("ground_truth", False).sort_by("filepath")
    fields = [names.excess, names.alpha, names.foreground, names.model]
    return np.asarray(pool.values(fields)[:3]).T, pool.values(names.model)


@pytest.fixture
def trained(wafers, tmp_path):
    dataset, _ = wafers
    unseen.train_unet(dataset, model_dir=str(tmp_path / "models"), **UNET)
    return dataset


def half(tmp_path, name="half.png", value=255):
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = value
    Image.fromarray(mask).save(tmp_path / name)
    return str(tmp_path / name)


def test_what_does_not_count_has_no_heat_no_regions_and_no_part_in_the_metric(trained, tmp_path):
    unseen.score_samples(trained, threshold=0.0)
    everywhere, _ = scores(trained)
    file = half(tmp_path)
    parts = {}
    for zone in ("inside", "outside"):
        unseen.mark_structure(trained, structure="mask", structure_file=file, zone=zone)
        result = unseen.score_samples(trained, threshold=0.0)
        assert result.scored == 5  # all of them: what counts has changed
        parts[zone], _ = scores(trained)
    # At the threshold 0 the metrics are plain sums, so the two halves make the whole.
    np.testing.assert_allclose(parts["inside"] + parts["outside"], everywhere, rtol=2e-3, atol=1e-3)
    assert (parts["inside"][:, 1] > 0).all()
    for heat in trained.exists("unseen_heatmap").values("unseen_heatmap.map"):
        assert not heat[:, : heat.shape[1] // 2 - 1].any()
    for boxes in trained.exists("unseen_regions").values("unseen_regions.detections.bounding_box"):
        assert all(box[0] >= 0.5 - 1 / 64 for box in boxes)


def test_a_weight_lets_the_rest_count_in_part(trained, tmp_path):
    unseen.score_samples(trained, threshold=0.0)
    everywhere, _ = scores(trained)
    file = half(tmp_path)
    sums = {}
    for weight in (0.0, 0.25):
        unseen.mark_structure(
            trained, structure="mask", structure_file=file, zone="inside", weight=weight
        )
        unseen.score_samples(trained, threshold=0.0)
        sums[weight], _ = scores(trained)
    expected = sums[0.0] + 0.25 * (everywhere - sums[0.0])
    np.testing.assert_allclose(sums[0.25][:, [0, 2]], expected[:, [0, 2]], rtol=2e-3, atol=1e-3)


def test_structure_that_is_only_shown_changes_no_score(trained):
    unseen.score_samples(trained)
    before, marks = scores(trained)
    unseen.mark_structure(trained, structure="grid")
    # Nothing is to be scored again: zone everywhere, without a margin, counts everything.
    names = Names()
    assert structure.read_record(Loop(trained, names)).version is None
    assert overview.now(trained).next_action.operator != "train_unet"
    unseen.score_samples(trained, rescore=True)
    after, marks_after = scores(trained)
    np.testing.assert_array_equal(before, after)
    assert marks == marks_after


def test_the_panel_and_the_selection_know_that_what_counts_has_changed(trained, tmp_path):
    unseen.split_dataset(trained, test_count=0, initial=3)
    unseen.score_samples(trained)
    assert overview.now(trained).next_action.operator == "select_batch"
    unseen.mark_structure(trained, structure="mask", structure_file=half(tmp_path), zone="inside")
    action = overview.now(trained).next_action
    assert action.operator == "score_samples"
    assert "What counts" in action.reason
    with pytest.raises(DatasetError, match="what counts in the ranking changed"):
        unseen.select_batch(trained, budget=2)
    unseen.score_samples(trained)
    assert overview.now(trained).next_action.operator == "select_batch"
    assert len(unseen.select_batch(trained, budget=2).sample_ids) == 2
    assert overview.ranking(trained).scored == 5


def test_only_images_whose_structure_changed_are_scored_again(trained, tmp_path):
    file = half(tmp_path)
    settings = {"structure": "mask", "zone": "inside"}
    unseen.mark_structure(trained, structure_file=file, **settings)
    unseen.score_samples(trained)
    assert unseen.mark_structure(trained, structure_file=file, **settings).changed == 0
    assert unseen.score_samples(trained).already_scored == 5
    other = np.zeros((64, 64), np.uint8)
    other[:20] = 1
    Image.fromarray(other).save(tmp_path / "other.png")
    one = trained.exists("ground_truth", False).limit(1)
    changed = unseen.mark_structure(one, structure_file=str(tmp_path / "other.png"), **settings)
    assert changed.changed == 1
    again = unseen.score_samples(trained)
    assert (again.scored, again.already_scored) == (1, 4)


def test_a_dry_run_finds_the_grid_and_writes_nothing(wafers):
    dataset, _ = wafers
    planned = unseen.mark_structure(dataset, dry_run=True)
    dataset.reload()
    assert planned.marked == 8
    assert "would have" in planned.summary()
    assert dataset.get_field("unseen_structure") is None
    assert not dataset.list_runs()


def test_structure_is_removed_by_none_and_by_clean(wafers):
    dataset, _ = wafers
    for remove in (
        lambda: unseen.mark_structure(dataset, structure="none"),
        lambda: unseen.clean_dataset(dataset),
    ):
        unseen.mark_structure(dataset, zone="inside")
        assert dataset.get_field("unseen_structure") is not None
        remove()
        dataset.reload()
        assert dataset.get_field("unseen_structure") is None
        assert not dataset.list_runs()
        assert dataset.app_config.active_fields is None or (
            "unseen_structure" not in dataset.app_config.active_fields.paths
        )


def test_a_field_of_that_name_that_is_not_ours_is_left_alone(wafers):
    import fiftyone as fo

    dataset, _ = wafers
    dataset.add_sample_field("unseen_structure", fo.StringField)
    with pytest.raises(DatasetError, match="not made by this package"):
        unseen.mark_structure(dataset)
    assert isinstance(dataset.get_field("unseen_structure"), fo.StringField)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"structure": "die"}, "one of grid, mask"),
        ({"zone": "elsewhere"}, "one of everywhere"),
        ({"weight": 1.5}, "up to 1"),
        ({"margin": -1.0}, "from 0"),
        ({"street": (1.0, 2.0, 3.0)}, "two numbers"),
    ],
)
def test_wrong_parameters_are_named(wafers, settings, words):
    with pytest.raises(ConfigError, match=words):
        unseen.mark_structure(wafers[0], **settings)
