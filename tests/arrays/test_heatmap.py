"""The heatmap keeps small defects; drawn over an image it is a blend with known weights."""

import numpy as np
import pytest

from unseen.arrays.heatmap import (
    LINE_COLOUR,
    LINE_OPACITY,
    NOISE_FLOOR,
    TINT,
    draw_lines,
    heatmap,
    overlay,
)


def test_nothing_unseen_is_all_zero():
    assert heatmap(np.zeros((5, 7), np.float32), 0.1, 96).tolist() == np.zeros((5, 7)).tolist()
    assert not heatmap(np.ones((5, 7), np.float32), 0.0, 96).any()


def test_values_are_shares_of_full_scale_above_the_noise_floor():
    heat = heatmap(np.asarray([[0, 0.05, 0.1, 0.5]], np.float32), 0.1, 96)
    assert heat.dtype == np.uint8
    assert heat.tolist() == [[0, 128, 255, 255]]
    around = np.asarray([[0.99, 1.01]], np.float32) * NOISE_FLOOR
    assert (heatmap(around, 1.0, 96) > 0).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((256, 256), (96, 96)), ((640, 480), (96, 72)), ((1000, 3), (96, 1)), ((50, 60), (50, 60))],
)
def test_the_longest_side_shrinks_and_the_aspect_stays(size, expected):
    assert heatmap(np.ones(size, np.float32), 1.0, 96).shape == expected


def test_a_defect_of_one_pixel_survives_at_its_place(rng):
    for _ in range(50):
        size = rng.integers(100, 400, 2)
        place = rng.integers(size)
        score = np.zeros(size, np.float32)
        score[tuple(place)] = 1
        heat = heatmap(score, 1.0, 64)
        assert heat.max() == 255
        ((*cell,),) = np.argwhere(heat)
        off = (np.asarray(cell) + 0.5) / heat.shape - (place + 0.5) / size
        assert (np.abs(off) < 1.5 / np.asarray(heat.shape)).all()


def picture(rng, height=60, width=90):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def even(value, shape=(4, 6)):
    return np.full(shape, value, np.uint8)


@pytest.mark.parametrize(
    ("shape", "heat"),
    [((1, 1), (1, 1)), ((1, 37), (1, 9)), ((53, 1), (13, 1)), ((7, 11), (96, 60))],
)
def test_the_result_has_the_size_of_the_image(rng, shape, heat):
    image = picture(rng, *shape)
    result = overlay(image, rng.integers(0, 256, heat, dtype=np.uint8), opacity=0.4)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)


def test_a_ramp_of_heat_is_interpolated_between_the_centres_of_its_cells():
    ramp = np.arange(10, 130, 10, dtype=np.uint8)[None, :]  # 12 cells, all below the contour
    centres = np.clip((np.arange(120) + 0.5) / 10 - 0.5, 0, 11)  # level beyond the outer ones
    weight = (10 + 10 * centres) / 255
    result = overlay(np.zeros((3, 120, 3), np.uint8), ramp, opacity=1.0)
    np.testing.assert_allclose(result[..., 2], np.tile(weight * TINT[2], (3, 1)), atol=0.6)


def test_the_contour_is_a_ring_around_the_hot_with_the_root_of_the_opacity():
    heat = even(20, (20, 20))
    heat[8:12, 8:12] = 200
    result = overlay(even(100, (20, 20, 3)), heat, opacity=0.25)
    weight = 0.25 * heat.astype(float) / 255
    weight[[7, 12], 8:12] = weight[8:12, [7, 12]] = 0.5
    np.testing.assert_array_equal(result[..., 0], np.rint(100 + weight * (TINT[0] - 100)))
    heat[heat == 20] = 0  # no line on pixels without heat
    np.testing.assert_array_equal(overlay(even(100, (20, 20, 3)), heat, opacity=0.25)[7], 100)


def test_a_line_is_blended_in_and_nothing_else_changes(rng):
    image = picture(rng)
    np.testing.assert_array_equal(draw_lines(image, []), image)
    line = np.asarray([[0, 0.5], [1, 0.5]], np.float32)  # across, in row 30 of 60
    expected = image.astype(np.float32)
    expected[30] += LINE_OPACITY * (np.asarray(LINE_COLOUR, np.float32) - expected[30])
    np.testing.assert_array_equal(draw_lines(image, [line]), np.rint(expected).astype(np.uint8))
