"""What the vector and the patches of an image must be, whatever the network has learned."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unseen.arrays.images import read_image
from unseen.ranking.features.backbones import Backbone, find_backbone
from unseen.ranking.features.image_features import (
    LARGEST,
    MOST_PATCHES,
    SMALLEST,
    batch_features,
    blocks,
    fitted,
    image_features,
    patch_size,
    vector_size,
)


class Averages(nn.Module):
    """Stages in closed form: the mean colours of cells of 8, 16 and 32 px."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return [nn.functional.avg_pool2d(images, side) for side in (8, 16, 32)]


AVERAGES = Backbone("averages", "0" * 16, "test", (3, 3, 3), network=Averages())
LITE0, STATISTICS = (find_backbone(name)[0] for name in ("efficientnet_lite0", "statistics"))

each_backbone = pytest.mark.parametrize("backbone", [LITE0, STATISTICS], ids=lambda b: b.name)


@pytest.fixture
def image(rng):
    return rng.random((128, 160, 3), dtype=np.float32)


def part(backbone, features, name):
    return features.vector[blocks(backbone)[name]]


@each_backbone
def test_blocks_cover_the_vector_without_gap(backbone, image):
    features = image_features(backbone, image)
    covered = [np.arange(features.vector.size)[s] for s in blocks(backbone).values()]
    assert np.concatenate(covered).tolist() == list(range(vector_size(backbone)))
    assert features.patches.shape[2] == patch_size(backbone)
    for numbers in (features.vector, features.patches):
        assert numbers.dtype == np.float32
        assert np.isfinite(numbers).all()
    lite0 = image_features(LITE0, image)  # as documented
    assert (lite0.vector.shape, lite0.patches.shape) == ((944,), (8, 10, 152))


@each_backbone
@pytest.mark.parametrize("shape", [(64, 64, 1), (96, 130, 3)])
def test_an_image_gets_the_same_bits_alone_and_in_a_batch(backbone, shape, rng):
    images = rng.random((5, *shape), dtype=np.float32)
    for image, found in zip(images, batch_features(backbone, images), strict=True):
        np.testing.assert_equal(vars(found), vars(image_features(backbone, image)))


def test_means_and_maxima_are_those_of_the_stages(image):
    constant = np.full((96, 96, 3), (0.25, 0.5, 0.75), dtype=np.float32)
    for pixels in (image, constant):
        features, colours = image_features(AVERAGES, pixels), pixels.mean(axis=(0, 1))
        height, width = pixels.shape[:2]
        for stride in (8, 16, 32):
            cells = pixels.reshape(height // stride, stride, width // stride, stride, 3)
            highest = cells.mean(axis=(1, 3)).max(axis=(0, 1))
            means = part(AVERAGES, features, f"mean{stride}")
            np.testing.assert_allclose(means, colours, rtol=1e-5)
            np.testing.assert_allclose(part(AVERAGES, features, f"max{stride}"), highest, rtol=1e-5)
    # Also at the border: what lies outside does not count as black.
    np.testing.assert_allclose(features.patches, np.broadcast_to([*colours] * 2, (6, 6, 6)))


def test_a_flipped_image_has_flipped_patches_and_the_same_vector(image):
    straight, flipped = (image_features(AVERAGES, i) for i in (image, image[:, ::-1]))
    np.testing.assert_allclose(flipped.vector, straight.vector, rtol=1e-5)
    np.testing.assert_allclose(flipped.patches, straight.patches[:, ::-1], rtol=1e-5)


@each_backbone
def test_grey_is_one_image_in_one_channel_or_three_in_eight_bits_or_sixteen(
    backbone, tmp_path, rng
):
    grey = rng.integers(0, 256, (64, 80), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    read = [read_image(tmp_path / f"{bits}.png", channels=3) for bits in (8, 16)]
    one, *others = (image_features(backbone, i) for i in (read[0][..., :1], *read))
    for other in others:
        np.testing.assert_allclose(other.vector, one.vector, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(other.patches, one.patches, rtol=1e-3, atol=1e-3)


@each_backbone
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (1, 700), (63, 64)])
def test_images_smaller_than_a_patch_have_features(backbone, shape):
    features = image_features(backbone, np.ones((*shape, 1), dtype=np.float32))
    assert min(features.patches.shape[:2]) == SMALLEST // 16
    assert np.isfinite(features.vector).all()


def test_sides_stay_within_bounds():
    for shape, expected in (
        ((64, 640), (64, 640)),  # nothing to do
        ((32, 48), (64, 96)),
        ((1280, 640), (640, 320)),
        ((641, 100), (640, 100)),
        ((1, 6400), (64, 640)),  # in proportion it would be too long
    ):
        resized = fitted(np.ones((*shape, 1), dtype=np.float32))
        assert resized.shape == (*expected, 1)
        np.testing.assert_allclose(resized, 1, rtol=1e-6)
        assert fitted(resized) is resized


def test_reducing_keeps_the_mean_and_limits_the_patches(rng):
    large = rng.random((2 * LARGEST, LARGEST, 3), dtype=np.float32)
    np.testing.assert_allclose(fitted(large).mean(axis=(0, 1)), large.mean(axis=(0, 1)), atol=1e-4)
    for rows, columns, grid in ((640, 480, (20, 20)), (336, 480, (20, 20)), (320, 304, (20, 19))):
        features = image_features(AVERAGES, large[:rows, :columns])
        assert features.patches.shape == (*grid, 6)
        assert max(grid) <= MOST_PATCHES


def test_cells_of_statistics_hold_mean_deviation_and_directions():
    image = np.full((64, 64, 1), 0.5, dtype=np.float32)
    image[:, 32:] += 0.1 * np.sin(np.arange(32) * np.pi / 3)[None, :, None]
    patches = image_features(STATISTICS, image).patches
    assert patches.shape == (4, 4, 17)
    cells = image[..., 0].reshape(4, 16, 4, 16)
    np.testing.assert_allclose(patches[..., 0], cells.mean(axis=(1, 3)), atol=1e-6)
    np.testing.assert_allclose(patches[..., 1], cells.std(axis=(1, 3)), atol=1e-5)
    across, down = patches[:, 3, 2], patches[:, 3, 3]
    assert (across > down + 5).all()
