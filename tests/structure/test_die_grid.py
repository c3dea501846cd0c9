"""A grid is arithmetic: its dies tile the image, and its lines bound them."""

from __future__ import annotations

import numpy as np
import pytest

from unseen.errors import ShapeError, StructureError
from unseen.structure.die_grid import Grid, dies, lines


def random_grid(rng, *, touching=False):
    pitch = rng.uniform(5, 60, 2)
    street = np.zeros(2) if touching else pitch * rng.uniform(0.02, 0.5, 2)
    return Grid(tuple(pitch), tuple(rng.uniform(-200, 200, 2)), tuple(street))


def area(boxes):
    return float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum())


def test_dies_and_lines_of_a_grid_that_fits_the_image():
    grid = Grid((10.0, 20.0), (0.0, 0.0), (2.0, 5.0))
    np.testing.assert_array_equal(
        dies(grid, 20, 40),
        [[0, 0, 8, 15], [10, 0, 18, 15], [0, 20, 8, 35], [10, 20, 18, 35]],
    )
    found = lines(grid, 20, 40)
    assert found.dtype == np.float32
    assert [line.tolist() for line in found] == [
        *([[x, 0], [x, 40]] for x in (0, 8, 10, 18, 20)),
        *([[0, y], [20, y]] for y in (0, 15, 20, 35, 40)),
    ]


def test_a_die_larger_than_the_image_is_clipped_to_it():
    grid = Grid((100.0, 100.0), (-30.0, -20.0), (10.0, 10.0))
    np.testing.assert_array_equal(dies(grid, 40, 50), [[0, 0, 40, 50]])
    assert lines(grid, 40, 50).shape == (0, 2, 2)


def test_an_image_within_a_street_shows_no_die():
    grid = Grid((100.0, 100.0), (0.0, 0.0), (50.0, 0.0))
    shifted = Grid((100.0, 100.0), (-60.0, 0.0), (50.0, 0.0))  # street from x = -10 to 40
    assert len(dies(grid, 40, 100)) == 1
    assert dies(shifted, 40, 100).shape == (0, 4)


def test_dies_that_touch_cover_the_image_and_share_one_line_per_border(rng):
    for _ in range(20):
        grid = random_grid(rng, touching=True)
        assert area(dies(grid, 123, 77)) == pytest.approx(123 * 77, rel=1e-5)
        down = [line[0, 0] for line in lines(grid, 123, 77) if line[0, 0] == line[1, 0]]
        np.testing.assert_allclose(np.diff(down), grid.pitch[0], rtol=1e-4)


def test_over_whole_pitches_dies_cover_their_share_of_the_area_at_any_phase(rng):
    for _ in range(20):
        grid = random_grid(rng)
        width, height = 3 * grid.pitch[0], 2 * grid.pitch[1]
        share = np.prod([1 - s / p for s, p in zip(grid.street, grid.pitch, strict=True)])
        assert area(dies(grid, width, height)) == pytest.approx(width * height * share, rel=1e-4)


def test_the_sides_of_dies_within_the_image_are_its_lines(rng):
    for _ in range(20):
        grid = random_grid(rng)
        boxes, segments = dies(grid, 150, 90), lines(grid, 150, 90)
        down = segments[segments[:, 0, 0] == segments[:, 1, 0]]
        across = segments[segments[:, 0, 1] == segments[:, 1, 1]]
        for found, sides, size in ((down, boxes[:, [0, 2]], 150), (across, boxes[:, [1, 3]], 90)):
            expected = {s for s in sides.ravel().tolist() if 0 < s < size}
            axis = 0 if found is down else 1
            assert {x for x in found[:, 0, axis].tolist() if 0 < x < size} == expected


def test_dies_run_row_by_row_from_left_to_right(rng):
    for _ in range(10):
        boxes = dies(random_grid(rng), 150, 90)
        order = np.lexsort((boxes[:, 0], boxes[:, 1]))
        np.testing.assert_array_equal(order, np.arange(len(boxes)))


def test_an_origin_one_pitch_on_is_the_same_grid(rng):
    grid = random_grid(rng)
    moved = Grid(
        grid.pitch,
        (grid.origin[0] + 3 * grid.pitch[0], grid.origin[1] - 5 * grid.pitch[1]),
        grid.street,
    )
    np.testing.assert_allclose(dies(grid, 150, 90), dies(moved, 150, 90), atol=1e-3)


@pytest.mark.parametrize(
    ("pitch", "origin", "street", "named"),
    [
        ((0.0, 5.0), (0.0, 0.0), (0.0, 0.0), r"pitch=\(0.0, 5.0\)"),
        ((5.0, -1.0), (0.0, 0.0), (0.0, 0.0), "pitch"),
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


def test_an_image_without_area_is_refused():
    grid = Grid((5.0, 5.0), (0.0, 0.0), (0.0, 0.0))
    with pytest.raises(ShapeError, match="0"):
        dies(grid, 0, 10)
    with pytest.raises(ShapeError, match="0"):
        lines(grid, 10, 0)
