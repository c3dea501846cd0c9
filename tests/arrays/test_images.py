"""Every depth of image arrives as float32 in [0, 1] with one or three channels."""

import numpy as np
import pytest
from PIL import Image

from unseen.arrays import image_store
from unseen.arrays.images import as_channels, image_size, read_image, resize
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


@pytest.mark.parametrize(("peak", "scale"), [(0.5, 1.0), (200.0, 255.0), (4000.0, 65535.0)])
def test_float_images_are_divided_only_if_they_exceed_one(tmp_path, peak, scale):
    Image.fromarray(np.full((4, 4), peak, dtype=np.float32)).save(tmp_path / "a.tiff")
    np.testing.assert_allclose(read_image(tmp_path / "a.tiff"), peak / scale, rtol=1e-6)


def test_channels_convert_by_luminance_and_repetition():
    colour = np.zeros((2, 2, 3), dtype=np.float32)
    colour[..., 1] = 1
    np.testing.assert_allclose(as_channels(colour, 1), np.full((2, 2, 1), 0.587), atol=1e-6)
    assert as_channels(colour[..., :1], 3).shape == (2, 2, 3)


def test_resize_keeps_the_mean_and_rounds_the_size(rng):
    pixels = rng.random((40, 60, 2), dtype=np.float32)
    small = resize(pixels, 0.25)
    assert small.shape == (10, 15, 2)
    np.testing.assert_allclose(small.mean((0, 1)), pixels.mean((0, 1)), atol=1e-4)
    assert resize(pixels, 0.001).shape == (1, 1, 2)
    assert resize(pixels, 1) is pixels


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
        np.testing.assert_allclose(image, read_image(path), atol=1e-3)
    halved = image_store.ImageStore(paths, scale=0.5, channels=3)
    assert halved[1].shape == (20, 30, 3)
