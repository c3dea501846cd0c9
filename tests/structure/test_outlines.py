"""Outlines against the mask they came from, and rasters against geometry point by point."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from unseen.errors import ShapeError, StructureError
from unseen.structure.outlines import inside, mask_outlines, near_lines


def blobs(rng, height=60, width=80, blur=3):
    field = ndimage.gaussian_filter(rng.standard_normal((height, width)), blur)
    return field > np.quantile(field, 0.6)


def square(x1, y1, x2, y2):
    return np.asarray([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def centres(height, width):
    y, x = np.mgrid[:height, :width] + 0.5
    return x, y


def in_polygon(ring, x, y):
    """Ray casting, edge by edge."""
    found = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y1 != y2:
            at = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
            found ^= ((y1 <= y) != (y2 <= y)) & (at < x)
    return found


def distance_to_line(line, x, y):
    """(H, W): the smallest distance to any piece of a polyline."""
    nearest = np.full(x.shape, np.inf)
    for (x1, y1), (x2, y2) in pairwise(line):
        dx, dy = x2 - x1, y2 - y1
        length = dx**2 + dy**2
        share = ((x - x1) * dx + (y - y1) * dy) / length if length else np.zeros_like(x)
        share = np.clip(share, 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - x1 - share * dx, y - y1 - share * dy))
    return nearest


# --- from a mask -------------------------------------------------------------------------------------
def test_no_outline_has_no_inside_and_no_line_is_near():
    assert not inside([], 5, 7).any()
    assert not inside([[]], 5, 7).any()
    assert not near_lines([], 5, 7, distance=3).any()


def test_unsimplified_outlines_give_the_mask_back_pixel_by_pixel(rng):
    for blur in (0, 1, 3):
        mask = blobs(rng, blur=blur)
        outlines = mask_outlines(mask, tolerance=0, most_points=100_000)
        np.testing.assert_array_equal(inside(outlines, *mask.shape), mask)
        assert len(outlines) == ndimage.label(mask)[1]


def test_a_simplified_outline_stays_within_its_tolerance(rng):
    mask = blobs(rng, 120, 160, blur=6)
    from_edge = np.minimum(
        ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    )
    points = []
    for tolerance in (0, 0.4, 1, 2):
        outlines = mask_outlines(mask, tolerance=tolerance)
        wrong = inside(outlines, *mask.shape) != mask
        # A pixel next to the border has distance 1 in the transform, half a pixel to its edge.
        assert from_edge[wrong].max(initial=0) <= tolerance + 0.5
        points.append(sum(len(ring) for outline in outlines for ring in outline))
    assert points == sorted(points, reverse=True)
    assert points[1] < points[0] / 2


def test_a_rectangle_is_a_ring_of_few_points_around_its_pixels():
    mask = np.zeros((40, 50), bool)
    mask[10:30, 5:45] = True
    ((ring,),) = mask_outlines(mask)
    assert ring.dtype == np.float32
    assert len(ring) <= 9  # marching squares cuts the corners, and begins on a side
    pixels = ring * [50, 40]
    assert pixels.min(axis=0) == pytest.approx([5, 10], abs=0.5)
    assert pixels.max(axis=0) == pytest.approx([45, 30], abs=0.5)
    np.testing.assert_array_equal(inside([[ring]], 40, 50), mask)


def test_a_mask_that_touches_the_border_reaches_it():
    mask = np.zeros((40, 50), bool)
    mask[:, :20] = True
    ((ring,),) = mask_outlines(mask)
    assert ring.min() == 0
    assert ring[:, 1].max() == 1
    np.testing.assert_array_equal(inside([[ring]], 40, 50), mask)


def test_a_hole_and_an_island_in_it_are_kept():
    mask = np.zeros((60, 60), bool)
    mask[5:55, 5:55] = True
    mask[15:45, 15:45] = False
    mask[25:35, 25:35] = True
    outlines = mask_outlines(mask, tolerance=0)
    assert [len(outline) for outline in outlines] == [2, 1]
    np.testing.assert_array_equal(inside(outlines, 60, 60), mask)


@pytest.mark.parametrize(("value", "named"), [(False, "empty: 0 of 20"), (True, "full: 20 of 20")])
def test_a_mask_that_divides_nothing_is_refused(value, named):
    with pytest.raises(StructureError, match=named):
        mask_outlines(np.full((4, 5), value))


def test_a_mask_that_is_too_detailed_is_refused_with_the_numbers(rng):
    mask = blobs(rng, blur=0)
    with pytest.raises(StructureError, match=r"\d+ points.*at most 300.*Smooth the mask"):
        mask_outlines(mask, most_points=300)


def test_a_mask_of_which_nothing_is_left_is_refused():
    mask = np.zeros((20, 20), bool)
    mask[4, 4] = mask[9, 15] = True
    with pytest.raises(StructureError, match="lower the tolerance"):
        mask_outlines(mask, tolerance=2)


@pytest.mark.parametrize(
    "mask", [np.zeros((3, 4)), np.zeros((3, 4, 1), bool), np.zeros((0, 4), bool)]
)
def test_an_array_that_is_no_mask_is_refused(mask):
    with pytest.raises(ShapeError, match="bool"):
        mask_outlines(mask)


# --- inside ------------------------------------------------------------------------------------------
def test_inside_agrees_with_ray_casting_for_every_pixel(rng):
    x, y = centres(37, 53)
    for points in (3, 4, 9, 40):
        ring = rng.uniform(-0.2, 1.2, (points, 2)).astype(
            np.float32
        )  # crosses itself and the border
        expected = in_polygon(ring * np.asarray([53.0, 37.0]), x, y)
        np.testing.assert_array_equal(inside([[ring]], 37, 53), expected)


def test_rings_of_one_outline_alternate_and_outlines_unite(rng):
    x, y = centres(41, 43)
    rings = [rng.uniform(0, 1, (6, 2)).astype(np.float32) for _ in range(3)]
    each = [in_polygon(ring * np.asarray([43.0, 41.0]), x, y) for ring in rings]
    np.testing.assert_array_equal(inside([rings], 41, 43), each[0] ^ each[1] ^ each[2])
    apart = inside([[ring] for ring in rings], 41, 43)
    np.testing.assert_array_equal(apart, each[0] | each[1] | each[2])


def test_neighbours_that_share_an_edge_leave_no_gap_and_no_overlap(rng):
    # The shared edge runs through pixel centres, where a careless rule counts twice or not at all.
    left, right = square(0, 0, 0.25, 1), square(0.25, 0, 1, 1)
    a, b = inside([[left]], 10, 10), inside([[right]], 10, 10)
    assert (a ^ b).all()
    upper, lower = square(0, 0, 1, 0.25), square(0, 0.25, 1, 1)
    assert (inside([[upper]], 10, 10) ^ inside([[lower]], 10, 10)).all()


def test_the_direction_of_a_ring_does_not_matter(rng):
    ring = rng.uniform(0, 1, (7, 2)).astype(np.float32)
    np.testing.assert_array_equal(inside([[ring]], 30, 40), inside([[ring[::-1]]], 30, 40))


def test_a_ring_that_repeats_its_first_point_is_the_same_ring(rng):
    ring = rng.uniform(0, 1, (7, 2)).astype(np.float32)
    closed = np.concatenate([ring, ring[:1]])
    np.testing.assert_array_equal(inside([[ring]], 30, 40), inside([[closed]], 30, 40))


def test_the_area_does_not_depend_on_the_raster():
    ring = square(0.1, 0.2, 0.7, 0.9)
    for height, width in ((40, 30), (200, 512), (77, 131)):
        assert inside([[ring]], height, width).mean() == pytest.approx(0.42, abs=0.02)


# --- near --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("distance", [0.4, 1.0, 3.7, 50.0])
@pytest.mark.parametrize("points", [2, 5, 20])
def test_near_agrees_with_the_distance_to_every_piece(rng, distance, points):
    x, y = centres(45, 61)
    for _ in range(5):
        line = rng.uniform(-0.3, 1.3, (points, 2)).astype(np.float32)
        far = distance_to_line(line * np.asarray([61.0, 45.0]), x, y)
        clear = np.abs(far - distance) > 1e-4  # on the very edge, rounding decides
        found = near_lines([line], 45, 61, distance=distance)
        np.testing.assert_array_equal(found[clear], (far < distance)[clear])


def test_straight_lines_and_single_points_are_lines_too():
    x, y = centres(30, 30)
    for ends in (((0.5, 0.1), (0.5, 0.8)), ((0.1, 0.5), (0.8, 0.5)), ((0.3, 0.3), (0.3, 0.3))):
        line = np.asarray(ends, np.float32)
        far = distance_to_line(line * 30.0, x, y)
        np.testing.assert_array_equal(near_lines([line], 30, 30, distance=3.3), far < 3.3)


def test_the_distance_is_in_pixels_of_the_image_on_any_raster(rng):
    lines = [rng.uniform(0, 1, (4, 2)).astype(np.float32) for _ in range(3)]
    height, width = 33, 50  # of an image of 200 x 99 px: other scales across and down
    x, y = centres(height, width)
    far = np.min(
        [distance_to_line(line * np.asarray([200.0, 99.0]), 4 * x, 3 * y) for line in lines], axis=0
    )
    found = near_lines(lines, height, width, distance=9.3, size=(200, 99))
    np.testing.assert_array_equal(found, far < 9.3)


def test_a_pixel_at_exactly_the_distance_is_not_near():
    line = np.asarray([[0, 0.5], [1, 0.5]], np.float32)  # centres lie .5, 1.5, ... px from it
    assert near_lines([line], 10, 10, distance=1.5).any(axis=1).tolist() == [
        row in (4, 5) for row in range(10)
    ]
    assert not near_lines([line], 11, 11, distance=0).any()


# --- wrong input -------------------------------------------------------------------------------------
@pytest.mark.parametrize("ring", [np.zeros((2, 2)), np.zeros((5, 3)), np.zeros(4)])
def test_what_is_no_ring_is_refused_with_its_shape(ring):
    with pytest.raises(ShapeError, match="N >= 3"):
        inside([[ring]], 5, 5)


def test_what_is_no_line_is_refused():
    with pytest.raises(ShapeError, match="N >= 2"):
        near_lines([np.zeros((1, 2))], 5, 5, distance=1)
    with pytest.raises(StructureError, match="finite"):
        near_lines([np.full((2, 2), np.nan)], 5, 5, distance=1)
    with pytest.raises(StructureError, match="finite"):
        inside([[np.full((3, 2), np.inf)]], 5, 5)


def test_a_raster_without_pixels_is_refused():
    with pytest.raises(ShapeError, match="0 x 5"):
        inside([], 0, 5)
    with pytest.raises(ShapeError, match="5 x 0"):
        near_lines([], 5, 0, distance=1)
