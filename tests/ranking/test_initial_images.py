"""The first images show each kind there is, whatever the order of the directory."""

from __future__ import annotations

import numpy as np
import pytest

from unseen.errors import BudgetError, ShapeError
from unseen.ranking.initial_images import initial_images


@pytest.fixture
def kinds():
    """(60, 6) features of five kinds of 4 to 20 images, and the kind of each."""
    rng = np.random.default_rng(5)
    kind = np.repeat(np.arange(5), (20, 16, 12, 8, 4))
    middles = 10 * np.eye(6)[:5]
    return middles[kind] + rng.normal(0, 0.1, (60, 6)), kind


def test_of_clear_kinds_one_image_each_is_chosen_the_largest_kind_first(kinds):
    space, kind = kinds
    assert kind[initial_images(space, 5, 0)].tolist() == [0, 1, 2, 3, 4]


def test_the_order_of_the_images_and_another_call_change_nothing(kinds):
    space, _ = kinds
    order = np.random.default_rng(1).permutation(len(space))
    chosen = initial_images(space, 9, 3)
    assert initial_images(space, 9, 3).tolist() == chosen.tolist()
    assert order[initial_images(space[order], 9, 3)].tolist() == chosen.tolist()


def test_images_that_cannot_be_read_come_last(kinds):
    space, _ = kinds
    space[[0, 7, 30]] = np.nan
    assert not {0, 7, 30} & set(initial_images(space, 57, 0).tolist())
    assert initial_images(space, 60, 0)[-3:].tolist() == [0, 7, 30]
    assert initial_images(np.full((3, 2), np.nan), 2, 0).tolist() == [0, 1]


@pytest.mark.parametrize("count", [60, 99])
def test_as_many_as_there_are_is_all_of_them(kinds, count):
    assert sorted(initial_images(kinds[0], count, 0)) == list(range(60))


def test_images_of_the_same_features_count_once():
    space = np.repeat(np.asarray([[0.0, 1.0], [5.0, 2.0], [9.0, 9.0]]), (50, 3, 1), axis=0)
    assert sorted(initial_images(space, 3, 0)) == [0, 50, 53]
    assert sorted(initial_images(space, 4, 0)) == [0, 1, 50, 53]


def test_images_that_are_all_alike_are_taken_in_order():
    assert initial_images(np.ones((6, 4)), 3, 0).tolist() == [0, 1, 2]
    assert initial_images(np.ones((6, 1)), 3, 0).tolist() == [0, 1, 2]


def test_nothing_to_choose_and_nothing_wanted():
    assert initial_images(np.zeros((0, 4)), 3, 0).tolist() == []
    assert initial_images(np.eye(4), 0, 0).tolist() == []


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(ShapeError, match=r"\(N, D\)"):
        initial_images(np.zeros(3), 1, 0)
    with pytest.raises(BudgetError, match="count=-1"):
        initial_images(np.eye(3), -1, 0)
