"""Lines of a grid by arithmetic, and the streets that were drawn on a tile."""

import numpy as np
import pytest

from unseen.errors import StructureError
from unseen.structure.die_grid import Grid, lines
from unseen.structure.street import find_streets


def random_grid(rng):
    pitch = rng.uniform(5, 60, 2)
    return Grid(tuple(pitch), tuple(rng.uniform(-200, 200, 2)), tuple(pitch * rng.uniform(0, 0.5)))


def test_the_lines_of_a_grid_that_fits_the_image():
    segments = lines(Grid((10.0, 20.0), (0.0, 0.0), (2.0, 5.0)), 20, 40)
    assert segments.dtype == np.float32
    assert segments.tolist() == [
        *([[x, 0], [x, 40]] for x in (0, 8, 10, 18, 20)),
        *([[0, y], [20, y]] for y in (0, 15, 20, 35, 40)),
    ]


def test_a_die_larger_than_the_image_has_no_lines_and_dies_that_touch_share_one_per_border():
    assert lines(Grid((100.0,) * 2, (-30.0, -20.0), (10.0,) * 2), 40, 50).shape == (0, 2, 2)
    assert len(lines(Grid((10.0, 9.0), (-3.0, -2.0), (0.0, 0.0)), 40, 50)) == 4 + 5


def test_lines_are_where_dies_begin_and_end(rng):
    for _ in range(20):
        grid = random_grid(rng)
        segments = lines(grid, 150, 90)
        is_down = segments[:, 0, 0] == segments[:, 1, 0]
        for axis, size, at in ((0, 150, segments[is_down]), (1, 90, segments[~is_down])):
            begin = grid.origin[axis] + grid.pitch[axis] * np.arange(-200, 200)
            sides = np.concatenate([begin, begin + grid.pitch[axis] - grid.street[axis]])
            expected = np.sort(sides[(sides >= 0) & (sides <= size)])
            np.testing.assert_allclose(at[:, 0, axis], expected, atol=1e-3)
            np.testing.assert_array_equal(at[:, :, 1 - axis], [[0, 240 - size]] * len(at))


@pytest.mark.parametrize(
    ("pitch", "origin", "street", "named"),
    [
        ((0.0, 5.0), (0.0, 0.0), (0.0, 0.0), r"pitch=\(0.0, 5.0\)"),
        ((5.0, float("inf")), (0.0, 0.0), (0.0, 0.0), "pitch.*finite"),
        ((5.0, 5.0), (float("nan"), 0.0), (0.0, 0.0), "origin.*finite"),
        ((5.0, 5.0), (0.0, 0.0), (5.0, 0.0), r"street=\(5.0, 0.0\)"),
    ],
)
def test_impossible_grids_are_refused_with_the_value(pitch, origin, street, named):
    with pytest.raises(StructureError, match=named):
        Grid(pitch, origin, street)


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


def test_contrast_marks_in_a_street_and_mirroring_do_not_move_it(rng):
    tile = tile_with((10, 15), (20, 25), rng=rng, level=-2.0)
    tile[21:24, ::4] = tile[::5, 11:14] = 1.5
    streets = find_streets(tile)
    assert [street.width for street in streets] == pytest.approx([5, 5], abs=0.5)
    for same, street in zip(find_streets(40 * tile + 100), streets, strict=True):
        assert same == pytest.approx(street, abs=1e-3)
    for mirrored, street in zip(find_streets(tile[::-1, ::-1]), streets, strict=True):
        assert SIZE - mirrored.centre == pytest.approx(street.centre)


def test_blocks_that_touch_are_no_streets(rng):
    # Blocks of equal level run along rows and columns, but only for a part of them.
    for _ in range(20):
        blocks = np.kron(rng.uniform(0, 1, (8, 8)), np.ones((6, 6))).astype(np.float32)
        assert max(street.width for street in find_streets(blocks)) <= 7


def test_a_tile_without_streets_gets_borders_without_width(rng):
    for _ in range(20):
        across, down = find_streets(rng.standard_normal((SIZE, 30)).astype(np.float32))
        assert across.width == down.width == 0
        assert 0 <= across.centre < 30
        assert 0 <= down.centre < SIZE
