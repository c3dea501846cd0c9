"""A grid is arithmetic: its lines bound its dies, and its origin is arbitrary by whole pitches."""

import numpy as np
import pytest

from unseen.errors import StructureError
from unseen.structure.die_grid import Grid, lines


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
        ((5.0, 5.0), (0.0, 0.0), (0.0, -0.1), "street"),
        ((5.0,), (0.0, 0.0), (0.0, 0.0), "two"),
    ],
)
def test_impossible_grids_are_refused_with_the_value(pitch, origin, street, named):
    with pytest.raises(StructureError, match=named):
        Grid(pitch, origin, street)
