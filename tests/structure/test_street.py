"""Streets that were drawn on a tile are found where they are, and none where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from unseen.structure.street import find_streets

SIZE = 48


def tile_with(x, y, *, rng, level=-1.0, height=SIZE, width=SIZE):
    """A tile of noise, and streets over [begin, end) cells along x and y, also in parts of a cell."""
    tile = rng.standard_normal((height, width))
    for axis, (begin, end), size in ((1, x, width), (0, y, height)):
        cells = np.arange(size)
        covered = sum(  # around the border of the tile
            np.clip(np.minimum(cells + 1, end + k) - np.maximum(cells, begin + k), 0, 1)
            for k in (-size, 0, size)
        )
        share = covered if axis == 1 else covered[:, None]
        tile = tile + share * (level - tile)
    return tile.astype(np.float32)


@pytest.mark.parametrize("level", [-1.0, 0.0, 2.5])
@pytest.mark.parametrize(
    ("x", "y"),
    [((10, 14), (20, 23)), ((45, 50), (0, 6)), ((10.3, 14.6), (30.5, 33.0)), ((3, 25), (40, 70))],
)
def test_streets_are_found_to_less_than_a_cell(rng, level, x, y):
    found = find_streets(tile_with(x, y, rng=rng, level=level))
    for street, (begin, end) in zip(found, (x, y), strict=True):
        assert street.width == pytest.approx(end - begin, abs=0.75)
        off = (street.centre - (begin + end) / 2 + SIZE / 2) % SIZE - SIZE / 2
        assert abs(off) < 0.4


def test_marks_in_the_streets_are_allowed(rng):
    tile = tile_with((10, 15), (20, 25), rng=rng, level=-2.0)
    tile[21:24, ::4] = 1.5
    tile[::5, 11:14] = 1.5
    found = find_streets(tile)
    assert [street.width for street in found] == pytest.approx([5, 5], abs=0.5)


def test_brightness_and_contrast_do_not_matter(rng):
    tile = tile_with((10, 14), (20, 23), rng=rng)
    for a, b in zip(find_streets(tile), find_streets(40 * tile + 100), strict=True):
        assert a == pytest.approx(b, abs=1e-3)


def test_a_tile_and_its_mirror_image_have_mirrored_streets(rng):
    tile = tile_with((10, 14), (20, 23), rng=rng)
    across, down = find_streets(tile)
    mirrored_across, mirrored_down = find_streets(tile[::-1, ::-1])
    assert SIZE - mirrored_across.centre == pytest.approx(across.centre)
    assert SIZE - mirrored_down.centre == pytest.approx(down.centre)


def test_a_tile_without_streets_gets_borders_without_width(rng):
    for _ in range(20):
        across, down = find_streets(rng.standard_normal((SIZE, 30)).astype(np.float32))
        assert across.width == down.width == 0
        assert 0 <= across.centre < 30
        assert 0 <= down.centre < SIZE


def test_blocks_that_touch_are_no_streets(rng):
    # Blocks of equal level run along rows and columns, but only for a part of them.
    for _ in range(20):
        blocks = np.kron(rng.uniform(0, 1, (8, 8)), np.ones((6, 6))).astype(np.float32)
        assert max(street.width for street in find_streets(blocks)) <= 7


def test_a_tile_of_one_level_or_one_cell_has_none():
    for shape in ((5, 5), (1, 1), (1, 9)):
        for street in find_streets(np.full(shape, 3, np.float32)):
            assert street.width == 0
