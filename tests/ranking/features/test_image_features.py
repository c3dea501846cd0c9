"""What an image's vector and patches must be, whatever the network has learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unseen.arrays.image_statistics import image_statistics
from unseen.arrays.images import read_image
from unseen.arrays.texture import texture_features
from unseen.errors import ShapeError
from unseen.ranking.features.backbones import Backbone, find_backbone
from unseen.ranking.features.image_features import (
    LARGEST,
    MOST_PATCHES,
    SMALLEST,
    blocks,
    fitted,
    image_features,
    patch_size,
    vector_size,
)


class Averages(nn.Module):
    """Stages that can be worked out by hand: the colours' means in cells of 8, 16 and 32 px."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return [nn.functional.avg_pool2d(images, side) for side in (8, 16, 32)]


AVERAGES = Backbone("averages", "0" * 16, "test", (3, 3, 3), network=Averages())


@pytest.fixture(scope="module")
def lite0():
    return find_backbone("efficientnet_lite0")[0]


@pytest.fixture(scope="module")
def statistics():
    return find_backbone("statistics")[0]


@pytest.fixture
def image(rng):
    return rng.random((128, 160, 3), dtype=np.float32)


def part(backbone, features, name):
    return features.vector[blocks(backbone)[name]]


def test_an_image_without_pixels_or_with_other_channels_is_refused(lite0):
    for shape in ((0, 5, 3), (5, 5, 2), (5, 5)):
        with pytest.raises(ShapeError, match="expected"):
            image_features(lite0, np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "statistics"])
def test_blocks_cover_the_vector_without_gap(name, image):
    backbone, _ = find_backbone(name)
    found = image_features(backbone, image)
    places = np.concatenate([np.arange(found.vector.size)[s] for s in blocks(backbone).values()])
    assert places.tolist() == list(range(vector_size(backbone)))
    assert found.patches.shape[2] == patch_size(backbone)
    assert found.vector.dtype == found.patches.dtype == np.float32
    assert np.isfinite(found.vector).all()
    assert np.isfinite(found.patches).all()


def test_the_sizes_of_lite0_are_the_documented_ones(lite0, image):
    found = image_features(lite0, image)
    assert found.vector.shape == (944,)
    assert found.patches.shape == (8, 10, 152)
    names = ["mean8", "mean16", "mean32", "max8", "max16", "max32"]
    assert list(blocks(lite0)) == names
    stages = lite0.stages(torch.from_numpy(image.transpose(2, 0, 1))[None])
    for stage, stride in zip(stages, (8, 16, 32), strict=True):
        mean, highest = stage[0].mean(dim=(1, 2)), stage[0].amax(dim=(1, 2))
        np.testing.assert_allclose(part(lite0, found, f"mean{stride}"), mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part(lite0, found, f"max{stride}"), highest, rtol=1e-5)


def test_means_and_maxima_are_those_of_the_stages(image):
    found = image_features(AVERAGES, image)
    colours = image.mean(axis=(0, 1))
    for stride in (8, 16, 32):
        cells = image.reshape(128 // stride, stride, 160 // stride, stride, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(part(AVERAGES, found, f"mean{stride}"), colours, rtol=1e-5)
        highest = cells.max(axis=(0, 1))
        np.testing.assert_allclose(part(AVERAGES, found, f"max{stride}"), highest, rtol=1e-5)


def test_a_constant_image_has_equal_means_maxima_and_patches():
    grey = np.full((96, 96, 3), (0.25, 0.5, 0.75), dtype=np.float32)
    found = image_features(AVERAGES, grey)
    for stride in (8, 16, 32):
        np.testing.assert_allclose(part(AVERAGES, found, f"mean{stride}"), grey[0, 0], rtol=1e-6)
        np.testing.assert_allclose(part(AVERAGES, found, f"max{stride}"), grey[0, 0], rtol=1e-6)
    # Also at the border: what lies outside is not counted as black.
    np.testing.assert_allclose(found.patches, np.broadcast_to([*grey[0, 0]] * 2, (6, 6, 6)))


def test_patches_of_a_constant_image_are_equal_away_from_the_border(lite0):
    # The network pads with zeros, which the middle stage sees from up to 170 px away.
    found = image_features(lite0, np.full((640, 640, 3), 0.6, dtype=np.float32)).patches
    inner = found[9:11, 9:11].reshape(4, -1)
    np.testing.assert_allclose(inner, np.broadcast_to(inner[0], inner.shape), atol=1e-3)


def test_a_flipped_image_has_flipped_patches_and_the_same_vector(image):
    found, flipped = (image_features(AVERAGES, i) for i in (image, image[:, ::-1]))
    np.testing.assert_allclose(flipped.vector, found.vector, rtol=1e-5)
    np.testing.assert_allclose(flipped.patches, found.patches[:, ::-1], rtol=1e-5)


def test_a_shifted_object_shifts_in_the_patches(lite0):
    empty = np.full((320, 320, 3), 0.5, dtype=np.float32)
    usual = image_features(lite0, empty).patches
    for row, column in ((8, 8), (8, 12), (13, 9)):
        marked = empty.copy()
        marked[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 1
        change = np.linalg.norm(image_features(lite0, marked).patches - usual, axis=2)
        found = np.unravel_index(change.argmax(), change.shape)
        assert np.abs(np.subtract(found, (row, column))).max() <= 1


@pytest.mark.parametrize("name", ["efficientnet_lite0", "statistics"])
def test_grey_and_the_same_grey_in_three_channels_are_one(name, rng):
    backbone, _ = find_backbone(name)
    grey = rng.random((64, 80, 1), dtype=np.float32)
    one, three = (image_features(backbone, i) for i in (grey, np.repeat(grey, 3, axis=2)))
    np.testing.assert_allclose(one.vector, three.vector, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.patches, three.patches, rtol=1e-4, atol=1e-5)


def test_sixteen_bits_and_eight_describe_the_same_image(lite0, tmp_path, rng):
    grey = rng.integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    eight, sixteen = (
        image_features(lite0, read_image(tmp_path / f"{bits}.png", channels=3)) for bits in (8, 16)
    )
    np.testing.assert_allclose(sixteen.vector, eight.vector, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "statistics"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (1, 700), (63, 64)])
def test_images_smaller_than_a_patch_have_features(name, shape):
    backbone, _ = find_backbone(name)
    found = image_features(backbone, np.ones((*shape, 1), dtype=np.float32))
    assert min(found.patches.shape[:2]) == SMALLEST // 16
    assert np.isfinite(found.vector).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 640), (64, 640)),  # nothing to do
        ((32, 32), (64, 64)),
        ((32, 48), (64, 96)),
        ((1280, 640), (640, 320)),
        ((641, 100), (640, 100)),
        ((10, 640), (64, 640)),  # in proportion it would be too long
        ((1, 6400), (64, 640)),
    ],
)
def test_sides_stay_within_bounds(shape, expected):
    found = fitted(np.ones((*shape, 1), dtype=np.float32))
    assert found.shape == (*expected, 1)
    np.testing.assert_allclose(found, 1, rtol=1e-6)
    assert fitted(found) is found


def test_reducing_keeps_the_mean(rng):
    large = rng.random((2 * LARGEST, LARGEST, 3), dtype=np.float32)
    np.testing.assert_allclose(fitted(large).mean(axis=(0, 1)), large.mean(axis=(0, 1)), atol=1e-4)


def test_a_large_image_has_at_most_twenty_patches_per_side(rng):
    image = rng.random((640, 480, 3), dtype=np.float32)
    found = image_features(AVERAGES, image)
    assert found.patches.shape == (MOST_PATCHES, MOST_PATCHES, 6)
    assert image_features(AVERAGES, image[:336]).patches.shape == (20, 20, 6)
    assert image_features(AVERAGES, image[:320, :304]).patches.shape == (20, 19, 6)


def test_statistics_are_those_of_their_modules(statistics, image):
    found = image_features(statistics, image)
    whole = image_statistics(image)
    np.testing.assert_allclose(part(statistics, found, "statistics"), whole, rtol=1e-4, atol=1e-6)
    texture = texture_features(torch.from_numpy(image.transpose(2, 0, 1))[None])[0]
    np.testing.assert_allclose(part(statistics, found, "texture"), texture, rtol=1e-4)


def test_cells_of_statistics_hold_mean_deviation_and_directions(statistics):
    image = np.full((64, 64, 1), 0.5, dtype=np.float32)
    image[:, 32:] += 0.1 * np.sin(np.arange(32) * np.pi / 3)[None, :, None]
    found = image_features(statistics, image).patches
    assert found.shape == (4, 4, 17)
    cells = image[..., 0].reshape(4, 16, 4, 16)
    np.testing.assert_allclose(found[..., 0], cells.mean(axis=(1, 3)), atol=1e-6)
    np.testing.assert_allclose(found[..., 1], cells.std(axis=(1, 3)), atol=1e-5)
    across, down = found[:, 3, 2], found[:, 3, 3]
    assert (across > down + 5).all()
