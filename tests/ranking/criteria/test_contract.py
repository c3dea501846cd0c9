from dataclasses import replace

import numpy as np
import pytest

from unseen.errors import ShapeError
from unseen.ranking.criteria.contract import GROUP_DIMENSIONS, Candidates, farthest_first


def _pool(space, known):
    return Candidates(
        metric=np.zeros(len(space)),
        space=space,
        known=known,
        evidence=np.zeros((len(space), 0)),
        wanted=np.zeros(0),
        embed=lambda positions: space[positions],
    )


def test_farthest_first_is_greedy_k_center(rng):
    points, known = rng.normal(size=(30, 4)), rng.normal(size=(3, 4))
    taken = list(known)
    for position in farthest_first(points, known, 12):
        nearest = [min(np.linalg.norm(p - t) for t in taken) for p in points]
        assert nearest[position] == pytest.approx(max(nearest))
        taken.append(points[position])
    assert len(np.unique(np.asarray(taken), axis=0)) == 15


def test_with_nothing_known_the_middle_comes_first_then_what_is_farthest_from_it():
    points = np.asarray([[0.0], [4.0], [5.0], [11.0]])  # the mean is 5
    assert farthest_first(points, np.zeros((0, 1)), 4) == [2, 3, 0, 1]


def test_farthest_first_takes_no_point_twice_ties_to_the_earlier_and_no_more_than_there_are():
    same = np.zeros((4, 2))
    assert farthest_first(same, np.ones((1, 2)), 9) == [0, 1, 2, 3]
    assert farthest_first(same[:0], np.ones((1, 2)), 3) == []
    assert farthest_first(same, np.ones((1, 2)), 0) == []


def test_unknown_rows_of_what_is_known_are_left_out(rng):
    points, known = rng.normal(size=(9, 3)), rng.normal(size=(3, 3))
    known[1] = np.nan
    assert farthest_first(points, known, 9) == farthest_first(points, known[[0, 2]], 9)


def test_every_direction_of_the_group_space_has_standard_deviation_1(rng):
    space, known = rng.normal(size=(50, 12)) * np.arange(1, 13), rng.normal(size=(5, 12))
    space[3] = known[2] = np.nan
    pool = _pool(space, known)
    assert 3 not in pool.described
    assert len(pool.described) == 49
    wide, around = pool.groups_space
    assert wide.shape == (50, GROUP_DIMENSIONS)
    assert np.isnan(wide[3]).all()
    assert np.isnan(around[2]).all()
    rows = np.concatenate([wide[pool.described], around[[0, 1, 3, 4]]])
    np.testing.assert_allclose(np.cov(rows, rowvar=False), np.eye(GROUP_DIMENSIONS), atol=1e-9)


def test_directions_without_any_difference_are_left_out(rng):
    space = np.concatenate([rng.normal(size=(20, 2)), np.full((20, 3), 7.0)], axis=1)
    assert _pool(space, space[:1]).groups_space[0].shape == (20, 2)
    assert _pool(np.zeros((5, 3)), np.zeros((1, 3))).groups_space[0].shape == (5, 0)
    assert _pool(np.zeros((1, 3)), np.zeros((0, 3))).groups_space[0].shape == (1, 0)


def test_arrays_that_do_not_fit_are_named(rng):
    pool = _pool(rng.normal(size=(4, 3)), rng.normal(size=(2, 3)))
    assert len(pool) == 4
    for wrong in (
        {"metric": np.zeros(3)},
        {"known": np.zeros((2, 4))},
        {"evidence": np.zeros((4, 1))},
        {"space": np.zeros(4)},
    ):
        with pytest.raises(ShapeError, match=r"expected \(N,\), \(N, D\)"):
            replace(pool, **wrong)
