from dataclasses import replace

import numpy as np
import pytest

from unseen.ranking.criteria.contract import Candidates
from unseen.ranking.criteria.coverage import coverage, typical_images
from unseen.ranking.criteria.novelty import novelty

#: Middle and number of images: what is known, and two other kinds; the last one is an outlier.
MIDDLES = ((0, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 25))
COUNTS = (40, 20, 8, 1)


@pytest.fixture
def kinds():
    return np.repeat(np.arange(4), COUNTS)


@pytest.fixture
def pool(rng, kinds):
    space = np.asarray(MIDDLES, float)[kinds] + rng.normal(scale=0.1, size=(len(kinds), 3))
    return Candidates(
        metric=np.zeros(len(space)),
        space=space,
        known=rng.normal(scale=0.1, size=(6, 3)),
        evidence=np.zeros((len(space), 0)),
        wanted=np.zeros(0),
        embed=lambda positions: space[positions],
    )


def _only(pool, rows):
    return replace(
        pool, metric=pool.metric[rows], space=pool.space[rows], evidence=pool.evidence[rows]
    )


def test_kinds_that_nobody_labelled_come_first_the_strangest_before_the_others(pool, kinds):
    groups = _only(pool, kinds < 3)
    # With every direction weighed alike, a kind is the farther the fewer images it has.
    assert kinds[coverage(groups, 2)].tolist() == [2, 1]


def test_a_single_stranger_waits_for_the_groups_and_novelty_takes_it_first(pool, kinds):
    assert set(kinds[coverage(pool, 2)].tolist()) == {1, 2}
    assert kinds[novelty(pool, 1)].tolist() == [3]
    assert sorted(coverage(pool, 69).tolist()) == list(range(69))  # in the end it comes as well


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_the_pool_decides_nothing_and_the_seed_all(pool, seed):
    pool = replace(pool, seed=seed)
    first = coverage(pool, 6)
    np.testing.assert_array_equal(coverage(replace(pool), 6), first)
    order = np.random.default_rng(seed).permutation(len(pool))
    again = coverage(_only(pool, order), 6)
    assert set(order[again].tolist()) == set(first.tolist())


def test_images_without_features_are_never_chosen(pool):
    pool.space[[3, 45]] = np.nan
    found = coverage(pool, 69)
    assert len(found) == 67
    assert not {3, 45} & set(found.tolist())
    pool.space[:] = np.nan
    assert coverage(replace(pool), 5).tolist() == []


def test_equal_images_have_one_typical_image_and_then_go_by_position(pool):
    space = np.zeros((4, 3))
    same = replace(_only(pool, np.arange(4)), space=space, known=space[:2])
    assert coverage(same, 4).tolist() == [0, 1, 2, 3]
    assert coverage(same, 0).tolist() == []


def test_what_is_labelled_shapes_the_groups_but_is_never_typical(pool):
    points = np.concatenate([pool.space, pool.known])
    found = typical_images(points, len(pool), 0)
    assert (np.diff(found) > 0).all()
    assert found.max() < len(pool)
    assert 68 not in found  # a group of one
    assert typical_images(points[:0], 0, 0).tolist() == []
