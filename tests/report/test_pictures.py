from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_facts import wafer_batches

from unseen.errors import ShapeError
from unseen.report.data import BatchPicture
from unseen.report.pictures import MAX_TILES, for_display, overlay, ranked_batch
from unseen.report.png import MAX_BYTES


def picture(path, **changes) -> BatchPicture:
    known = {
        "batch": "batch_01",
        "iteration": 1,
        "rank": 1,
        "filepath": str(path),
        "sample_id": "0",
        "metric_name": "excess",
        "metric_value": 3.5,
    }
    return BatchPicture(**{**known, **changes})


def test_a_heatmap_of_zeros_leaves_the_image_alone():
    pixels = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)

    assert np.array_equal(overlay(pixels, np.zeros((5, 6), np.uint8)), pixels)


def test_the_overlay_is_the_stronger_the_higher_the_score():
    pixels = np.full((1, 256, 3), 0.5, dtype=np.float32)

    shown = overlay(pixels, np.arange(256, dtype=np.uint8)[None])

    chroma = shown.max(axis=2) - shown.min(axis=2)
    change = np.abs(shown - pixels).max(axis=2)[0]
    assert chroma[0, 100] > 0.1  # coloured, on a grey wafer
    assert np.all(np.diff(change) >= -1e-6)


def test_twelve_bits_in_sixteen_are_stretched_for_display():
    pixels = np.linspace(0, 4095 / 65535, 10_000, dtype=np.float32).reshape(100, 100, 1)

    shown = for_display(pixels)

    assert shown.min() == 0
    assert shown.max() == 1


def test_an_image_without_contrast_stays_as_it_is():
    flat = np.full((4, 4, 1), 0.2, dtype=np.float32)

    assert np.array_equal(for_display(flat), flat)


def test_an_unreadable_image_becomes_a_tile_with_the_reason(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    rows = [picture(tmp_path / "cut.png"), picture(tmp_path / "missing.png", rank=2)]

    sheet = ranked_batch(rows, tmp_path / "sheet.png")

    assert Image.open(sheet).size[0] == 1400


def test_a_sheet_of_real_images_is_of_moderate_size(tmp_path):
    sheet = ranked_batch(wafer_batches(tmp_path, batches=1), tmp_path / "sheet.png")

    assert sheet.stat().st_size <= MAX_BYTES


def test_regions_are_drawn_over_the_image(tmp_path):
    Image.new("L", (64, 64), 128).save(tmp_path / "grey.png")
    plain = picture(tmp_path / "grey.png")
    region = replace(plain, regions=[((0.2, 0.2, 0.6, 0.6), 0.5)])

    without = np.asarray(Image.open(ranked_batch([plain], tmp_path / "a.png")))
    with_region = np.asarray(Image.open(ranked_batch([region], tmp_path / "b.png")))

    assert np.ptp(without[100:600, 100:600], axis=2).max() == 0  # grey stays grey
    assert np.ptp(with_region[100:600, 100:600], axis=2).max() > 150  # a yellow outline


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_images_of_every_kind_are_drawn(tmp_path, mode):
    array = np.arange(40 * 90, dtype=np.uint16).reshape(40, 90)
    if mode == "I;16":
        image = Image.fromarray(array)
    elif mode == "F":
        image = Image.fromarray(array.astype(np.float32))
    else:
        image = Image.fromarray((array % 256).astype(np.uint8)).convert(mode)
    path = tmp_path / ("image.tif" if mode == "F" else "image.png")
    image.save(path)
    heatmap = np.full((3, 7), 200, np.uint8)

    sheet = ranked_batch([picture(path, heatmap=heatmap, full_scale=0.1)], tmp_path / "s.png")

    assert sheet.stat().st_size > 1000


def test_a_long_batch_is_cut_to_one_sheet(tmp_path):
    Image.new("L", (64, 64), 128).save(tmp_path / "grey.png")
    rows = [picture(tmp_path / "grey.png", rank=i + 1) for i in range(MAX_TILES + 30)]

    short = ranked_batch(rows[:MAX_TILES], tmp_path / "short.png")
    long = ranked_batch(rows, tmp_path / "long.png")

    assert Image.open(short).size == Image.open(long).size


def test_formulas_in_names_are_text(tmp_path):
    Image.new("L", (64, 64), 128).save(tmp_path / "$x_{$.png")
    row = picture(tmp_path / "$x_{$.png", batch="$\\frac{$", boxes=[((0, 0, 1, 1), "$a_$")])

    ranked_batch([row], tmp_path / "sheet.png")


def test_a_heatmap_of_the_wrong_kind_is_refused():
    with pytest.raises(ShapeError, match="expected uint8"):
        picture("a.png", heatmap=np.zeros((3, 3)))
