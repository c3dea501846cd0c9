"""The tint is a blend with known weights, and nothing else changes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from unseen.arrays.overlay import (
    LINE_COLOUR,
    LINE_OPACITY,
    TINT,
    contour,
    draw_lines,
    enlarge,
    overlay,
)
from unseen.errors import ShapeError


def picture(rng, height=60, width=90):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def even(value, shape=(4, 6)):
    return np.full(shape, value, np.uint8)


def test_without_heat_the_image_stays_bit_by_bit(rng):
    image = picture(rng)
    result = overlay(image, even(0), opacity=1.0)
    np.testing.assert_array_equal(result, image)
    assert result is not image


def test_pixels_far_from_the_heat_stay_bit_by_bit(rng):
    image = picture(rng, 100, 100)
    heat = even(0, (10, 10))
    heat[2, 3] = 255
    changed = np.any(overlay(image, heat, opacity=1.0) != image, axis=2)
    assert changed[25, 35]  # the centre of the hot cell
    rows, columns = np.nonzero(changed)
    # Bilinear interpolation reaches from a cell's centre to those of its neighbours.
    assert rows.min() >= 15
    assert rows.max() < 35
    assert columns.min() >= 25
    assert columns.max() < 45


@pytest.mark.parametrize("opacity", [0.2, 0.5, 1.0])
def test_full_heat_blends_image_and_tint_by_the_opacity(rng, opacity):
    image = picture(rng)
    expected = np.rint((1 - opacity) * image.astype(float) + opacity * np.asarray(TINT))
    result = overlay(image, even(255), opacity=opacity).astype(float)
    assert np.abs(result - expected).max() <= 1  # float32 against float64, at half a level


def test_full_heat_at_full_opacity_is_the_tint(rng):
    assert np.all(overlay(picture(rng), even(255), opacity=1.0) == TINT)


def distance(result, image):
    return np.abs(result.astype(int) - image.astype(int))


def test_more_heat_never_means_less_tint(rng):
    image = picture(rng)
    steps = [distance(overlay(image, even(h), opacity=0.7), image) for h in range(0, 256, 15)]
    assert all(np.all(b >= a) for a, b in pairwise(steps))
    assert steps[-1].sum() > steps[1].sum() > 0


def test_more_opacity_never_means_less_tint(rng):
    image = picture(rng)
    heat = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    steps = [distance(overlay(image, heat, opacity=o), image) for o in (0.1, 0.3, 0.6, 1.0)]
    assert all(np.all(b >= a) for a, b in pairwise(steps))
    assert steps[-1].sum() > steps[0].sum()


@pytest.mark.parametrize(
    ("shape", "heat"),
    [
        ((1, 1), (1, 1)),
        ((1, 37), (1, 9)),
        ((53, 1), (13, 1)),
        ((7, 11), (96, 60)),
        ((101, 67), (1, 1)),
        ((5, 5), (5, 5)),
    ],
)
def test_the_result_has_the_images_size_and_type(rng, shape, heat):
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = overlay(image, rng.integers(0, 256, heat, dtype=np.uint8), opacity=0.4)
    assert result.shape == image.shape
    assert result.dtype == np.uint8


def test_the_inputs_stay_as_they_are(rng):
    image, heat = picture(rng), rng.integers(0, 256, (5, 7), dtype=np.uint8)
    copies = image.copy(), heat.copy()
    overlay(image, heat, opacity=0.5)
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(heat, copies[1])


def test_a_ramp_of_heat_is_enlarged_to_a_ramp():
    ramp = np.arange(10, 250, 20, dtype=np.uint8)[None, :]  # 12 cells
    grown = enlarge(ramp, 3, 120)
    centres = (np.arange(120) + 0.5) / 10 - 0.5
    expected = np.clip(10 + 20 * centres, 10, 230)  # level beyond the outer centres
    np.testing.assert_allclose(grown, np.broadcast_to(expected, (3, 120)), atol=1e-3)


def test_heat_of_the_images_size_is_taken_as_it_is(rng):
    heat = rng.integers(0, 256, (8, 13), dtype=np.uint8)
    np.testing.assert_array_equal(enlarge(heat, 8, 13), heat)


def test_turning_image_and_heat_turns_the_result(rng):
    image, heat = picture(rng, 45, 80), rng.integers(0, 256, (9, 16), dtype=np.uint8)
    straight = overlay(image, heat, opacity=0.5)
    turned = overlay(image[:, ::-1].copy(), heat[:, ::-1].copy(), opacity=0.5)[:, ::-1]
    assert distance(straight, turned).max() <= 1
    transposed = overlay(image.transpose(1, 0, 2).copy(), heat.T.copy(), opacity=0.5)
    assert distance(straight, transposed.transpose(1, 0, 2)).max() <= 1


def test_the_contour_is_a_ring_around_what_is_half_hot():
    warmth = np.full((20, 20), 20, np.float32)
    warmth[8:12, 8:12] = 128
    found = contour(warmth)
    expected = np.zeros((20, 20), bool)
    expected[7, 8:12] = expected[12, 8:12] = expected[8:12, 7] = expected[8:12, 12] = True
    np.testing.assert_array_equal(found, expected)


def test_the_contour_never_touches_pixels_without_heat():
    warmth = np.zeros((20, 20), np.float32)
    warmth[8:12, 8:12] = 255
    assert not contour(warmth).any()


def test_the_contour_is_drawn_with_the_root_of_the_opacity():
    image = np.full((20, 20, 3), 100, np.uint8)
    heat = np.full((20, 20), 20, np.uint8)
    heat[8:12, 8:12] = 200
    result = overlay(image, heat, opacity=0.25)
    assert result[7, 9, 0] == round(100 + 0.5 * (TINT[0] - 100))  # the line
    assert result[9, 9, 0] == round(100 + 0.25 * 200 / 255 * (TINT[0] - 100))  # inside
    assert result[6, 9, 0] == round(100 + 0.25 * 20 / 255 * (TINT[0] - 100))  # outside


def test_a_wrong_array_is_refused_with_its_shape(rng):
    with pytest.raises(ShapeError, match=r"\(60, 90\) uint8"):
        overlay(picture(rng)[:, :, 0], even(1), opacity=0.5)
    with pytest.raises(ShapeError, match="float64"):
        overlay(picture(rng), even(1).astype(float), opacity=0.5)
    with pytest.raises(ShapeError, match=r"\(0, 6\)"):
        overlay(picture(rng), even(1, (0, 6)), opacity=0.5)


@pytest.mark.parametrize("opacity", [0.0, -0.1, 1.1, float("nan")])
def test_an_opacity_out_of_range_is_refused(rng, opacity):
    with pytest.raises(ValueError, match="opacity"):
        overlay(picture(rng), even(1), opacity=opacity)


def test_a_line_is_blended_in_and_nothing_else_changes(rng):
    image = picture(rng)
    before = image.copy()
    line = np.asarray([[0, 0.5], [1, 0.5]], np.float32)  # across, in row 30 of 60
    result = draw_lines(image, [line])
    np.testing.assert_array_equal(image, before)
    expected = image.astype(np.float32)
    expected[30] += LINE_OPACITY * (np.asarray(LINE_COLOUR, np.float32) - expected[30])
    np.testing.assert_array_equal(result, np.rint(expected).astype(np.uint8))


def test_lines_on_the_border_are_on_the_last_pixels_and_no_line_draws_nothing(rng):
    image = picture(rng)
    corner = np.asarray([[1, 0], [1, 1], [0, 1]], np.float32)
    changed = np.any(draw_lines(image, [corner]) != image, axis=2)
    rows, columns = np.nonzero(changed)
    assert ((rows == 59) | (columns == 89)).all()
    assert changed[:, 89].mean() > 0.9
    np.testing.assert_array_equal(draw_lines(image, []), image)
    with pytest.raises(ShapeError):
        draw_lines(image[:, :, 0], [corner])
