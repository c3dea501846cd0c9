import numpy as np
import pytest

from unseen.errors import ShapeError
from unseen.science.novelty import stands_out, texture_novelty, usual_texture


def test_no_novelty_in_an_empty_pool_or_among_equal_images():
    assert texture_novelty(np.zeros((0, 4))).shape == (0,)
    np.testing.assert_array_equal(texture_novelty(np.ones((5, 4))), np.zeros(5))


def test_novelty_is_the_distance_in_usual_deviations():
    # Median 0, median absolute deviation 1: a usual deviation of 1.4826 in each dimension.
    line = np.asarray([-2.0, -1, 0, 1, 2])
    features = np.stack([line, 10 * line], axis=1)
    expected = np.abs(line) / 1.4826 * np.sqrt(2)
    np.testing.assert_allclose(texture_novelty(features), expected)


def test_units_and_offsets_of_the_features_do_not_matter():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 6))
    scaled = features * rng.uniform(1, 9, 6) + rng.normal(size=6)
    np.testing.assert_allclose(texture_novelty(scaled), texture_novelty(features))


def test_images_without_features_have_no_novelty_and_change_none():
    features = np.random.default_rng(1).normal(size=(20, 3))
    with_missing = np.insert(features, 7, np.nan, axis=0)
    novelty = texture_novelty(with_missing)
    assert np.isnan(novelty[7])
    np.testing.assert_allclose(np.delete(novelty, 7), texture_novelty(features))


def test_novelty_of_a_part_can_be_measured_against_the_whole_pool():
    features = np.random.default_rng(2).normal(size=(40, 5))
    usual = usual_texture(features)
    whole = texture_novelty(features)
    np.testing.assert_allclose(texture_novelty(features[:7], usual), whole[:7])


def test_rare_images_do_not_widen_what_is_usual():
    features = np.random.default_rng(2).normal(size=(100, 5))
    spoilt = features.copy()
    spoilt[:6] += 100
    before, after = usual_texture(features), usual_texture(spoilt)
    assert np.abs(after.median - before.median).max() < 0.3
    assert np.abs(after.width / before.width - 1).max() < 0.3


def test_a_pool_without_features_takes_anything_for_usual():
    usual = usual_texture(np.full((3, 2), np.nan))
    assert np.isnan(texture_novelty(np.full((3, 2), np.nan), usual)).all()
    np.testing.assert_allclose(texture_novelty([[3.0, 4.0]], usual), [5])


def test_no_image_of_a_normal_pool_stands_out_and_every_odd_one_does():
    rng = np.random.default_rng(4)
    usual = np.exp(rng.normal(2, 0.3, 400))
    # Beyond 3 standard deviations there is .1 % of a normal distribution.
    assert stands_out(usual).mean() < 0.01
    odd = np.concatenate([usual, np.exp(2 + 0.3 * np.asarray([4.0, 6, 8]))])
    assert stands_out(odd)[-3:].all()
    np.testing.assert_array_equal(stands_out(7 * odd), stands_out(odd))  # whatever the unit


def test_nothing_stands_out_among_equals_or_unknowns():
    assert not stands_out(np.full(5, 3.0)).any()
    assert not stands_out(np.zeros(4)).any()
    assert stands_out([]).shape == (0,)
    assert stands_out([1.0, 1.1, np.nan, 0.9, 1.0, 9.0]).tolist() == [False] * 5 + [True]


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        texture_novelty(np.zeros(4))
