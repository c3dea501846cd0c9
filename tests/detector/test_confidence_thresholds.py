"""The threshold is the lowest one that is good enough, by brute force over all of them."""

import numpy as np
import pytest
from scipy import optimize, stats

from unseen.detector.confidence_thresholds import confidence_threshold


def bound(right, kept, level):
    """Clopper-Pearson by its definition: the p at which so many or more are this unlikely."""
    if not right:
        return 0.0
    return optimize.brentq(
        lambda p: stats.binom.sf(right - 1, kept, p) - (1 - level), 0, 1, xtol=1e-13
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_lowest_confidence_that_is_good_enough(seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.05, 1, 200).round(2)  # with ties
    right = rng.random(200) < scores**0.3
    for wanted, level in ((0.8, 0.9), (0.9, 0.8), (0.7, 0.95)):
        threshold = confidence_threshold(scores, right, 300, wanted=wanted, level=level)
        cuts = {t: scores >= t for t in np.unique(scores)}
        bounds = {t: bound(right[kept].sum(), kept.sum(), level) for t, kept in cuts.items()}
        expected = min((t for t in cuts if bounds[t] >= wanted), default=None)
        assert threshold.confidence == expected
        if expected is None:
            assert threshold.kept == 0
            continue
        kept = cuts[expected]
        assert threshold.kept == kept.sum()
        assert threshold.precision == pytest.approx(right[kept].mean())
        assert threshold.recall == pytest.approx(right[kept].sum() / 300)
        assert threshold.bound == pytest.approx(bounds[expected], abs=1e-9)


def test_it_takes_45_predictions_without_a_mistake_to_be_sure_of_95_per_cent():
    def right(count):
        scores = np.linspace(0.5, 1, count)
        return confidence_threshold(scores, np.ones(count, bool), count, wanted=0.95)

    assert right(44).confidence is None
    assert right(45).confidence == 0.5


def test_without_predictions_nothing_is_kept():
    none = confidence_threshold([], [], 5, wanted=0.9)
    assert (none.confidence, none.precision, none.recall, none.kept) == (None, None, 0.0, 0)
    assert confidence_threshold([], [], 0, wanted=0.9).recall is None


def test_what_is_out_of_reach_says_how_good_it_got():
    best = confidence_threshold([0.9, 0.8], [True, False], 2, wanted=0.9)
    assert (best.confidence, best.precision) == (None, 1.0)
    assert best.bound == pytest.approx(0.1)  # one of one, at a level of .9
