"""Ways to choose against brute force; one function chooses for product and benchmark."""

import math

import numpy as np
import pytest

from unseen.errors import BudgetError
from unseen.ranking import ranking_metric, selection
from unseen.ranking.choosing import Pool, choose
from unseen.ranking.selection import (
    alternate,
    balanced,
    balanced_candidates,
    candidates,
    diverse,
    plain,
)

NAN = math.nan


@pytest.mark.parametrize(
    "choose",
    [
        lambda n: plain([1.0, 2.0], n),
        lambda n: candidates([1.0, 2.0], n),
        lambda n: diverse([1.0, 2.0], np.eye(2), n),
        lambda n: balanced(np.ones((2, 3)), [0, 0, 0], n),
    ],
)
def test_a_budget_is_from_nothing_to_the_whole_pool(choose):
    assert len(choose(0)) == 0
    for budget in (3, -1):
        with pytest.raises(BudgetError, match=f"budget {budget}; expected 0 to 2"):
            choose(budget)
    assert sorted(choose(2)) == [0, 1]


def test_plain_takes_the_highest_then_the_earlier_and_the_unscored_last():
    assert candidates(np.arange(10.0), 2).tolist() == [9, 8, 7, 6, 5, 4]  # three times the budget
    metric = [1, NAN, 3, 3, -math.inf, 2, NAN]
    assert plain(metric, 7).tolist() == [2, 3, 5, 0, 4, 1, 6]
    assert plain(metric, 2).tolist() == [2, 3]


def _diverse_by_brute_force(metric, points, budget):
    chosen = []
    for _ in range(budget):
        left = [i for i in range(len(metric)) if i not in chosen]

        def gain(i):
            nearest = min((math.dist(points[i], points[j]) for j in chosen), default=1.0)
            return metric[i] * nearest

        chosen.append(max(left, key=lambda i: (gain(i), metric[i], -i)))
    return chosen


def test_diverse_agrees_with_brute_force(rng):
    for _ in range(30):
        count = int(rng.integers(1, 25))
        metric = rng.uniform(0, 5, count)
        points = rng.normal(size=(count, 3))
        budget = int(rng.integers(1, count + 1))
        expected = _diverse_by_brute_force(metric, points, budget)
        assert diverse(metric, points, budget).tolist() == expected


def test_diverse_avoids_duplicates_until_nothing_else_is_left():
    metric = [5.0, 4.9, 1.0, 4.8]
    points = np.asarray([[0, 0], [0, 0], [1, 1], [0, 0]], float)
    assert diverse(metric, points, 4).tolist() == [0, 2, 1, 3]


def test_diverse_leaves_what_was_never_scored_or_embedded_for_last():
    points = np.asarray([[0.0, 0], [9, 9], [NAN, NAN], [1, 0]])
    assert diverse([1.0, NAN, 0.9, 0.5], points, 4).tolist() == [0, 3, 2, 1]


def _balanced_by_brute_force(counts, labelled, budget):
    present, chosen = np.asarray(labelled, float), []
    for _ in range(budget):
        left = [i for i in range(len(counts)) if i not in chosen]
        gains = {i: math.fsum(np.log1p(counts[i] / (present + 1))) for i in left}
        best = max(left, key=lambda i: (gains[i], -i))
        chosen.append(best)
        present = present + counts[best]
    return chosen


def test_balanced_agrees_with_brute_force(rng):
    for _ in range(30):
        count, classes = int(rng.integers(1, 40)), int(rng.integers(1, 5))
        counts = rng.gamma(0.5, 2.0, (count, classes))
        labelled = rng.integers(0, 50, classes)
        budget = int(rng.integers(1, count + 1))
        expected = _balanced_by_brute_force(counts, labelled, budget)
        assert balanced(counts, labelled, budget).tolist() == expected


@pytest.mark.parametrize("most", [20, 21, 200])
def test_candidates_of_balanced_hold_the_best_of_each_class_also_part_by_part(rng, most):
    counts = rng.gamma(1, size=(60, 3)).round(1)  # with ties
    counts[[5, 40]] = NAN
    known = [4, 0, 1]
    kept = balanced_candidates(counts, known, most)
    assert min(60, most) / 2 <= len(kept) <= most
    assert kept.tolist() == (list(range(60)) if most >= 60 else sorted(set(kept.tolist())))
    for column in counts.T:
        assert set(plain(column, min(60, most // 6))) <= set(kept)
    rows = np.zeros(0, dtype=np.int64)
    for start in range(0, 60, 7):
        rows = np.concatenate([rows, np.arange(start, min(start + 7, 60))])
        rows = rows[balanced_candidates(counts[rows], known, most)]
    assert set(kept) <= set(rows)
    assert len(rows) <= most
    assert kept[balanced(counts[kept], known, 1)] == balanced(counts, known, 1)


def test_balanced_prefers_the_rare_class_and_leaves_the_unscored_for_last():
    counts = [[5.0, 0.0], [NAN, 9.0], [0.0, 1.0], [0.0, 0.0]]
    assert balanced(counts, [100, 0], 4).tolist() == [2, 0, 3, 1]
    assert balanced([[0.0], [0.0], [NAN]], [3], 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("orders", "shares", "budget", "images", "rankings"),
    [
        # Equal shares take turns, and the first ranking starts.
        ([[0, 1, 2], [5, 4, 3]], [1, 1], 6, [0, 5, 1, 4, 2, 3], [0, 1, 0, 1, 0, 1]),
        # An image of both is taken once and costs no turn.
        ([[0, 1, 2], [0, 1, 9]], [1, 1], 4, [0, 1, 2, 9], [0, 1, 0, 1]),
        # A ranking that ends leaves its turns to the other.
        ([[0], [1, 2, 3]], [1, 1], 4, [0, 1, 2, 3], [0, 1, 1, 1]),
        ([[3, 1], [2, 0]], [0, 3], 9, [2, 0], [1, 1]),
        ([[], []], [1, 1], 2, [], []),
        ([[0], [1]], [0, 0], 2, [], []),
    ],
)
def test_rankings_take_turns(orders, shares, budget, images, rankings):
    taken, ranking = alternate(orders, shares, budget)
    assert (taken.tolist(), ranking.tolist()) == (images, rankings)


@pytest.mark.parametrize("shares", [(5, 3, 2), (1, 1, 1), (0.9, 0.1, 0)])
def test_every_beginning_of_a_batch_is_within_one_image_of_the_shares(shares):
    orders = np.arange(300).reshape(3, 100)
    _, ranking = alternate(orders, shares, 60)
    part = np.asarray(shares) / sum(shares)
    for count in range(1, 61):
        taken = np.bincount(ranking[:count], minlength=3)
        assert np.abs(taken - count * part).max() <= 1


SIZE = 30
#: Every third image was never scored.
SCORED = np.asarray([i for i in range(SIZE) if i % 3])


@pytest.fixture
def pool():
    rng = np.random.default_rng(5)
    count = len(SCORED)
    embeddings = rng.normal(size=(count, 4))
    return Pool(
        SIZE,
        SCORED,
        metric=rng.gamma(1, size=count),
        embed=lambda rows: embeddings[rows],
        expected_counts=rng.gamma(1, size=(count, 3)),
        labelled_counts=[5, 1, 0],
    )


def batch(strategy, pool, budget, share=0.0, seed=51):
    chosen = choose(strategy, pool, budget, random_share=share, rng=np.random.default_rng(seed))
    assert len(set(chosen.order.tolist())) == budget
    return chosen


def test_each_strategy_ranks_the_scored_images_as_its_function_does(pool):
    order = {
        "plain": selection.plain(pool.metric, 6),
        "entropy": selection.plain(pool.metric, 6),
        "foreground": selection.plain(pool.metric, 6),
        "balanced": selection.balanced(pool.expected_counts, pool.labelled_counts, 6),
    }
    best = selection.candidates(pool.metric, 6)
    order["diverse"] = best[selection.diverse(pool.metric[best], pool.embed(best), 6)]
    for strategy, rows in order.items():
        assert batch(strategy, pool, 6).order.tolist() == SCORED[rows].tolist()
    assert batch("sequential", pool, 6).order.tolist() == list(range(6))


def test_random_is_uniform_and_follows_the_generator(pool):
    draws = [batch("random", pool, 6, seed=seed).order for seed in range(1000)]
    share = np.bincount(np.concatenate(draws), minlength=SIZE) / 1000
    np.testing.assert_allclose(share, 6 / SIZE, atol=0.06)
    assert draws[51].tolist() == np.random.default_rng(51).permutation(SIZE)[:6].tolist()


@pytest.mark.parametrize("strategy", ["plain", "sequential"])
@pytest.mark.parametrize(("share", "kept"), [(0.0, 4), (0.2, 3), (0.5, 2), (1.0, 0)])
def test_a_random_share_keeps_the_best_and_draws_from_all_others(pool, strategy, share, kept):
    first = batch(strategy, pool, kept).order.tolist()
    drawn = set()
    for seed in range(200):
        order = batch(strategy, pool, 4, share, seed).order.tolist()
        assert order[:kept] == first
        drawn.update(order[kept:])
    assert drawn == (set(range(SIZE)) - set(first) if kept < 4 else set())


def test_too_few_scored_images_are_completed_at_random(pool):
    order = batch("plain", pool, 25).order
    assert set(order[:20].tolist()) == set(SCORED.tolist())
    rest = np.setdiff1d(np.arange(SIZE), SCORED)
    expected = np.random.default_rng(51).permutation(rest)[:5]
    assert order[20:].tolist() == expected.tolist()


def test_entropy_and_foreground_bring_their_own_metric():
    assert ranking_metric("entropy", "alpha") == "entropy"
    assert ranking_metric("mixed", "alpha") == "alpha"
