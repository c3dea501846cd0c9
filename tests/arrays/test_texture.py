"""Energies of derivatives in closed form, and what they do not depend on."""

import numpy as np
import pytest
import torch

from unseen.arrays.texture import KINDS, LEVELS, texture_features


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
