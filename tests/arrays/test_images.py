"""Every depth of image arrives as float32 in [0, 1] with one or three channels."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from unseen.arrays import image_store, images
from unseen.arrays.images import as_channels, as_float, image_size, read_image, resize, value_range
from unseen.errors import ImageError


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 51, [0.2]),
        ("1", 1, [1.0]),
        ("LA", (51, 7), [0.2]),
        ("RGB", (255, 51, 0), [1.0, 0.2, 0.0]),
        ("RGBA", (255, 51, 0, 9), [1.0, 0.2, 0.0]),
        ("I;16", 13107, [0.2]),
        ("P", 1, [1.0, 0.2, 0.0]),
    ],
)
def test_values_are_divided_by_the_full_scale_of_the_file(tmp_path, mode, value, expected):
    path = tmp_path / "a.png"
    image = Image.new(mode, (5, 3), value)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 51, 0])
    image.save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, 5, len(expected))
    np.testing.assert_allclose(pixels[1, 2], expected, atol=1e-6)
    assert image_size(path) == (5, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright_whatever_their_exif_orientation(tmp_path, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    pixels = np.repeat(
        np.repeat(np.asarray([[0, 60, 120], [250, 190, 30]], np.uint8), 16, 0), 16, 1
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, **({"quality": 99} if suffix == "webp" else {}), exif=exif)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image), np.float32) / 255
    np.testing.assert_allclose(read_image(path, channels=1)[:, :, 0], expected, atol=0.03)
    assert image_size(path) == expected.shape[::-1]


DEEP = np.random.default_rng(0).integers(0, 4000, (30, 40)).astype(np.uint16)


@pytest.mark.parametrize(
    ("pixels", "suffix", "expected"),
    [
        (DEEP, "png", (0, 4095)),
        (DEEP // 16, "png", (0, 255)),
        (np.dstack([DEEP] * 3), "png", (0, 4095)),
        (np.dstack([DEEP] * 3), "tif", (0, 4095)),
        (DEEP.astype(np.int32), "tif", (0, 4095)),
        (DEEP / np.float32(4000), "tif", (0, 1)),
        (DEEP / np.float32(20), "tif", (0, 255)),
        (30_000 + DEEP // 16, "png", None),
        (DEEP / np.float32(10) - 200, "tif", None),
        (DEEP / np.float32(1e6) + 0.12, "tif", None),
    ],
)
def test_the_values_of_the_data_set_decide_what_white_is(tmp_path, pixels, suffix, expected):
    paths = [str(tmp_path / f"{i}.{suffix}") for i in range(3)]
    for i, path in enumerate(paths):
        if pixels.ndim == 3:
            cv2.imwrite(path, np.roll(pixels, i, 0))
        else:
            Image.fromarray(np.roll(pixels, i, 0)).save(path)
    (tmp_path / "8.png").write_bytes(b"")
    found = value_range([*paths, str(tmp_path / "8.png")])
    assert expected in (None, found)
    assert value_range([paths[1]]) == found  # a hot pixel or another image changes little
    low, high = found
    read = read_image(paths[0], value_range=found)
    np.testing.assert_allclose(
        read[..., 0], (pixels.reshape(30, 40, -1)[..., 0] - low) / (high - low), atol=1e-4
    )
    assert np.ptp(read) > 0.3  # neither lost nor cut


def test_images_of_eight_bits_need_no_range_and_what_is_no_number_is_black(tmp_path):
    Image.fromarray((DEEP // 16).astype(np.uint8)).save(tmp_path / "8.png")
    assert value_range([]) is None
    assert value_range([str(tmp_path / "8.png"), "nowhere.png"]) is None
    heights = np.linspace(-200, 200, 1200, dtype=np.float32).reshape(30, 40)
    heights[3:6, 5] = np.nan, np.inf, -np.inf
    Image.fromarray(heights).save(tmp_path / "f.tif")
    found = value_range([str(tmp_path / "f.tif")])
    assert (read_image(tmp_path / "f.tif", value_range=found)[3:6, 5] == 0).all()
    assert read_image(tmp_path / "f.tif").min() == -200  # without a range as they are


def test_a_large_map_is_read_and_one_that_is_too_large_has_a_way_out(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "map.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert image_size(tmp_path / "map.png") == (9, 9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(images, "MOST_PIXELS", 30)
    with pytest.raises(ImageError, match="more than 30 pixels; cut it into tiles"):
        image_size(tmp_path / "map.png")


def test_channels_convert_by_luminance_and_repetition():
    colour = np.zeros((2, 2, 3), dtype=np.float32)
    colour[..., 1] = 1
    np.testing.assert_allclose(as_channels(colour, 1), np.full((2, 2, 1), 0.587), atol=1e-6)
    assert as_channels(colour[..., :1], 3).shape == (2, 2, 3)


def test_resize_keeps_the_mean_and_rounds_the_size(rng, monkeypatch):
    pixels = rng.random((40, 60, 2), dtype=np.float32)
    small = resize(pixels, 0.25)
    assert small.shape == (10, 15, 2)
    np.testing.assert_allclose(small.mean((0, 1)), pixels.mean((0, 1)), atol=1e-4)
    assert resize(pixels, 0.001).shape == (1, 1, 2)
    assert resize(pixels, 1) is pixels
    shares = (pixels * 255).astype(np.uint8)
    np.testing.assert_allclose(
        as_float(resize(shares, 0.4)), resize(as_float(shares), 0.4), atol=1e-5
    )
    monkeypatch.setattr(images, "_ROWS", 3)
    np.testing.assert_allclose(resize(pixels, 0.25), small, atol=1e-6)


@pytest.mark.parametrize("damage", ["missing", "text", "truncated", "empty"])
def test_a_damaged_file_is_named_with_a_way_out(tmp_path, damage, rng):
    path = tmp_path / "a.png"
    if damage != "missing":
        Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
        data = path.read_bytes()
        path.write_bytes({"text": b"hello", "truncated": data[:2000], "empty": b""}[damage])
    with pytest.raises(ImageError, match=r"a\.png: .*exclude the sample"):
        read_image(path)


@pytest.mark.parametrize("memory", [10**9, 5000])
def test_a_store_leaves_out_unreadable_files_and_reads_again_what_it_does_not_keep(
    tmp_path, monkeypatch, memory, rng
):
    monkeypatch.setattr(image_store, "MEMORY", memory)
    assert len(image_store.ImageStore([])) == 0
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path in (paths[0], paths[2]):
        Image.fromarray(rng.integers(0, 255, (40, 60), dtype=np.uint8)).save(path)
    read = []
    store = image_store.ImageStore(paths, on_read=read.append)
    assert (store.kept, list(store.failures), store.channels, read) == ([0, 2], [1], 1, [1, 2, 3])
    for image, path in zip(store, (paths[0], paths[2]), strict=True):
        np.testing.assert_array_equal(image, read_image(path))
    halved = image_store.ImageStore(paths, scale=0.5, channels=3)
    assert halved[1].shape == (20, 30, 3)
    other = image_store.ImageStore(paths, sizes=[(60, 40), (60, 40), (40, 60)])
    assert other.kept == [0]
    assert "2.png: has 60 x 40 px, and its metadata says 40 x 60" in other.failures[2]
