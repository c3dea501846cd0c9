"""Planes of light, and energies of derivatives in closed form that do not depend on them."""

import numpy as np
import pytest
import torch

from unseen.arrays.illumination import evened, fitted_plane
from unseen.arrays.texture import KINDS, LEVELS, texture_features


def _plane(height=80, width=100):
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    return (0.5 + 0.1 * down - 0.05 * across)[None, None]


def test_no_images_have_no_planes():
    assert fitted_plane(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 1), (3, 4), (80, 100)])
def test_a_plane_is_fitted_exactly(size):
    plane = _plane()[:, :, : size[0], : size[1]]
    torch.testing.assert_close(fitted_plane(plane), plane, atol=1e-5, rtol=0)


def test_what_covers_a_small_part_does_not_tilt_the_plane():
    plane = _plane()
    image = plane.clone()
    image[:, :, 20:50, 10:40] += 0.4
    assert float((fitted_plane(image) - plane).abs().max()) < 0.01
    even = evened(image, torch.tensor([0.3]))
    expected = torch.full_like(even, 0.3)
    expected[:, :, 20:50, 10:40] = 0.7
    torch.testing.assert_close(even, expected, atol=0.01, rtol=0)


def test_each_image_and_channel_is_evened_on_its_own_and_not_in_place(rng):
    images = torch.from_numpy(rng.uniform(0, 1, (3, 2, 20, 30)).astype("float32"))
    before, mean = images.clone(), torch.tensor([0.2, 0.6])
    together = evened(images, mean)
    assert torch.equal(images, before)
    for i in range(3):
        for c in range(2):
            alone = evened(images[i : i + 1, c : c + 1], mean[c : c + 1])
            torch.testing.assert_close(alone[0, 0], together[i, c])
    torch.testing.assert_close(evened(together, mean), together, atol=1e-3, rtol=0)


def _grain(count, height=128, width=128):
    generator = torch.Generator().manual_seed(0)
    return 0.5 + 0.05 * torch.randn(count, 1, height, width, generator=generator)


def _waves(period, size=128):
    """Vertical stripes."""
    wave = torch.sin(2 * np.pi * torch.arange(size) / period)
    return 0.5 + 0.1 * wave.expand(size, size)[None, None]


def _typical(images):
    """(B, LEVELS, KINDS) of the typical cell."""
    return texture_features(images)[:, : LEVELS * KINDS].reshape(-1, LEVELS, KINDS)


@pytest.mark.parametrize("size", [(48, 48), (150, 333), (63, 200)])
def test_an_image_of_any_size_does_not_depend_on_its_batch(size):
    images = _grain(3, *size).expand(-1, 3, -1, -1)
    features = texture_features(images)
    assert features.shape == (3, 2 * LEVELS * KINDS)
    alone = torch.cat([texture_features(image[None]) for image in images])
    torch.testing.assert_close(features, alone)


def test_level_and_gradient_of_the_light_change_nothing():
    images = _grain(2)
    slope = torch.linspace(-0.2, 0.2, 128)
    lit = images + 0.1 + slope[None, None, None, :] + 0.5 * slope[None, None, :, None]
    # The plane is removed up to the noise that it is fitted to.
    torch.testing.assert_close(texture_features(lit), texture_features(images), atol=0.02, rtol=0)


def test_twice_the_contrast_adds_the_logarithm_of_four():
    images = _grain(2)
    step = texture_features(0.5 + 2 * (images - 0.5)) - texture_features(images)
    torch.testing.assert_close(step, torch.full_like(step, float(np.log(4))), atol=0.01, rtol=0)


def test_waves_have_the_energy_of_their_derivative_and_longer_ones_peak_at_coarser_scales():
    # d/dx of a sin(2 pi x / p) by central differences is a sin(2 pi / p) cos(...), mean square half.
    expected = np.log((0.1 * np.sin(2 * np.pi / 16)) ** 2 / 2)
    assert float(_typical(_waves(16))[0, 0, 0]) == pytest.approx(expected, abs=0.05)
    fine, coarse = (_typical(_waves(p))[0, :, KINDS - 1].argmax() for p in (4, 24))
    assert fine < coarse
