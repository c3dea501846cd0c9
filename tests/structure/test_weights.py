"""What counts is decided pixel by pixel: inside or not, and near to a line or not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from unseen.errors import ShapeError, StructureError
from unseen.structure.die_grid import Grid, dies, lines
from unseen.structure.outlines import inside, mask_outlines, near_lines
from unseen.structure.weights import ZONES, Shapes, inside_grid, zone_weights

WIDTH, HEIGHT = 150.0, 90.0
RASTER = (45, 100)  # (h, w): pixels of 1.5 x 2 px


def random_grid(rng, *, touching=False):
    pitch = rng.uniform(12, 50, 2)
    street = np.zeros(2) if touching else pitch * rng.uniform(0.05, 0.5, 2)
    return Grid(tuple(pitch), tuple(rng.uniform(-90, 90, 2)), tuple(street))


def random_shapes(rng):
    rings = [rng.uniform(-0.1, 1.1, (6, 2)).astype(np.float32) for _ in range(3)]
    return Shapes(outlines=[rings[:2], rings[2:]], lines=[rng.uniform(0, 1, (4, 2))])


def centres():
    h, w = RASTER
    return (np.arange(w) + 0.5) * WIDTH / w, (np.arange(h) + 0.5) * HEIGHT / h


def weights(structure, zone="inside", margin=0.0, weight=0.25, shape=RASTER):
    return zone_weights(structure, WIDTH, HEIGHT, shape, zone=zone, margin=margin, weight=weight)


def test_inside_a_grid_is_inside_one_of_its_dies(rng):
    xs, ys = centres()
    for _ in range(10):
        grid = random_grid(rng)
        expected = np.zeros(RASTER, bool)
        for x1, y1, x2, y2 in dies(grid, WIDTH, HEIGHT).astype(float):
            expected |= ((ys >= y1) & (ys < y2))[:, None] & ((xs >= x1) & (xs < x2))[None, :]
        np.testing.assert_array_equal(inside_grid(grid, WIDTH, HEIGHT, RASTER), expected)


def test_dies_that_touch_leave_nothing_outside(rng):
    assert inside_grid(random_grid(rng, touching=True), WIDTH, HEIGHT, RASTER).all()


def test_the_share_inside_is_that_of_the_dies(rng):
    for _ in range(5):
        grid = random_grid(rng)
        boxes = dies(grid, WIDTH, HEIGHT)
        area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()
        fine = inside_grid(grid, WIDTH, HEIGHT, (900, 1500))
        assert fine.mean() == pytest.approx(area / (WIDTH * HEIGHT), abs=0.01)


@pytest.mark.parametrize("margin", [0.0, 0.9, 4.0])
@pytest.mark.parametrize("zone", ZONES)
def test_weights_of_a_grid_agree_with_its_dies_and_lines(rng, zone, margin):
    xs, ys = centres()
    for number in range(8):
        grid = random_grid(rng, touching=number % 2 == 1 and zone != "outside")
        within = inside_grid(grid, WIDTH, HEIGHT, RASTER)
        # The lines of a larger field: one just outside of the image is near to its first pixels.
        wide = Grid(grid.pitch, tuple(o + 300 for o in grid.origin), grid.street)
        far = np.full(RASTER, np.inf)
        for (x1, y1), (x2, _) in lines(wide, WIDTH + 600, HEIGHT + 600).astype(float):
            away = (
                np.abs(xs - (x1 - 300))[None, :] if x1 == x2 else np.abs(ys - (y1 - 300))[:, None]
            )
            far = np.minimum(far, away)
        counts = {"everywhere": True, "inside": within, "outside": ~within}[zone] & (far >= margin)
        clear = np.abs(far - margin) > 1e-3
        found = weights(grid, zone, margin)
        np.testing.assert_array_equal(found[clear], np.where(counts, 1, 0.25)[clear])


@pytest.mark.parametrize("margin", [0.0, 0.9, 4.0])
@pytest.mark.parametrize("zone", ZONES)
def test_weights_of_shapes_agree_with_their_inside_and_lines(rng, zone, margin):
    for _ in range(5):
        shapes = random_shapes(rng)
        within = inside(shapes.outlines, *RASTER)
        closed = [np.concatenate([r, r[:1]]) for outline in shapes.outlines for r in outline]
        near = near_lines([*closed, *shapes.lines], *RASTER, distance=margin, size=(WIDTH, HEIGHT))
        counts = {"everywhere": True, "inside": within, "outside": ~within}[zone] & ~near
        np.testing.assert_array_equal(weights(shapes, zone, margin), np.where(counts, 1, 0.25))


def test_a_grid_and_its_mask_weigh_the_same_inside():
    grid = Grid((30.0, 20.0), (4.0, -7.0), (6.0, 5.0))
    shape = (int(HEIGHT), int(WIDTH))
    mask = inside_grid(grid, WIDTH, HEIGHT, shape)
    shapes = Shapes(outlines=mask_outlines(mask, tolerance=0))
    np.testing.assert_array_equal(weights(shapes, shape=shape), weights(grid, shape=shape))


def test_inside_and_outside_share_out_the_image(rng):
    for structure in (random_grid(rng), random_shapes(rng)):
        both = [weights(structure, zone, 0.0, 0.0) for zone in ("inside", "outside")]
        np.testing.assert_array_equal(both[0] + both[1], 1)
        rim = weights(structure, "everywhere", 3.0, 0.0)
        parts = [weights(structure, zone, 3.0, 0.0) for zone in ("inside", "outside")]
        np.testing.assert_array_equal(parts[0] + parts[1], rim)


def test_a_wider_margin_never_counts_more(rng):
    for structure in (random_grid(rng), random_shapes(rng)):
        for zone in ZONES:
            steps = [weights(structure, zone, margin) for margin in (0.0, 0.5, 2.0, 8.0, 500.0)]
            assert all((b <= a).all() for a, b in pairwise(steps))
            assert steps[0].max() == 1
            assert (steps[-1] == 0.25).all()


def test_everywhere_without_a_margin_everything_counts(rng):
    for structure in (random_grid(rng), random_shapes(rng), Shapes()):
        found = weights(structure, "everywhere", 0.0)
        assert found.dtype == np.float32
        assert found.shape == RASTER
        assert (found == 1).all()


def test_a_margin_that_touches_no_pixel_centre_costs_nothing():
    grid = Grid((10.0, 10.0), (0.5, 0.5), (0.0, 0.0))  # lines through pixel centres
    assert (zone_weights(grid, 30, 30, (30, 30), zone="inside", margin=0, weight=0) == 1).all()


def test_open_lines_have_no_inside_but_all_is_outside():
    shapes = Shapes(lines=[np.asarray([[0, 0], [1, 1]], np.float32)])
    with pytest.raises(StructureError, match=r"1 open lines.*zone='everywhere'"):
        weights(shapes, "inside")
    np.testing.assert_array_equal(
        weights(shapes, "outside", 5.0), weights(shapes, "everywhere", 5.0)
    )
    assert 0 < (weights(shapes, "everywhere", 5.0) < 1).mean() < 0.2


def test_nothing_lies_outside_of_dies_that_touch(rng):
    with pytest.raises(StructureError, match="street=0"):
        weights(random_grid(rng, touching=True), "outside")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"zone": "within"}, "'within'; expected one of everywhere, inside, outside"),
        ({"margin": -1.0}, "margin=-1.0"),
        ({"margin": float("nan")}, "margin=nan"),
        ({"weight": 1.5}, "weight=1.5"),
        ({"weight": float("nan")}, "weight=nan"),
    ],
)
def test_values_out_of_range_are_named(rng, options, named):
    with pytest.raises(StructureError, match=named):
        weights(random_grid(rng), **options)


def test_an_image_or_raster_without_area_is_refused(rng):
    with pytest.raises(ShapeError, match=r"\(0, 5\)"):
        weights(random_grid(rng), shape=(0, 5))
    with pytest.raises(ShapeError, match="0 x 5"):
        zone_weights(Shapes(), 0, 5, (4, 4), zone="everywhere", margin=0, weight=1)
