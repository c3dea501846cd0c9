"""The space of features: equal weights, greedy k-center, and first images of every kind."""

import numpy as np
import pytest

from unseen.ranking import feature_space as feature_space_module
from unseen.ranking.candidates import CLUSTER_DIMENSIONS, Candidates
from unseen.ranking.feature_space import farthest_first, feature_space
from unseen.ranking.initial_images import initial_images

BLOCKS = {"mean8": slice(0, 2), "mean16": slice(2, 10), "max8": slice(10, 13)}


@pytest.fixture
def vectors(rng):
    return rng.normal(3, rng.uniform(0.1, 90, 13), (200, 13))


def test_blocks_have_equal_weight_and_maxima_are_left_out(vectors):
    space = feature_space(vectors, BLOCKS)
    assert space.shape == (200, 10)
    for part in (slice(0, 2), slice(2, 10)):
        np.testing.assert_allclose((space[:, part] ** 2).sum(axis=1).mean(), 1)
    np.testing.assert_allclose(space.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(space.std(axis=0), [2**-0.5] * 2 + [8**-0.5] * 8)
    scaled = feature_space(vectors * 2.0 ** np.arange(13) + 5, BLOCKS)
    np.testing.assert_allclose(scaled, space)
    vectors[:, [1, 4]] = 7  # constant
    assert (feature_space(vectors, BLOCKS)[:, [1, 4]] == 0).all()


def test_unreadable_images_stay_unknown_and_change_nothing(vectors):
    with_gaps = np.insert(vectors, [0, 50], np.nan, axis=0)
    space = feature_space(with_gaps, BLOCKS)
    is_known = ~np.isnan(with_gaps).any(axis=1)
    assert np.isnan(space[~is_known]).all()
    np.testing.assert_array_equal(space[is_known], feature_space(vectors, BLOCKS))
    assert np.isnan(feature_space(np.full((2, 13), np.nan), BLOCKS)).all()


def test_farthest_first_is_greedy_k_center(rng):
    points, known = rng.normal(size=(30, 4)), rng.normal(size=(3, 4))
    taken = list(known)
    for position in farthest_first(points, known, 12):
        nearest = [min(np.linalg.norm(p - t) for t in taken) for p in points]
        assert nearest[position] == pytest.approx(max(nearest))
        taken.append(points[position])
    assert len(np.unique(np.asarray(taken), axis=0)) == 15
    gap = np.insert(known, 1, np.nan, axis=0)
    assert farthest_first(points, gap, 9).tolist() == farthest_first(points, known, 9).tolist()


@pytest.mark.parametrize("known", [0, 1, 20])
def test_of_many_points_only_the_farthest_are_compared_and_the_choice_is_the_same(
    rng, monkeypatch, known
):
    monkeypatch.setattr(feature_space_module, "_ROWS", 8)
    points = rng.integers(0, 6, (300, 3)).astype(float)  # duplicates, and many of equal distance
    rows = rng.integers(0, 6, (known, 3)).astype(float)
    off = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
    order = [] if known else [int(off.argmin())]
    while len(order) < 300:
        around = np.concatenate([rows, points[order]])
        distance = ((points[:, None] - around) ** 2).sum(axis=2).min(axis=1)
        distance[order] = -1
        order.append(int(distance.argmax()))
    assert farthest_first(points, rows, 300).tolist() == order


@pytest.mark.parametrize(
    ("points", "known", "count", "expected"),
    [
        # With nothing known the point at the mean (5) comes first.
        ([[0.0], [4.0], [5.0], [11.0]], [], 4, [2, 3, 0, 1]),
        ([[0.0]] * 4, [[1.0]], 9, [0, 1, 2, 3]),
        ([[0.0]] * 4, [[1.0]], 0, []),
        ([], [[1.0]], 3, []),
    ],
)
def test_farthest_first_at_its_ends(points, known, count, expected):
    points, known = (np.asarray(rows, float).reshape(-1, 1) for rows in (points, known))
    assert farthest_first(points, known, count).tolist() == expected


def test_whitened_images_have_standard_deviation_1_in_every_direction(rng):
    space, known = rng.normal(size=(50, 12)) * np.arange(1, 13), rng.normal(size=(5, 12))
    space[3] = known[2] = np.nan
    none = np.zeros((50, 0))
    pool = Candidates(np.zeros(50), space, known, none, np.zeros(0), lambda rows: space[rows])
    assert pool.described.tolist() == [i for i in range(50) if i != 3]
    wide, around = pool.whitened
    assert np.isnan(wide[3]).all()
    assert np.isnan(around[2]).all()
    rows = np.concatenate([wide[pool.described], around[[0, 1, 3, 4]]])
    np.testing.assert_allclose(np.cov(rows, rowvar=False), np.eye(CLUSTER_DIMENSIONS), atol=1e-9)


@pytest.fixture
def kinds():
    """(60, 6) features of five kinds of 4 to 20 images, and the kind of each."""
    rng = np.random.default_rng(5)
    kind = np.repeat(np.arange(5), (20, 16, 12, 8, 4))
    return 10 * np.eye(6)[:5][kind] + rng.normal(0, 0.1, (60, 6)), kind


def test_of_clear_kinds_one_image_each_is_chosen_the_largest_kind_first(kinds):
    space, kind = kinds
    assert kind[initial_images(space, 5, 0)].tolist() == [0, 1, 2, 3, 4]


def test_the_order_of_the_images_and_another_call_change_nothing(kinds):
    space, _ = kinds
    order = np.random.default_rng(1).permutation(len(space))
    chosen = initial_images(space, 9, 3)
    assert initial_images(space, 9, 3).tolist() == chosen.tolist()
    assert order[initial_images(space[order], 9, 3)].tolist() == chosen.tolist()


def test_unreadable_images_come_last_and_all_images_in_the_end(kinds):
    space, _ = kinds
    space[[0, 7, 30]] = np.nan
    order = initial_images(space, 99, 0).tolist()
    assert sorted(order) == list(range(60))
    assert order[-3:] == [0, 7, 30]
    assert initial_images(np.full((3, 2), np.nan), 2, 0).tolist() == [0, 1]


def test_images_with_the_same_features_count_once_and_go_by_position():
    three = np.repeat([[0.0, 1.0], [5.0, 2.0], [9.0, 9.0]], (50, 3, 1), axis=0)
    for space, count, expected in (
        (three, 3, [0, 50, 53]),
        (three, 4, [0, 1, 50, 53]),
        (np.ones((6, 1)), 3, [0, 1, 2]),
        (np.zeros((0, 4)), 3, []),
        (np.eye(4), 0, []),
    ):
        assert sorted(initial_images(space, count, 0).tolist()) == expected
