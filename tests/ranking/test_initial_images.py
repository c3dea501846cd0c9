"""The first images show each kind there is, whatever the order of the directory."""

import numpy as np
import pytest

from unseen.ranking.initial_images import initial_images


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


@pytest.mark.parametrize(
    ("space", "count", "expected"),
    [
        (np.repeat([[0.0, 1.0], [5.0, 2.0], [9.0, 9.0]], (50, 3, 1), axis=0), 3, [0, 50, 53]),
        (np.repeat([[0.0, 1.0], [5.0, 2.0], [9.0, 9.0]], (50, 3, 1), axis=0), 4, [0, 1, 50, 53]),
        (np.ones((6, 4)), 3, [0, 1, 2]),
        (np.ones((6, 1)), 3, [0, 1, 2]),
        (np.zeros((0, 4)), 3, []),
        (np.eye(4), 0, []),
    ],
)
def test_images_with_the_same_features_count_once_and_go_by_position(space, count, expected):
    assert sorted(initial_images(space, count, 0).tolist()) == expected
