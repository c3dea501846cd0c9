import numpy as np
import pytest

from unseen.errors import ShapeError
from unseen.ranking.criteria.feature_space import feature_space

BLOCKS = {"mean8": slice(0, 2), "mean16": slice(2, 10), "max8": slice(10, 13)}


@pytest.fixture
def vectors(rng):
    return rng.normal(3, rng.uniform(0.1, 90, 13), (200, 13))


def test_each_block_weighs_alike_and_maxima_are_left_out(vectors):
    found = feature_space(vectors, BLOCKS)
    assert found.shape == (200, 10)
    for part in (slice(0, 2), slice(2, 10)):
        np.testing.assert_allclose((found[:, part] ** 2).sum(axis=1).mean(), 1)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), [2**-0.5] * 2 + [8**-0.5] * 8)


def test_the_scale_of_a_number_does_not_matter(vectors):
    np.testing.assert_allclose(
        feature_space(vectors * 2.0 ** np.arange(13) + 5, BLOCKS), feature_space(vectors, BLOCKS)
    )


def test_unreadable_images_stay_unknown_and_change_nothing(vectors):
    with_gaps = np.insert(vectors, [0, 50], np.nan, axis=0)
    found = feature_space(with_gaps, BLOCKS)
    is_there = ~np.isnan(with_gaps).any(axis=1)
    assert np.isnan(found[~is_there]).all()
    np.testing.assert_array_equal(found[is_there], feature_space(vectors, BLOCKS))
    assert np.isnan(feature_space(np.full((2, 13), np.nan), BLOCKS)).all()


def test_a_number_that_never_changes_is_0(vectors):
    vectors[:, [1, 4]] = 7
    found = feature_space(vectors, BLOCKS)
    assert (found[:, [1, 4]] == 0).all()
    assert np.isfinite(found).all()


def test_vectors_that_do_not_fit_are_named(vectors):
    assert feature_space(vectors[:0], BLOCKS).shape == (0, 10)
    for wrong in (vectors[:, :9], vectors[0]):
        with pytest.raises(ShapeError, match=r"expected \(M, 10\)"):
            feature_space(wrong, BLOCKS)
