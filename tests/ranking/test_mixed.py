from dataclasses import replace

import numpy as np
import pytest

from unseen.errors import BudgetError, ConfigError, ShapeError
from unseen.ranking.criteria.contract import Candidates
from unseen.ranking.criteria.pixel import pixel
from unseen.ranking.criteria.rehearsal import Rehearsal
from unseen.ranking.mixed import (
    CHOOSING_ORDER,
    CRITERIA,
    History,
    batch_shares,
    mixed,
    sought_classes,
    turns,
)

NAMES = list(CRITERIA)
SEARCH = np.asarray([True, True, True, False])
ALL = np.ones(4, bool)
NONE = History.none()


def _pool(count=120, seed=0, wanted=(0.0, 1.0)):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, 4))
    return Candidates(
        metric=rng.gamma(1, size=count),
        space=rng.normal(size=(count, 5)),
        known=rng.normal(size=(6, 5)),
        evidence=rng.normal(size=(count, 2)),
        wanted=np.asarray(wanted),
        embed=lambda positions: embeddings[positions],
    )


def _history(**counts):
    found, tried = np.zeros((2, 4), np.int64)
    for name, (hits, tries) in counts.items():
        found[NAMES.index(name)], tried[NAMES.index(name)] = hits, tries
    return History(found, tried)


def _shares(has=SEARCH, history=NONE, **rehearsal):
    return batch_shares(np.asarray(has), history, Rehearsal(**rehearsal))


@pytest.mark.parametrize(
    ("told", "by_features"), [(None, 0.7), (0.5, 0.5), (0.95, 0.7), (0.1, 0.3)]
)
def test_features_get_as_much_as_they_tell_apart_within_bounds(told, by_features):
    expected = [1 - by_features, by_features * 2 / 7, by_features * 5 / 7, 0]
    np.testing.assert_allclose(_shares(novelty=told), expected)


def test_without_a_rehearsal_it_is_3_2_5():
    np.testing.assert_allclose(_shares(), [0.3, 0.2, 0.5, 0])


@pytest.mark.parametrize(
    ("told", "share"), [(None, 0.6), (0.9, 0.8), (1.0, 0.8), (0.5, 0.2), (0.3, 0.2), (0.75, 0.5)]
)
def test_a_new_class_gets_the_chance_that_an_image_chosen_for_it_holds_it(told, share):
    rest = 1 - share
    expected = [0.3 * rest, 0.2 * rest, 0.5 * rest, share]
    np.testing.assert_allclose(_shares(ALL, recognition=told), expected)


def test_what_was_found_counts_against_a_rehearsal_worth_four_images():
    # (4 x .6 + found) / (4 + tried)
    for found, share in ((4, 0.8), (2, 0.55), (0, 0.3)):
        history = _history(new_class=(found, 4))
        assert _shares(ALL, history)[3] == pytest.approx(share)
    assert _shares(ALL, _history(new_class=(0, 40)))[3] == pytest.approx(0.2)


def test_criteria_that_found_something_get_more_of_what_is_searched():
    # Odds of 4 : 1/4 : 1/2 with one success and one failure added.
    history = _history(pixel=(3, 3), novelty=(0, 3), coverage=(1, 4))
    part = np.asarray([0.3 * 4, 0.2 / 4, 0.5 / 2])
    np.testing.assert_allclose(_shares(history=history)[:3], part / part.sum())


def test_who_has_nothing_to_offer_gets_nothing_and_the_others_all():
    for row in range(1, 16):
        has = np.asarray([bool(row >> k & 1) for k in range(4)])
        shares = _shares(has)
        assert shares.sum() == pytest.approx(1)
        np.testing.assert_array_equal(shares > 0, has)
    assert _shares(np.zeros(4, bool)).tolist() == [0, 0, 0, 0]


def test_numbers_of_other_criteria_are_named():
    with pytest.raises(ShapeError, match=", ".join(NAMES)):
        _shares([True, True])
    with pytest.raises(ShapeError, match="history of 2"):
        _shares(history=History(*np.zeros((2, 2), np.int64)))


def _mixed(pool, budget, history=NONE, **rehearsal):
    return mixed(pool, budget, history=history, rehearsal=Rehearsal(**rehearsal))


def test_an_empty_pool_is_an_empty_batch_and_asks_for_nothing():
    def never(positions):
        raise AssertionError(positions)

    batch = _mixed(replace(_pool(0), embed=never), 0)
    assert batch.order.shape == batch.source.shape == (0,)
    assert set(batch.shares) == set(CRITERIA)


@pytest.mark.parametrize("budget", [1, 10, 40, 120])
def test_no_image_is_taken_twice_and_the_sources_name_who_chose(budget):
    pool = _pool()
    batch = _mixed(pool, budget)
    assert len(batch.order) == len(set(batch.order.tolist())) == budget
    names = list(CRITERIA)
    wanted = dict(zip(names, turns(list(batch.shares.values()), budget), strict=True))
    if budget <= 40:  # beyond, some cannot fill their share
        taken = np.bincount(batch.source, minlength=len(names)).tolist()
        assert taken == list(wanted.values())
        # Each chose from what those before it had left, which counted as known.
        before = np.zeros(0, dtype=np.int64)
        for name in CHOOSING_ORDER:
            rest, left = pool.after(before)
            own = batch.order[batch.source == names.index(name)]
            np.testing.assert_array_equal(own, left[CRITERIA[name](rest, wanted[name])])
            before = np.concatenate([before, own])
    assert sum(batch.shares.values()) == pytest.approx(1)


def test_a_batch_is_divided_as_its_shares_say():
    batch = _mixed(_pool(400), 40)
    taken = np.bincount(batch.source, minlength=4)
    np.testing.assert_allclose(taken, 40 * np.asarray(list(batch.shares.values())), atol=1)


def test_where_no_class_is_wanted_nobody_is_chosen_for_it():
    batch = _mixed(_pool(wanted=(0.0, 0.0)), 20)
    assert np.bincount(batch.source, minlength=4).tolist() == [6, 4, 10, 0]
    assert batch.shares["new_class"] == 0


def test_without_features_it_is_the_batch_of_pixels():
    pool = _pool(wanted=(0.0, 0.0))
    pool = replace(pool, space=np.full_like(pool.space, np.nan))
    batch = _mixed(pool, 12)
    np.testing.assert_array_equal(batch.order, pixel(pool, 12))
    assert set(batch.source.tolist()) == {0}
    assert batch.shares["pixel"] == 1


def test_unscored_images_without_features_come_last():
    pool = _pool(30)
    for values in (pool.metric, pool.space, pool.evidence):
        values[[4, 9]] = np.nan
    assert set(_mixed(replace(pool), 30).order[-2:].tolist()) == {4, 9}
    for values in (pool.metric, pool.space, pool.evidence):
        values[:] = np.nan
    assert sorted(_mixed(replace(pool), 30).order.tolist()) == list(range(30))


def test_equal_images_go_by_position():
    pool = replace(
        _pool(8),
        metric=np.ones(8),
        space=np.zeros((8, 5)),
        known=np.zeros((1, 5)),
        evidence=np.zeros((8, 2)),
        embed=lambda positions: np.zeros((len(positions), 2)),
    )
    batch = _mixed(pool, 8)
    assert sorted(batch.order.tolist()) == list(range(8))
    for number in range(len(CRITERIA)):
        own = batch.order[batch.source == number].tolist()
        assert own == sorted(own)


def test_the_order_of_the_pool_decides_nothing():
    pool = _pool()
    turn = np.random.default_rng(1).permutation(120)
    turned = replace(
        pool,
        metric=pool.metric[turn],
        space=pool.space[turn],
        evidence=pool.evidence[turn],
        embed=lambda positions: pool.embed(turn[positions]),
    )
    straight, other = _mixed(pool, 15), _mixed(turned, 15)
    np.testing.assert_array_equal(turn[other.order], straight.order)
    np.testing.assert_array_equal(other.source, straight.source)


def test_impossible_wishes_are_named():
    with pytest.raises(BudgetError, match="budget 21"):
        _mixed(_pool(20), 21)
    with pytest.raises(ConfigError, match="found"):
        _mixed(_pool(20), 2, _history(pixel=(2, 1)))


def test_a_find_is_a_wanted_class_or_one_that_nobody_labelled():
    assert sought_classes([0, 0.7, 0, 0.3], [9, 2, 0, 1]).tolist() == [False, True, True, True]
    assert sought_classes([], []).shape == (0,)
