"""Outlines against the mask they came from, and rasters against geometry point by point."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import KDTree

from unseen.errors import StructureError
from unseen.structure import outlines
from unseen.structure.outlines import inside, mask_outlines, near_lines


def blobs(rng, height=60, width=80, blur=3):
    field = ndimage.gaussian_filter(rng.standard_normal((height, width)), blur)
    return field > np.quantile(field, 0.6)


def in_polygon(ring, height, width):
    """Ray casting for every pixel centre, edge by edge."""
    y, x = np.mgrid[:height, :width] + 0.5
    ring = ring * np.asarray([width, height], float)
    is_in = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y1 != y2:
            at = x1 + (y - y1) / (y2 - y1) * (x2 - x1)
            is_in ^= ((y1 <= y) != (y2 <= y)) & (at < x)
    return is_in


def distances(lines, shape, size):
    """(h, w): distance of every pixel centre from the nearest of many points on the lines, px."""
    share = np.linspace(0, 1, 3000)[:, None]
    points = [a + share * (b - a) for line in lines for a, b in pairwise(line)]
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    centres = np.stack([x * size[0] / shape[1], y * size[1] / shape[0]], axis=-1)
    return KDTree(np.concatenate(points) * np.asarray(size, float)).query(centres)[0]


# --- from a mask -------------------------------------------------------------------------------------
@pytest.mark.parametrize("blur", [0, 1, 3])
def test_unsimplified_outlines_give_the_mask_back_pixel_by_pixel(rng, monkeypatch, blur):
    monkeypatch.setattr(outlines, "TOLERANCE", 0)
    monkeypatch.setattr(outlines, "MOST_POINTS", 100_000)
    mask = blobs(rng, blur=blur)
    shapes = mask_outlines(mask)
    np.testing.assert_array_equal(inside(shapes, mask.shape), mask)
    assert len(shapes) == ndimage.label(mask)[1]


def test_a_simplified_outline_stays_within_its_tolerance(rng, monkeypatch):
    mask = blobs(rng, 120, 160, blur=6)
    edt = ndimage.distance_transform_edt
    from_edge = np.minimum(edt(mask), edt(~mask))
    points = []
    for tolerance in (0, 0.4, 1, 2):
        monkeypatch.setattr(outlines, "TOLERANCE", tolerance)
        shapes = mask_outlines(mask)
        wrong = inside(shapes, mask.shape) != mask
        # A pixel next to the border has distance 1 in the transform, half a pixel to its edge.
        assert from_edge[wrong].max(initial=0) <= tolerance + 0.5
        points.append(sum(len(ring) for outline in shapes for ring in outline))
    assert points == sorted(points, reverse=True)
    assert points[1] < points[0] / 2


def test_masks_that_cannot_be_outlined_are_refused(rng, monkeypatch):
    with pytest.raises(StructureError, match="empty: 0 of 20"):
        mask_outlines(np.zeros((4, 5), bool))
    with pytest.raises(StructureError, match="full: 20 of 20"):
        mask_outlines(np.ones((4, 5), bool))
    with pytest.raises(StructureError, match=r"\d+ points.*at most 2000.*Smooth the mask"):
        mask_outlines(blobs(rng, 120, 120, blur=0))
    monkeypatch.setattr(outlines, "TOLERANCE", 2)
    with pytest.raises(StructureError, match="nothing of the mask is left"):
        mask_outlines(np.eye(20, dtype=bool) & (np.arange(20) % 9 == 4))


def test_borders_of_the_image_holes_and_islands_in_them_are_kept():
    mask = np.zeros((40, 60), bool)
    mask[:, :50] = True
    mask[10:30, 10:40] = False
    mask[16:24, 20:30] = True
    shapes = mask_outlines(mask)
    assert [len(outline) for outline in shapes] == [2, 1]
    assert all(ring.dtype == np.float32 for outline in shapes for ring in outline)
    outer = max(shapes[0], key=np.ptp)
    assert (outer[:, 0].min(), *outer[:, 1][[outer[:, 1].argmin(), outer[:, 1].argmax()]]) == (
        0,
        0,
        1,
    )
    np.testing.assert_array_equal(inside(shapes, mask.shape), mask)


# --- inside ------------------------------------------------------------------------------------------
def test_no_outline_has_no_inside():
    assert not inside([], (5, 7)).any()
    assert not inside([[]], (5, 7)).any()


@pytest.mark.parametrize("points", [3, 4, 9, 40])
def test_inside_agrees_with_ray_casting_for_every_pixel(rng, points):
    ring = rng.uniform(-0.2, 1.2, (points, 2)).astype(np.float32)  # crosses itself and the border
    expected = in_polygon(ring, 37, 53)
    for same in (ring, ring[::-1], np.concatenate([ring, ring[:1]])):
        np.testing.assert_array_equal(inside([[same]], (37, 53)), expected)


def test_rings_of_one_outline_alternate_and_outlines_unite(rng):
    rings = [rng.uniform(0, 1, (6, 2)).astype(np.float32) for _ in range(3)]
    a, b, c = (in_polygon(ring, 41, 43) for ring in rings)
    np.testing.assert_array_equal(inside([rings], (41, 43)), a ^ b ^ c)
    np.testing.assert_array_equal(inside([[ring] for ring in rings], (41, 43)), a | b | c)


@pytest.mark.parametrize("cut", [0.25, 0.3])  # through pixel centres, and between them
def test_neighbours_leave_no_gap_and_no_overlap(cut):
    for turn in (1, -1):  # side by side, and one above the other
        first, second = (
            np.asarray([[a, 0], [b, 0], [b, 1], [a, 1]], np.float32)[:, ::turn]
            for a, b in ((0, cut), (cut, 1))
        )
        assert (inside([[first]], (10, 10)) ^ inside([[second]], (10, 10))).all()


# --- near --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("distance", [0.4, 3.7, 50.0])
@pytest.mark.parametrize("points", [2, 5, 20])
def test_near_agrees_with_the_distance_to_many_points_on_the_lines(rng, distance, points):
    shape, size = (33, 50), (200.0, 99.0)  # other scales across and down
    lines = [rng.uniform(-0.3, 1.3, (points, 2)).astype(np.float32) for _ in range(2)]
    far = distances(lines, shape, size)
    clear = np.abs(far - distance) > 0.02
    near = near_lines(lines, shape, distance=distance, size=size)
    np.testing.assert_array_equal(near[clear], (far < distance)[clear])


@pytest.mark.parametrize(
    "ends", [[[0.5, 0.1], [0.5, 0.8]], [[0.1, 0.5], [0.8, 0.5]], [[0.3, 0.3]] * 2]
)
def test_straight_lines_and_single_points_are_lines_too(ends):
    line = np.asarray(ends, np.float32)
    near = near_lines([line], (30, 30), distance=3.3, size=(30, 30))
    np.testing.assert_array_equal(near, distances([line], (30, 30), (30, 30)) < 3.3)


def test_a_pixel_at_exactly_the_distance_is_not_near():
    line = np.asarray([[0, 0.5], [1, 0.5]], np.float32)  # centres lie .5, 1.5, ... px from it
    near = near_lines([line], (10, 10), distance=1.5, size=(10, 10))
    assert near.any(axis=1).nonzero()[0].tolist() == [4, 5]
    assert not near_lines([line], (11, 11), distance=0, size=(11, 11)).any()
    assert not near_lines([], (5, 7), distance=3, size=(7, 5)).any()


@pytest.mark.parametrize(
    "points", [np.zeros((1, 2)), np.zeros((5, 3)), np.zeros(4), [], np.full((3, 2), np.nan)]
)
def test_what_is_no_line_and_no_ring_is_refused(points):
    with pytest.raises(StructureError, match="expected at least 2 finite points"):
        near_lines([points], (5, 5), distance=1, size=(5, 5))
    with pytest.raises(StructureError, match="expected at least 3 finite points"):
        inside([[points]], (5, 5))
