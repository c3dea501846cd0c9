"""Folding, matching and correlations against pixel by pixel; pitches between pixels."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from unseen.structure.folding import fold, match
from unseen.structure.repetition import (
    autocorrelation,
    detrended,
    fundamental,
    refined,
    repeats,
    softened,
)


def smooth_tile(rng, height, width):
    tile = ndimage.gaussian_filter(rng.standard_normal((height, width)), 2, mode="wrap")
    return (tile / tile.std()).astype(np.float32)


def repeated(tile, height, width, shift=(0, 0)):
    """The tile at whole pixels over an image, moved by `shift` (x, y)."""
    rows = (np.arange(height) - shift[1]) % tile.shape[0]
    columns = (np.arange(width) - shift[0]) % tile.shape[1]
    return tile[np.ix_(rows, columns)]


def test_at_a_whole_pitch_each_pixel_falls_into_one_cell(rng):
    image = rng.standard_normal((13, 17)).astype(np.float32)
    folded = fold(image, (5.0, 4.0), (4, 5))
    for row, column in product(range(4), range(5)):
        cell = image[row::4, column::5]
        assert folded.pixels[row, column] == cell.size
        assert folded.mean[row, column] == pytest.approx(cell.mean(), abs=1e-5)


def test_no_pixel_is_lost_or_counted_twice(rng):
    image = rng.standard_normal((40, 31)).astype(np.float32)
    folded = fold(image, (7.3, 50.9), (51, 7))
    assert folded.pixels.sum() == pytest.approx(image.size, rel=1e-6)
    assert folded.total.sum() == pytest.approx(float(image.sum()), abs=1e-3)
    assert folded.squares == pytest.approx(float((image**2).sum()), rel=1e-5)


@pytest.mark.parametrize(("height", "width"), [(50, 61), (24, 32), (9, 11)])
def test_the_match_is_the_best_of_all_correlations(rng, height, width):
    tile = smooth_tile(rng, 12, 16)
    image = repeated(tile, height, width, (5, 9)) + 0.8 * rng.standard_normal((height, width))
    expected = {
        shift: np.corrcoef(image.ravel(), repeated(tile, height, width, shift).ravel())[0, 1]
        for shift in product(range(16), range(12))
    }
    best = max(expected, key=expected.get)
    place = match(fold(image.astype(np.float32), (16.0, 12.0), (12, 16)), tile)
    assert place.fit == pytest.approx(expected[best], abs=1e-4)
    assert np.abs((np.subtract(place.shift, best) + 6) % (16, 12) - 6).max() <= 0.5


def test_a_shift_between_cells_is_found_to_a_fraction_of_one(rng):
    tile, pitch = smooth_tile(rng, 20, 30), np.array([29.4, 20.3])  # cells are not quite pixels
    for shift in ((0.0, 0.0), (3.3, 11.7), (28.9, 0.4)):
        cells = np.divide(shift, pitch)[::-1] * tile.shape
        moved = ndimage.shift(tile.astype(float), cells, mode="grid-wrap")
        one = fold(np.zeros((1, 1), np.float32), tuple(pitch), (20, 30))
        folded = one._replace(total=moved, pixels=np.ones((20, 30)), squares=(moved**2).sum())
        place = match(folded, tile)
        assert np.abs((np.subtract(place.shift, shift) + 5) % pitch - 5).max() < 0.05
        assert place.fit > 0.97


def test_without_contrast_nothing_matches(rng):
    tile = smooth_tile(rng, 8, 8)
    flat = fold(np.full((20, 20), 3, np.float32), (8.0, 8.0), (8, 8))
    assert match(flat, tile).fit == 0
    image = fold(repeated(tile, 20, 20), (8.0, 8.0), (8, 8))
    assert match(image, np.ones((8, 8), np.float32)).fit == 0


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
