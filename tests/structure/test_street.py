"""Streets that were drawn on a tile are found where they are, and none where there are none."""

import numpy as np
import pytest

from unseen.structure.street import find_streets

SIZE = 48


def tile_with(x, y, *, rng, level=-1.0):
    """A tile of noise with streets over [begin, end) cells along x and y, also in parts of a cell."""
    tile = rng.standard_normal((SIZE, SIZE))
    cells = np.arange(SIZE)
    for axis, (begin, end) in ((1, x), (0, y)):
        covered = sum(  # around the border of the tile
            np.clip(np.minimum(cells + 1, end + k) - np.maximum(cells, begin + k), 0, 1)
            for k in (-SIZE, 0, SIZE)
        )
        share = covered if axis == 1 else covered[:, None]
        tile = tile + share * (level - tile)
    return tile.astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 5), (1, 1), (1, 9)])
def test_a_tile_of_one_level_or_one_cell_has_none(shape):
    assert [street.width for street in find_streets(np.full(shape, 3, np.float32))] == [0, 0]


@pytest.mark.parametrize("level", [-1.0, 0.0, 2.5])
@pytest.mark.parametrize(
    ("x", "y"),
    [((10, 14), (20, 23)), ((45, 50), (0, 6)), ((10.3, 14.6), (30.5, 33.0)), ((3, 25), (40, 70))],
)
def test_streets_are_found_to_less_than_a_cell(rng, level, x, y):
    streets = find_streets(tile_with(x, y, rng=rng, level=level))
    for street, (begin, end) in zip(streets, (x, y), strict=True):
        assert street.width == pytest.approx(end - begin, abs=0.75)
        off = (street.centre - (begin + end) / 2 + SIZE / 2) % SIZE - SIZE / 2
        assert abs(off) < 0.4


def test_contrast_does_not_matter_and_a_mirrored_tile_has_mirrored_streets(rng):
    tile = tile_with((10, 14), (20, 23), rng=rng)
    streets, scaled = find_streets(tile), find_streets(40 * tile + 100)
    np.testing.assert_allclose(scaled, streets, atol=1e-3)
    mirrored = find_streets(tile[::-1, ::-1])
    np.testing.assert_allclose([SIZE - s.centre for s in mirrored], [s.centre for s in streets])


def test_a_tile_without_streets_gets_borders_without_width(rng):
    for _ in range(20):
        across, down = find_streets(rng.standard_normal((SIZE, 30)).astype(np.float32))
        assert across.width == down.width == 0
        assert 0 <= across.centre < 30
        assert 0 <= down.centre < SIZE
