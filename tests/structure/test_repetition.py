"""Correlations against numpy's own, and pitches between pixels."""

import numpy as np
import pytest
from scipy import ndimage

from unseen.structure.repetition import (
    autocorrelation,
    detrended,
    flattened,
    fundamental,
    mean_autocorrelations,
    refined,
    repeats,
    softened,
    strength_at,
)


def texture(rng, *shape):
    return ndimage.gaussian_filter(rng.standard_normal(shape), 1.5).astype(np.float32)


def waves(rng, pitch, size=480, noise=0.0):
    """Rows of one periodic signal with five overtones, at a random phase, the same in all rows."""
    x = np.arange(size) + 0.5 + rng.uniform(0, pitch)
    row = sum(np.cos(2 * np.pi * k * x / pitch + rng.uniform(0, 6)) / k for k in range(1, 7))
    return (row[None, :] + noise * rng.standard_normal((40, size))).astype(np.float32)


def test_an_image_without_contrast_stays_empty():
    flat = np.full((20, 30), 0.3, np.float32)
    for result in (detrended(flat), flattened(flat, (7, 7)), autocorrelation(flat, 1, 20)):
        assert not result[1:].any()


@pytest.mark.parametrize(("axis", "size"), [(0, 23), (1, 31)])
def test_the_autocorrelation_is_that_of_the_overlapping_parts(rng, axis, size):
    image = texture(rng, 23, 31) + 0.3
    for lag, value in enumerate(autocorrelation(image, axis, size - 3)):
        first = np.take(image, range(size - lag), axis)
        second = np.take(image, range(lag, size), axis)
        expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert value == pytest.approx(expected, abs=1e-4)


def test_images_of_any_brightness_count_equally_and_sizes_may_differ(rng):
    images = [texture(rng, 40, 60), texture(rng, 50, 44)]
    across, down = mean_autocorrelations(images)
    assert (len(across), len(down)) == (34, 31)  # three quarters of 44 and 40 px, and lag 0
    brighter = mean_autocorrelations([100 * images[0] + 7, images[1]])
    np.testing.assert_allclose(across, brighter[0], atol=1e-4)
    each = [mean_autocorrelations([image])[0][:34] for image in images]
    np.testing.assert_allclose(across, np.mean(each, axis=0), atol=1e-6)


def test_a_quadratic_surface_is_removed_completely(rng):
    y, x = np.mgrid[:50, :70].astype(np.float32)
    surface = 3 + 0.2 * x - 0.1 * y + 0.01 * x * y + 0.004 * x**2 - 0.003 * y**2
    assert not detrended(surface).any()
    image = texture(rng, 50, 70)
    np.testing.assert_allclose(detrended(image + surface), detrended(image), atol=1e-3)


def test_flattening_removes_brightness_and_contrast_but_nothing_of_the_pattern(rng):
    image = waves(rng, 15, size=90)
    flat = flattened(image, (15, 15))
    assert flat.std() == pytest.approx(1)
    inner = np.s_[:, 7:-7]  # away from the sides
    assert np.corrcoef(flat[inner].ravel(), image[inner].ravel())[0, 1] > 0.9999
    np.testing.assert_allclose(flattened(5 * image + 40, (15, 15)), flat, atol=1e-3)


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


@pytest.mark.parametrize(("weaker", "pitch"), [(0.85, 80), (0.97, 40)])
def test_a_repeat_that_is_clearly_weaker_is_no_fundamental(weaker, pitch):
    x = np.arange(400)
    peaks = np.exp(-(((x + 20) % 40 - 20) ** 2) / 8)  # every 40 px, every other one weaker
    across = np.where(np.abs((x + 40) % 80 - 40) < 20, 1, weaker) * peaks
    assert fundamental(across, 200).lag == pytest.approx(pitch, abs=0.05)


def test_the_strength_beyond_what_was_compared_is_unknown():
    across = np.cos(np.arange(50) / 5)
    assert strength_at(across, 12.5) == pytest.approx(np.cos(2.5), abs=1e-3)
    assert strength_at(across, 49.5) == 0
