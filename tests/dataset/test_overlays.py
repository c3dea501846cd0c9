"""Copies with the heatmap drawn in: complete, of the same size, and the images stay untouched."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseen.arrays.heatmap import overlay
from unseen.dataset import overlays, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import Cancelled, DatasetError

pytestmark = pytest.mark.fiftyone

NAMES = Names()


def spot(height=6, width=8):
    heat = np.zeros((height, width), np.uint8)
    heat[1, 2] = 255
    return heat


def score(heat):
    numbers = dict.fromkeys(("alpha", "threshold", "excess", "entropy", "foreground"), 1.0)
    return {
        **numbers,
        "model": "abc",
        "expected_counts": [1.0],
        "embedding": np.zeros(2, np.float32),
        "heatmap": heat,
        "regions": [],
    }


def digests(files):
    return {f: hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in files}


@pytest.fixture
def build(tmp_path):
    """A dataset of the given files (name -> Pillow image, save options) and heatmaps."""
    import fiftyone as fo

    made = []

    def make(files, heats, names=NAMES):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        samples = []
        for name, (image, options) in files.items():
            image.save(folder / name, **options)
            samples.append(fo.Sample(filepath=str(folder / name)))
        dataset = fo.Dataset()
        made.append(dataset)
        dataset.add_samples(samples)
        writing.declare_score_fields(Loop(dataset, names))
        ids = dataset.values("id")
        writing.save_scores(
            Loop(dataset, names),
            {i: score(h) for i, h in zip(ids, heats, strict=True) if h is not ...},
        )
        return dataset

    yield make
    for dataset in made:
        dataset.delete()


@pytest.fixture
def colour(rng):
    return Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))


def write(view, tmp_path, **kwargs):
    return overlays.write_overlays(
        view, kwargs.pop("names", NAMES), tmp_path / "shown", **{"opacity": 0.4, **kwargs}
    )


def test_an_empty_view_writes_nothing(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    found = write(dataset.match_tags("no"), tmp_path)
    assert (found.paths, found.plain, found.skipped) == ({}, 0, [])


def test_a_copy_is_the_overlay_pixel_by_pixel(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    found = write(dataset, tmp_path)
    [sample_id] = found.paths
    with Image.open(found.paths[sample_id]) as shown:
        assert shown.format == "PNG"
        np.testing.assert_array_equal(
            np.asarray(shown), overlay(np.asarray(colour), spot(), opacity=0.4)
        )
    assert Path(found.paths[sample_id]).name == f"a-{sample_id}.unseen_overlay.png"
    assert dataset.first()["unseen_overlay"] == found.paths[sample_id]
    assert found.plain == 0


def test_images_are_only_read_and_keep_their_size(build, tmp_path, colour):
    files = {
        "a.png": (colour, {}),
        "b.jpg": (colour, {"quality": 80}),
        "c.bmp": (colour.convert("L"), {}),
        "d.tif": (colour.resize((33, 1)), {}),
    }
    dataset = build(files, [spot()] * 4)
    originals = dataset.values("filepath")
    before = digests(originals)
    found = write(dataset, tmp_path)
    assert digests(originals) == before
    assert len(found.paths) == 4
    for path, original in zip(dataset.values("unseen_overlay"), originals, strict=True):
        with Image.open(path) as shown, Image.open(original) as image:
            assert path != original
            assert shown.size == image.size
            assert shown.format == ("JPEG" if original.endswith(".jpg") else "PNG")


def test_images_without_heat_are_shown_as_they_are(build, tmp_path, colour):
    dataset = build(
        {f"{i}.png": (colour, {}) for i in range(4)},
        [spot(), None, np.zeros((6, 8), np.uint8), ...],  # ... = never scored
    )
    found = write(dataset, tmp_path)
    files, shown = dataset.values(["filepath", "unseen_overlay"])
    assert found.plain == 3
    assert shown[1:] == files[1:]
    assert len(list((tmp_path / "shown").iterdir())) == 1
    assert list(found.paths.values()) == shown


def test_unreadable_images_are_listed_and_lose_their_copy(build, tmp_path, colour):
    dataset = build({f"{i}.png": (colour, {}) for i in range(3)}, [spot()] * 3)
    write(dataset, tmp_path)
    files = dataset.values("filepath")
    Path(files[0]).unlink()
    Path(files[1]).write_bytes(Path(files[1]).read_bytes()[:300])
    found = write(dataset, tmp_path)
    assert [s.filepath for s in found.skipped] == files[:2]
    assert "no such file" in found.skipped[0].reason
    assert list(found.paths) == dataset.values("id")[2:]
    assert dataset.values("unseen_overlay")[:2] == [None, None]


def test_deep_images_are_stretched_to_what_they_hold(build, tmp_path, rng):
    ramp = np.linspace(1000, 3000, 48 * 64).reshape(48, 64)
    files = {
        "sixteen.png": (Image.fromarray(ramp.astype(np.uint16)), {}),
        "float.tif": (Image.fromarray((ramp * 1e-4).astype(np.float32)), {}),
        "flat.png": (Image.fromarray(np.full((48, 64), 1234, np.uint16)), {}),
    }
    found = write(build(files, [spot()] * 3), tmp_path)
    shown = [np.asarray(Image.open(p)).astype(int) for p in found.paths.values()]
    for pixels in shown[:2]:
        cold = pixels[24:]  # the lower half holds no heat
        np.testing.assert_array_equal(cold[..., 0], cold[..., 1])
        assert cold.max() == 255
        assert abs(cold[0, 0, 0] - 128) <= 2  # the middle of the ramp
        assert np.all(np.diff(cold[..., 0].ravel()) >= 0)
    assert np.ptp(shown[2][24:]) == 0


def test_exif_rotation_is_neither_applied_nor_kept(build, tmp_path, colour):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    dataset = build({"a.jpg": (colour, {"exif": exif, "quality": 95})}, [spot()])
    [path] = write(dataset, tmp_path).paths.values()
    with Image.open(path) as shown, Image.open(dataset.first().filepath) as image:
        assert image.getexif()[0x0112] == 6
        assert shown.size == image.size == (64, 48)
        assert not shown.getexif()


def test_alpha_and_palettes_become_plain_colours(build, tmp_path, colour):
    transparent = colour.convert("RGBA")
    transparent.putalpha(7)
    dataset = build(
        {"a.png": (transparent, {}), "b.png": (colour.convert("P"), {})}, [spot(), spot()]
    )
    found = write(dataset, tmp_path)
    one, two = (Image.open(p) for p in found.paths.values())
    assert one.mode == two.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(one)[24:], np.asarray(colour)[24:])


def test_old_and_half_written_copies_are_replaced(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    [path] = (Path(p) for p in write(dataset, tmp_path).paths.values())
    complete = path.read_bytes()
    path.write_bytes(complete[:100])
    path.with_name(path.name + ".part").write_bytes(b"left by a killed run")
    write(dataset, tmp_path)
    assert path.read_bytes() == complete
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    write(dataset, tmp_path, opacity=0.9)
    assert path.read_bytes() != complete


def test_two_series_keep_their_own_copies(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    other = Names(series="b")
    writing.declare_score_fields(Loop(dataset, other))
    writing.save_scores(Loop(dataset, other), {dataset.first().id: score(spot().T[::-1])})
    one = write(dataset, tmp_path).paths
    two = write(dataset, tmp_path, names=other).paths
    assert list(one) == list(two)
    assert list(one.values()) != list(two.values())
    overlays.remove_overlays(Loop(dataset, NAMES), tmp_path / "shown")
    assert not Path(*one.values()).exists()
    assert Path(*two.values()).exists()
    assert dataset.has_field("unseen_b_overlay")


def test_removing_takes_the_copies_and_the_field_and_leaves_the_rest(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {}), "b.png": (colour, {})}, [spot(), None])
    write(dataset, tmp_path)
    folder = tmp_path / "shown"
    [copy] = folder.iterdir()
    copy.with_name(copy.name + ".part").write_bytes(b"left by a killed run")
    mine = folder / "mine.png"
    mine.write_bytes(b"x")
    originals = digests(dataset.values("filepath"))
    assert overlays.remove_overlays(Loop(dataset, NAMES), folder) == 1
    assert list(folder.iterdir()) == [mine]
    assert not dataset.has_field("unseen_overlay")
    assert digests(originals) == originals
    mine.unlink()
    assert overlays.remove_overlays(Loop(dataset, NAMES), folder) == 0
    assert not folder.exists()


def test_removing_from_a_folder_above_takes_all_below(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    for batch in ("one", "two"):
        overlays.write_overlays(dataset, NAMES, tmp_path / "shown" / batch, opacity=0.4)
    assert overlays.remove_overlays(Loop(dataset, NAMES), tmp_path / "shown") == 2
    assert not (tmp_path / "shown").exists()


def test_copies_of_another_dataset_stay(build, tmp_path, colour):
    one, two = (build({"a.png": (colour, {})}, [spot()]) for _ in range(2))
    write(one, tmp_path)
    [kept] = write(two, tmp_path).paths.values()
    assert overlays.remove_overlays(Loop(one, NAMES), tmp_path / "shown") == 1
    assert Path(kept).is_file()


def test_a_long_or_foreign_name_makes_a_valid_file_name(build, tmp_path, colour):
    dataset = build({"ö" * 120 + ".png": (colour, {})}, [spot()])
    [path] = write(dataset, tmp_path).paths.values()
    assert Path(path).is_file()
    assert len(Path(path).name.encode()) < 255


def test_a_view_that_hides_the_heatmap_does_not_matter(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    assert write(dataset.select_fields("tags"), tmp_path).plain == 0


def test_heatmaps_and_pictures_are_not_gathered(build, tmp_path):
    side = 400
    flat = Image.fromarray(np.zeros((side, side, 3), np.uint8))
    dataset = build({f"{i:02d}.png": (flat, {}) for i in range(24)}, [spot()] * 24)

    def peak(view):
        tracemalloc.start()
        write(view, tmp_path, workers=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(dataset.limit(1))  # imports
    assert peak(dataset) < peak(dataset.limit(2)) + 3 * side * side


def test_progress_counts_every_sample_and_may_stop_the_run(build, tmp_path, colour):
    dataset = build({f"{i}.png": (colour, {}) for i in range(3)}, [spot()] * 3)
    seen = []

    def listen(done, total, label=""):
        seen.append((done, total))
        if len(seen) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        write(dataset, tmp_path, progress=listen)
    assert seen == [(1, 3), (2, 3)]
    assert dataset.values("unseen_overlay") == [None] * 3


def test_a_folder_that_cannot_be_made_is_named(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    (tmp_path / "shown").write_bytes(b"a file")
    with pytest.raises(DatasetError, match=r"shown .*choose another folder"):
        write(dataset, tmp_path)


def test_a_field_of_somebody_else_is_refused(build, tmp_path, colour):
    import fiftyone as fo

    dataset = build({"a.png": (colour, {})}, [spot()])
    dataset.add_sample_field("unseen_overlay", fo.StringField)
    with pytest.raises(DatasetError, match="unseen_overlay"):
        write(dataset, tmp_path)


def test_an_opacity_out_of_range_is_refused_before_anything_is_written(build, tmp_path, colour):
    dataset = build({"a.png": (colour, {})}, [spot()])
    with pytest.raises(ValueError, match="opacity"):
        write(dataset, tmp_path, opacity=1.5)
    assert not (tmp_path / "shown").exists()
