"""Copies with the heatmap drawn in: complete, of the same size, and the images stay untouched."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from unseen.arrays.heatmap import overlay
from unseen.dataset import overlays, writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import Cancelled, DatasetError

pytestmark = pytest.mark.fiftyone

SPOT = np.zeros((6, 8), np.uint8)
SPOT[1, 2] = 255
COLOUR = Image.fromarray(np.random.default_rng(7).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def digests(files):
    return {f: hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in files}


@pytest.fixture
def build(tmp_path):
    """A dataset of the given files (name -> Pillow image, save options) and heatmaps."""
    import fiftyone as fo

    made = []

    def make(files=("a.png",), heats=None):
        files = files if isinstance(files, dict) else {name: (COLOUR, {}) for name in files}
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        for name, (image, options) in files.items():
            image.save(folder / name, **options)
        made.append(fo.Dataset())
        made[-1].add_samples([fo.Sample(filepath=str(folder / name)) for name in files])
        give_heat(Loop(made[-1]), [SPOT] * len(files) if heats is None else heats)
        return made[-1]

    yield make
    for dataset in made:
        dataset.delete()


def give_heat(loop, heats):
    """Store heatmaps in the order of the samples; `...` leaves one without a score."""
    writing.declare_score_fields(loop)
    ids = loop.dataset.values("id")
    values = {
        i: {loop.names.heatmap: None if heat is None else writing.heatmap(heat)}
        for i, heat in zip(ids, heats, strict=True)
        if heat is not ...
    }
    writing.set_raw(loop.dataset, values)


def write(view, tmp_path, names=None, **kwargs):
    loop = Loop(view, names or Names())
    return overlays.write_overlays(loop, tmp_path / "shown", **{"opacity": 0.4, **kwargs})


def pictures(paths):
    return [np.asarray(Image.open(path)) for path in paths]


def test_an_empty_view_writes_nothing(build, tmp_path):
    assert write(build().match_tags("no"), tmp_path) == {}


def test_a_copy_is_the_overlay_pixel_by_pixel_whatever_a_view_hides(build, tmp_path):
    dataset = build()
    ((sample_id, path),) = write(dataset.select_fields("tags"), tmp_path).items()
    assert Path(path).name == f"a-{sample_id}.unseen_overlay.png"
    assert dataset.first()["unseen_overlay"] == path
    np.testing.assert_array_equal(*pictures([path]), overlay(np.asarray(COLOUR), SPOT, opacity=0.4))


def test_images_are_only_read_and_keep_their_size(build, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    transparent = COLOUR.convert("RGBA")
    transparent.putalpha(7)
    files = {
        "a.png": (transparent, {}),
        "b.jpg": (COLOUR, {"exif": exif, "quality": 80}),
        "c.bmp": (COLOUR.convert("L"), {}),
        "d.tif": (COLOUR.resize((33, 1)), {}),
        "ö" * 120 + ".png": (COLOUR.convert("P"), {}),  # 240 of the 255 bytes of a name
    }
    dataset = build(files)
    originals = dataset.values("filepath")
    before = digests(originals)
    write(dataset, tmp_path)
    assert digests(originals) == before
    for path, original in zip(dataset.values("unseen_overlay"), originals, strict=True):
        with Image.open(path) as shown, Image.open(original) as image:
            assert path != original
            upright = ImageOps.exif_transpose(image)
            assert (shown.size, shown.mode) == (upright.size, "RGB")
            assert shown.format == ("JPEG" if original.endswith(".jpg") else "PNG")
            assert not shown.getexif()
    cold = pictures([dataset.first().unseen_overlay])[0][24:]  # the lower half holds no heat
    np.testing.assert_array_equal(cold, np.asarray(COLOUR)[24:])


def test_images_without_heat_are_shown_as_they_are(build, tmp_path):
    dataset = build([f"{i}.png" for i in range(4)], [SPOT, None, 0 * SPOT, ...])
    paths = write(dataset, tmp_path)
    files, shown = dataset.values(["filepath", "unseen_overlay"])
    assert shown[1:] == files[1:]
    assert len(list((tmp_path / "shown").iterdir())) == 1
    assert paths == dict(zip(dataset.values("id"), shown, strict=True))


def test_unreadable_images_are_named_and_lose_their_copy(build, tmp_path, caplog):
    dataset = build([f"{i}.png" for i in range(3)])
    write(dataset, tmp_path)
    files = dataset.values("filepath")
    Path(files[0]).unlink()
    Path(files[1]).write_bytes(Path(files[1]).read_bytes()[:300])
    assert list(write(dataset, tmp_path)) == dataset.values("id")[2:]
    assert f"{files[0]}: no such file" in caplog.text
    assert f"{files[1]}: cannot be read" in caplog.text
    assert dataset.values("unseen_overlay")[:2] == [None, None]


def test_deep_images_are_stretched_to_what_they_hold(build, tmp_path):
    ramp = np.linspace(1000, 3000, 48 * 64).reshape(48, 64)
    files = {
        "sixteen.png": (Image.fromarray(ramp.astype(np.uint16)), {}),
        "float.tif": (Image.fromarray((ramp * 1e-4).astype(np.float32)), {}),
        "flat.png": (Image.fromarray(np.full((48, 64), 1234, np.uint16)), {}),
    }
    dataset = build(files)
    write(dataset, tmp_path)
    *ramps, flat = (p.astype(int)[24:] for p in pictures(dataset.values("unseen_overlay")))
    for cold in ramps:
        np.testing.assert_array_equal(cold[..., 0], cold[..., 1])
        assert cold.max() == 255
        assert abs(cold[0, 0, 0] - 128) <= 2  # the middle of the ramp
        assert np.all(np.diff(cold[..., 0].ravel()) >= 0)
    assert np.ptp(flat) == 0


def test_old_and_half_written_copies_are_replaced(build, tmp_path):
    dataset = build()
    path = Path(*write(dataset, tmp_path).values())
    complete = path.read_bytes()
    path.write_bytes(complete[:100])
    path.with_name(path.name + ".part").write_bytes(b"left by a killed run")
    write(dataset, tmp_path)
    assert path.read_bytes() == complete
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    write(dataset, tmp_path, opacity=0.9)
    assert path.read_bytes() != complete


def test_each_series_and_dataset_removes_its_own_copies(build, tmp_path):
    dataset, another = build(), build()
    other = Names(series="b")
    give_heat(Loop(dataset, other), [SPOT.T[::-1]])
    (mine,) = write(dataset, tmp_path).values()
    (series,) = write(dataset, tmp_path, other).values()
    (stranger,) = write(another, tmp_path).values()
    overlays.remove_overlays(Loop(dataset), tmp_path)
    assert not Path(mine).exists()
    assert Path(series).is_file()
    assert Path(stranger).is_file()
    assert not dataset.has_field("unseen_overlay")
    assert dataset.has_field("unseen_b_overlay")


def test_removing_takes_the_copies_and_the_field_and_leaves_the_rest(build, tmp_path):
    dataset = build(["a.png", "b.png", "c.png"], [SPOT, None, SPOT])
    write(dataset, tmp_path)
    folder = tmp_path / "shown"
    first, plain, last = dataset.values("id")
    overlays.remove_overlays(Loop(dataset), folder, [first, plain])
    assert [p.name.split("-")[0] for p in folder.iterdir()] == ["c"]
    assert list(dataset.exists("unseen_overlay").values("id")) == [last]
    (copy,) = folder.iterdir()
    copy.with_name(copy.name + ".part").write_bytes(b"left by a killed run")
    (folder / "mine.png").write_bytes(b"x")
    originals = dataset.values("filepath")
    overlays.remove_overlays(Loop(dataset), folder, [last])
    assert list(folder.iterdir()) == [folder / "mine.png"]
    assert not dataset.has_field("unseen_overlay")
    assert all(Path(path).is_file() for path in originals)
    (folder / "mine.png").unlink()
    overlays.remove_overlays(Loop(dataset), folder)
    assert not folder.exists()


def test_heatmaps_and_pictures_are_not_gathered(build, tmp_path, monkeypatch):
    side = 400
    flat = Image.fromarray(np.zeros((side, side, 3), np.uint8))
    dataset = build({f"{i:02d}.png": (flat, {}) for i in range(24)})
    monkeypatch.setattr(overlays, "WORKERS", 1)

    def peak(view):
        tracemalloc.start()
        write(view, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(dataset.limit(1))  # imports
    assert peak(dataset) < peak(dataset.limit(2)) + 3 * side * side


def test_progress_counts_every_sample_and_may_stop_the_run(build, tmp_path):
    dataset = build([f"{i}.png" for i in range(3)])
    seen = []

    def listen(done, total, label=""):
        seen.append((done, total))
        if len(seen) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        write(dataset, tmp_path, progress=listen)
    assert seen == [(1, 3), (2, 3)]
    assert dataset.values("unseen_overlay") == [None] * 3


def test_what_cannot_be_written_is_refused(build, tmp_path):
    import fiftyone as fo

    dataset = build()
    with pytest.raises(ValueError, match="opacity"):
        write(dataset, tmp_path, opacity=1.5)
    assert not (tmp_path / "shown").exists()
    (tmp_path / "shown").write_bytes(b"a file")
    with pytest.raises(DatasetError, match=r"shown .*choose another folder"):
        write(dataset, tmp_path)
    dataset.delete_sample_field("unseen_overlay")
    dataset.add_sample_field("unseen_overlay", fo.StringField)
    with pytest.raises(DatasetError, match="unseen_overlay"):
        write(dataset, tmp_path)
