"""Correlations against numpy's own, and pitches between pixels."""

import numpy as np
import pytest
from scipy import ndimage

from unseen.structure.repetition import (
    autocorrelation,
    detrended,
    fundamental,
    refined,
    repeats,
    softened,
)


def texture(rng, *shape):
    return ndimage.gaussian_filter(rng.standard_normal(shape), 1.5).astype(np.float32)


def waves(rng, pitch, size=480, noise=0.0):
    """Rows of one periodic signal with five overtones, at a random phase, the same in all rows."""
    x = np.arange(size) + 0.5 + rng.uniform(0, pitch)
    row = sum(np.cos(2 * np.pi * k * x / pitch + rng.uniform(0, 6)) / k for k in range(1, 7))
    return (row[None, :] + noise * rng.standard_normal((40, size))).astype(np.float32)


@pytest.mark.parametrize(("axis", "size"), [(0, 23), (1, 31)])
def test_the_autocorrelation_is_that_of_the_overlapping_parts(rng, axis, size):
    image = texture(rng, 23, 31) + 0.3
    for lag, value in enumerate(autocorrelation(image, axis, size - 3)):
        first = np.take(image, range(size - lag), axis)
        second = np.take(image, range(lag, size), axis)
        expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert value == pytest.approx(expected, abs=1e-4)


def test_a_quadratic_surface_is_removed_completely(rng):
    y, x = np.mgrid[:50, :70].astype(np.float32)
    surface = 3 + 0.2 * x - 0.1 * y + 0.01 * x * y + 0.004 * x**2 - 0.003 * y**2
    assert not detrended(surface).any()
    image = texture(rng, 50, 70)
    np.testing.assert_allclose(detrended(image + surface), detrended(image), atol=1e-3)


def test_a_pitch_between_pixels_is_refined_by_its_multiples(rng):
    errors = []
    for pitch in rng.uniform(15, 60, 20):
        across = autocorrelation(softened(waves(rng, pitch, noise=0.1)), 1, 360)
        near = fundamental(across, 240)
        errors.append((near.lag - pitch, refined(across, near.lag) - pitch))
    rough, fine = np.sqrt(np.square(errors).mean(axis=0))
    assert fine < min(0.005, rough / 2)


def test_repeats_are_the_multiples_and_the_nearest_is_the_fundamental():
    across = np.exp(-(((np.arange(400) + 20.25) % 40.5 - 20.25) ** 2) / 8)
    repeated = repeats(across, 130)
    assert [repeat.lag for repeat in repeated] == pytest.approx([40.5, 81, 121.5], abs=0.05)
    assert [repeat.strength for repeat in repeated] == pytest.approx([1, 1, 1], abs=0.01)
    assert fundamental(across, 130) == repeated[0]
    assert fundamental(across, 30) is None
    assert fundamental(0.4 * across, 130) is None
