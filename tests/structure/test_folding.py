"""Folding against adding up pixel by pixel, matching against correlating pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unseen.structure.folding import fold, match, moved


def smooth_tile(rng, height, width):
    tile = ndimage.gaussian_filter(rng.standard_normal((height, width)), 2, mode="wrap")
    return (tile / tile.std()).astype(np.float32)


def repeated(tile, height, width, shift=(0, 0)):
    """The tile at whole pixels over an image, moved by `shift` (x, y)."""
    rows = (np.arange(height) - shift[1]) % tile.shape[0]
    columns = (np.arange(width) - shift[0]) % tile.shape[1]
    return tile[rows][:, columns]


def test_at_a_whole_pitch_each_pixel_falls_into_one_cell(rng):
    image = rng.standard_normal((13, 17)).astype(np.float32)
    folded = fold(image, (5.0, 4.0), (4, 5))
    for row in range(4):
        for column in range(5):
            cell = image[row::4, column::5]
            assert folded.pixels[row, column] == cell.size
            assert folded.mean[row, column] == pytest.approx(cell.mean(), abs=1e-5)


def test_no_pixel_is_lost_or_counted_twice(rng):
    image = rng.standard_normal((40, 31)).astype(np.float32)
    folded = fold(image, (7.3, 50.9), (51, 7))
    assert folded.pixels.sum() == pytest.approx(image.size, rel=1e-6)
    assert folded.total.sum() == pytest.approx(float(image.sum()), abs=1e-3)
    assert folded.squares == pytest.approx(float((image**2).sum()), rel=1e-5)


def test_the_match_is_the_best_of_all_correlations(rng):
    tile = smooth_tile(rng, 12, 16)
    # Larger than the tile, not a multiple of it, and smaller.
    for height, width in ((50, 61), (24, 32), (9, 11)):
        image = repeated(tile, height, width, (5, 9)) + 0.8 * rng.standard_normal((height, width))
        image = image.astype(np.float32)
        expected = {
            (dx, dy): np.corrcoef(image.ravel(), repeated(tile, height, width, (dx, dy)).ravel())[
                0, 1
            ]
            for dx in range(16)
            for dy in range(12)
        }
        found = match(fold(image, (16.0, 12.0), (12, 16)), tile)
        best = max(expected, key=expected.get)
        assert found.fit == pytest.approx(expected[best], abs=1e-4)
        away = np.abs((np.subtract(found.shift, best) + 6) % (16, 12) - 6)
        assert away.max() <= 0.5


def test_a_moved_tile_is_found_where_it_was_moved_to(rng):
    tile = smooth_tile(rng, 20, 30)
    pitch = (29.4, 20.3)  # cells are not quite pixels
    for shift in ((0.0, 0.0), (3.3, 11.7), (28.9, 0.4)):
        there = moved(tile.astype(float), pitch, shift)
        found = match(fold(np.zeros((1, 1), np.float32), pitch, (20, 30))._replace(
            total=there, pixels=np.ones((20, 30)), squares=float((there**2).sum())
        ), tile)  # fmt: skip
        away = (np.subtract(found.shift, shift) + 5) % pitch - 5
        assert np.abs(away).max() < 0.05
        assert found.fit > 0.97


def test_moving_by_a_whole_pitch_or_there_and_back_changes_nothing(rng):
    tile = smooth_tile(rng, 11, 15).astype(float)  # odd: no frequency is its own opposite
    np.testing.assert_allclose(moved(tile, (15.5, 10.7), (15.5, -10.7)), tile, atol=1e-9)
    there = moved(tile, (15.5, 10.7), (3.3, 2.2))
    np.testing.assert_allclose(moved(there, (15.5, 10.7), (-3.3, -2.2)), tile, atol=1e-9)


def test_without_contrast_nothing_matches(rng):
    tile = smooth_tile(rng, 8, 8)
    flat = fold(np.full((20, 20), 3, np.float32), (8.0, 8.0), (8, 8))
    assert match(flat, tile).fit == 0
    image = fold(repeated(tile, 20, 20), (8.0, 8.0), (8, 8))
    assert match(image, np.ones((8, 8), np.float32)).fit == 0
