from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from unseen.report.pictures import MAX_TILES, BatchPicture, ranked_batch, stretched


def picture(path, **changes) -> BatchPicture:
    known = {"batch": "batch_01", "iteration": 1, "rank": 1, "metric_name": "excess"}
    return BatchPicture(**{**known, "filepath": str(path), "metric_value": 3.5, **changes})


@pytest.fixture
def grey(tmp_path):
    Image.new("L", (64, 64), 128).save(tmp_path / "grey.png")
    return picture(tmp_path / "grey.png")


def drawn(tmp_path, *pictures) -> np.ndarray:
    with Image.open(ranked_batch(pictures, tmp_path / "sheet.jpg")) as sheet:
        return np.asarray(sheet).astype(int)


def test_unreadable_images_become_tiles_of_the_same_sheet(tmp_path, grey):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    rows = [picture(tmp_path / "cut.png"), picture(tmp_path / "missing.png", rank=2)]

    assert drawn(tmp_path, *rows).shape[1] == drawn(tmp_path, grey).shape[1] == 1400


def test_twelve_bits_in_sixteen_are_stretched_and_no_contrast_stays():
    pixels = np.linspace(0, 4095 / 65535, 10_000, dtype=np.float32).reshape(100, 100, 1)
    flat = np.full((4, 4, 1), 0.2, dtype=np.float32)

    assert (stretched(pixels).min(), stretched(pixels).max()) == (0, 1)
    assert np.array_equal(stretched(flat), flat)


def test_heat_and_regions_are_drawn_in_colour_over_the_image(tmp_path, grey):
    regions = [((0.2, 0.2, 0.6, 0.6), 0.5), ((np.nan, 0, 1, 1), 0.1)]
    boxes = [((0.7, 0.7, 0.9, 0.9), "dent")]
    plain, *coloured = (
        np.ptp(drawn(tmp_path, p)[100:600, 100:600], axis=2).max()
        for p in (
            grey,
            replace(grey, regions=regions),
            replace(grey, boxes=boxes),
            replace(grey, heatmap=np.full((3, 7), 200, np.uint8), full_scale=0.1),
        )
    )
    assert plain <= 2  # grey stays grey
    assert min(coloured) > 100


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_images_of_every_kind_are_drawn(tmp_path, mode):
    array = np.arange(40 * 90, dtype=np.uint16).reshape(40, 90)
    image = Image.fromarray(array.astype(np.float32) if mode == "F" else array)
    if mode not in ("I;16", "F"):
        image = Image.fromarray((array % 256).astype(np.uint8)).convert(mode)
    path = tmp_path / ("image.tif" if mode == "F" else "image.png")
    image.save(path)

    assert drawn(tmp_path, picture(path))[100:400, 50:500].std() > 20


def test_a_long_batch_is_cut_to_one_sheet(tmp_path, grey):
    rows = [replace(grey, rank=i + 1) for i in range(MAX_TILES + 30)]

    np.testing.assert_array_equal(drawn(tmp_path, *rows[:MAX_TILES]), drawn(tmp_path, *rows))
