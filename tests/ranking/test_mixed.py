from dataclasses import replace

import numpy as np
import pytest

from unseen.ranking.candidates import Candidates
from unseen.ranking.criteria.pixel import pixel
from unseen.ranking.mixed import (
    CRITERIA,
    History,
    batch_shares,
    earned_shares,
    mixed,
    trust_sentence,
    turns,
)
from unseen.ranking.rehearsal import Rehearsal

NAMES = list(CRITERIA)
SEARCH = np.asarray([True, True, True, False])
ALL = np.ones(4, bool)
NONE = History.none()


def make_pool(count=120, seed=0, wanted=(0.0, 1.0)):
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


def shares(has=SEARCH, history=NONE, **rehearsal):
    return batch_shares(np.asarray(has), history, Rehearsal(**rehearsal))


def choose(pool, budget, history=NONE, **rehearsal):
    return mixed(pool, budget, history=history, rehearsal=Rehearsal(**rehearsal))


@pytest.mark.parametrize(
    ("rehearsal", "found", "tried", "by_features", "new_class"),
    [
        # Features get as much as they tell held-back classes apart, within [.3, .7].
        *((r, None, 0, s, 0) for r, s in ((None, 0.7), (0.5, 0.5), (0.95, 0.7), (0.1, 0.3))),
        # A new class gets the chance that an image chosen for it holds it, within [.2, .8] ...
        *((r, 0, 0, 0.7, s) for r, s in ((None, 0.6), (0.9, 0.8), (0.5, 0.2), (0.75, 0.5))),
        # ... where a rehearsal counts as much as four images: (4 x .6 + found) / (4 + tried).
        (None, 4, 4, 0.7, 0.8),
        (None, 2, 4, 0.7, 0.55),
        (None, 0, 40, 0.7, 0.2),
    ],
)
def test_shares_follow_rehearsal_and_finds(rehearsal, found, tried, by_features, new_class):
    if found is None:
        given = shares(novelty=rehearsal)
    else:
        history = History(np.asarray([0, 0, 0, found]), np.asarray([0, 0, 0, tried]))
        given = shares(ALL, history, recognition=rehearsal)
    search = np.asarray([1 - by_features, by_features * 2 / 7, by_features * 5 / 7])
    np.testing.assert_allclose(given, [*(1 - new_class) * search, new_class])


def test_criteria_without_images_get_nothing_and_the_others_everything():
    assert shares(np.zeros(4, bool)).tolist() == [0, 0, 0, 0]
    for row in range(1, 16):
        has = np.asarray([bool(row >> k & 1) for k in range(4)])
        assert shares(has).sum() == pytest.approx(1)
        np.testing.assert_array_equal(shares(has) > 0, has)


def test_earned_shares_are_the_odds_after_one_success_and_one_failure():
    for found, tried, odds in (
        ((0, 0, 0), (0, 0, 0), (1, 1, 1)),
        ((4, 1, 0), (5, 5, 0), (5 / 2, 2 / 5, 5 / 2)),  # never tried: as much as the best
        ((0, 0), (5, 0), (1, 1)),
        ((10, 0), (10, 10), (11, 1 / 11)),
    ):
        earned = earned_shares(np.asarray(found), np.asarray(tried))
        np.testing.assert_allclose(earned, np.asarray(odds) / sum(odds))


@pytest.mark.parametrize("budget", [1, 10, 40, 120])
def test_no_image_is_taken_twice_and_the_sources_name_who_chose(budget):
    pool = make_pool()
    batch = choose(pool, budget)
    assert len(batch.order) == len(set(batch.order.tolist())) == budget
    assert sum(batch.shares.values()) == pytest.approx(1)
    wanted = dict(zip(NAMES, turns(list(batch.shares.values()), budget), strict=True))
    if budget <= 40:  # beyond, some cannot fill their share
        assert np.bincount(batch.source, minlength=4).tolist() == list(wanted.values())
        # Each chose from what those before it had left, which counted as known.
        before = np.zeros(0, dtype=np.int64)
        for name in ("new_class", "pixel", "novelty", "coverage"):
            rest, left = pool.after(before)
            own = batch.order[batch.source == NAMES.index(name)]
            np.testing.assert_array_equal(own, left[CRITERIA[name].choose(rest, wanted[name])])
            before = np.concatenate([before, own])


def test_without_features_it_is_the_batch_of_pixels():
    pool = make_pool(wanted=(0.0, 0.0))
    pool = replace(pool, space=np.full_like(pool.space, np.nan))
    batch = choose(pool, 12)
    np.testing.assert_array_equal(batch.order, pixel(pool, 12))
    assert set(batch.source.tolist()) == {0}
    assert batch.shares["pixel"] == 1


def test_the_trust_sentence_sums_the_shares_of_each_kind():
    parts = dict(zip(NAMES, (0.25, 0.15, 0.35, 0.25), strict=True))
    told = trust_sentence(parts, Rehearsal(0.6, 0.8, 2), 20)
    assert told == (
        "Features separate held-back classes with 0.60 and recognise one from a single image with "
        "0.80 (AUROC, .5 is chance): 10 of 20 images by features, 5 by pixels, 5 for classes that "
        "were just found."
    )
    parts["new_class"] = 0
    told = trust_sentence(parts, Rehearsal(), 20)
    assert told == (
        "Nothing could be rehearsed, as too few labelled images lack a class: 10 of 20 images by "
        "features, 5 by pixels."
    )
