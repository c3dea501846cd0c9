"""What counts is decided pixel by pixel: inside or not, and near a line or not."""

import numpy as np
import pytest

from unseen.errors import StructureError
from unseen.structure import ZONES
from unseen.structure.die_grid import Grid
from unseen.structure.outlines import inside, near_lines
from unseen.structure.weights import Shapes, inside_grid, zone_weights

WIDTH, HEIGHT = 150.0, 90.0
RASTER = (45, 100)  # (h, w): pixels of 1.5 x 2 px


def random_grid(rng, *, touching=False):
    pitch = rng.uniform(12, 50, 2)
    street = np.zeros(2) if touching else pitch * rng.uniform(0.05, 0.5, 2)
    return Grid(tuple(pitch), tuple(rng.uniform(-90, 90, 2)), tuple(street))


def random_shapes(rng):
    rings = [rng.uniform(-0.1, 1.1, (6, 2)).astype(np.float32) for _ in range(3)]
    return Shapes(outlines=[rings[:2], rings[2:]], lines=[rng.uniform(0, 1, (4, 2))])


def weights(structure, zone="inside", margin=0.0, weight=0.25, shape=RASTER):
    return zone_weights(structure, WIDTH, HEIGHT, shape, zone=zone, margin=margin, weight=weight)


def expected_weights(within, near, zone):
    in_zone = {"everywhere": True, "inside": within, "outside": ~within}[zone]
    return np.where(in_zone & ~near, 1, 0.25)


def of_dies(grid, shape, margin):
    """(h, w) each: in a die; nearer than the margin to a side of one. Die by die."""
    sides = []
    for axis, (size, count) in enumerate(zip((WIDTH, HEIGHT), shape[::-1], strict=True)):
        centres = (np.arange(count) + 0.5)[:, None] * size / count
        begin = grid.origin[axis] + np.arange(-50, 50) * grid.pitch[axis]
        end = begin + grid.pitch[axis] - grid.street[axis]
        near = (np.abs(centres - begin) < margin) | (np.abs(centres - end) < margin)
        sides.append((((centres >= begin) & (centres < end)).any(1), near.any(1)))
    (inside_x, near_x), (inside_y, near_y) = sides
    return inside_y[:, None] & inside_x, near_y[:, None] | near_x


@pytest.mark.parametrize("margin", [0.0, 0.9, 4.0])
@pytest.mark.parametrize("zone", ZONES)
def test_weights_of_a_grid_agree_with_its_dies(rng, zone, margin):
    for number in range(8):
        grid = random_grid(rng, touching=number % 2 == 1 and zone != "outside")
        within, near = of_dies(grid, RASTER, margin)
        np.testing.assert_array_equal(inside_grid(grid, WIDTH, HEIGHT, RASTER), within)
        expected = expected_weights(within, near, zone)
        np.testing.assert_array_equal(weights(grid, zone, margin), expected)


@pytest.mark.parametrize("margin", [0.0, 0.9, 4.0])
@pytest.mark.parametrize("zone", ZONES)
def test_weights_of_shapes_agree_with_their_inside_and_lines(rng, zone, margin):
    for _ in range(5):
        shapes = random_shapes(rng)
        closed = [np.concatenate([r, r[:1]]) for outline in shapes.outlines for r in outline]
        lines = [*closed, *shapes.lines]
        near = near_lines(lines, RASTER, distance=margin, size=(WIDTH, HEIGHT))
        expected = expected_weights(inside(shapes.outlines, RASTER), near, zone)
        np.testing.assert_array_equal(weights(shapes, zone, margin), expected)


def test_open_lines_have_no_inside_but_all_is_outside():
    shapes = Shapes(lines=[np.asarray([[0, 0], [1, 1]], np.float32)])
    with pytest.raises(StructureError, match=r"1 open lines.*zone='everywhere'"):
        weights(shapes, "inside")
    everywhere = weights(shapes, "everywhere", 5.0)
    np.testing.assert_array_equal(weights(shapes, "outside", 5.0), everywhere)
    assert 0 < (everywhere < 1).mean() < 0.2


def test_nothing_lies_outside_of_dies_that_touch(rng):
    with pytest.raises(StructureError, match="street=0"):
        weights(random_grid(rng, touching=True), "outside")
