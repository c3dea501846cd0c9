"""Regions that look like examples: closed forms on small maps."""

import numpy as np
import pytest

from unseen.ranking.similar import learn_likeness, similar_regions


def test_without_patches_or_above_zero_there_is_nothing():
    assert similar_regions(np.zeros((0, 0)), limit=3) == []
    assert similar_regions(np.full((4, 5), -1.0), limit=3) == []


def test_each_peak_makes_one_region_of_what_reaches_half_its_margin():
    margins = np.full((4, 10), -1.0)
    margins[1, 1:5] = [4, 8, 5, 3]
    margins[3, 8:] = [2, 6]
    first, second = similar_regions(margins, limit=5)
    assert (first.margin, first.xywh) == (8, (0.1, 0.25, pytest.approx(0.3), 0.25))
    assert (second.margin, second.xywh) == (6, (0.9, 0.75, 0.1, 0.25))
    assert similar_regions(margins, limit=1) == [first]


def test_what_was_given_is_not_found_again():
    margins = np.full((3, 5), -1.0)
    margins[1, 0], margins[1, 4] = 9, 2
    is_given = np.zeros((3, 5), bool)
    is_given[:, :2] = True
    assert [r.margin for r in similar_regions(margins, limit=5, is_given=is_given)] == [2]


def test_unwanted_examples_push_their_like_down(rng):
    def cloud(centre, n=40):
        return rng.normal(0, 0.1, (n, 2)) + centre

    ordinary, wanted, unwanted = cloud((0, 0), 200), cloud((3, 1)), cloud((3, -1))
    ones = np.ones(40, np.int64)
    before = learn_likeness([wanted], [ones], ordinary)
    after = learn_likeness([wanted, unwanted], [ones, 2 * ones], ordinary)
    assert (before.margins(unwanted) > 0).all()
    assert (after.margins(wanted) > 0).all()
    assert after.margins(unwanted).max() < after.margins(wanted).min()
    gap = after.margins(wanted).mean() - after.margins(unwanted).mean()
    assert gap > before.margins(wanted).mean() - before.margins(unwanted).mean()
    assert after.confidence(after.usual) == 0.5
