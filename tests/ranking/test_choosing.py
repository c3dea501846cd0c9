"""One function chooses for the product and for the benchmark."""

import numpy as np
import pytest

from unseen.ranking import ranking_metric, selection
from unseen.ranking.choosing import Pool, choose
from unseen.ranking.feature_evidence import FeatureEvidence
from unseen.ranking.rehearsal import Rehearsal

SIZE = 30
#: Every third image was never scored.
SCORED = np.asarray([i for i in range(SIZE) if i % 3])


@pytest.fixture
def pool():
    rng = np.random.default_rng(5)
    count = len(SCORED)
    embeddings, space = rng.normal(size=(count, 4)), rng.normal(size=(count, 3))
    evidence = FeatureEvidence(
        space=space,
        known=rng.normal(size=(3, 3)),
        evidence=rng.normal(size=(count, 2)),
        wanted=np.asarray([0.0, 1]),
        sought=np.asarray([False, True]),
        rehearsal=Rehearsal(),
    )
    return Pool(
        SIZE,
        SCORED,
        metric=rng.gamma(1, size=count),
        embed=lambda rows: embeddings[rows],
        expected_counts=rng.gamma(1, size=(count, 3)),
        labelled_counts=[5, 1, 0],
        features=evidence,
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
