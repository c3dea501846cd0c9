"""Fisher's exact test against scipy's."""

from __future__ import annotations

import pytest
from scipy import stats

from unseen.arrays.exact_test import more_often


@pytest.mark.parametrize(
    ("hits", "size", "other_hits", "other_size"),
    [
        (8, 10, 5, 60),
        (0, 10, 0, 60),
        (10, 10, 60, 60),
        (1, 10, 6, 60),
        (0, 5, 3, 5),
        (300, 999, 1, 4),
    ],
)
def test_it_is_the_one_sided_test_of_scipy(hits, size, other_hits, other_size):
    table = [[hits, size - hits], [other_hits, other_size - other_hits]]
    expected = stats.fisher_exact(table, alternative="greater")[1]
    assert more_often(hits, size, other_hits, other_size) == pytest.approx(expected)


def test_without_images_nothing_is_unlikely():
    assert more_often(0, 0, 3, 10) == 1
    assert more_often(3, 10, 0, 0) == 1
