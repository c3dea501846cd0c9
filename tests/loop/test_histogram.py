"""The histogram of the ranking metric."""

from __future__ import annotations

import numpy as np
import pytest

from unseen.loop.ranking import BINS, histogram


def test_every_image_is_in_one_bin(rng):
    pool, batch = rng.gamma(2, size=5000), rng.gamma(9, size=100)
    found = histogram(pool, batch)
    assert (sum(found.pool), sum(found.batch)) == (5000, 100)
    assert len(found.edges) - 1 == len(found.pool) == len(found.batch) <= BINS
    assert all(a < b for a, b in zip(found.edges, found.edges[1:], strict=False))


def test_bins_count_what_numpy_counts(rng):
    pool = rng.random(1000)
    found = histogram(pool, np.asarray([]))
    edges = [*found.edges[:-1], np.inf]
    assert found.pool == np.histogram(pool, edges)[0].tolist()


def test_an_outlier_goes_into_the_open_last_bin_and_squeezes_nothing(rng):
    pool = rng.random(1000)
    plain, with_outlier = (histogram(np.append(pool, x), np.asarray([])) for x in (0.5, 1e6))
    assert with_outlier.edges[-1] == pytest.approx(plain.edges[-1], rel=0.01)
    assert with_outlier.is_open
    assert with_outlier.maximum == 1e6
    assert with_outlier.pool[-1] > 0


def test_the_batch_is_spread_over_bins_although_it_holds_the_highest_values(rng):
    pool = rng.gamma(2, size=10_000)
    batch, rest = np.sort(pool)[-50:], np.sort(pool)[:-50]
    assert sum(n > 0 for n in histogram(rest, batch).batch) >= 5


@pytest.mark.parametrize("value", [0.0, 3.0, 1e9])
def test_equal_values_make_one_full_bin(value):
    found = histogram(np.full(30, value), np.asarray([]))
    assert max(found.pool) == 30
    assert found.edges[0] < found.edges[-1]


def test_without_values_there_is_none():
    assert histogram(np.asarray([]), np.asarray([])) is None
