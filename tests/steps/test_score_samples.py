"""Thresholds belong to the pool, and a run with nothing to do changes nothing."""

from __future__ import annotations

import pytest

import unseen
from unseen.dataset import iterations
from unseen.dataset.fields import Names

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def trained(wafers):
    unseen.train_unet(wafers, steps=2, crop_size=32, channels=(4, 8))
    return wafers


def pool(dataset):
    return dataset.match_tags("test", bool=False).exists("ground_truth", False)


def test_a_view_scored_first_does_not_decide_the_thresholds_of_the_pool(trained):
    part = unseen.score_samples(pool(trained).limit(2))
    whole = unseen.score_samples(trained)
    assert (part.scored, whole.scored, whole.already_scored) == (2, 8, 0)
    assert whole.thresholds != part.thresholds
    again = unseen.score_samples(trained, rescore=True)
    assert again.thresholds == whole.thresholds


def test_a_view_scored_later_takes_the_thresholds_of_the_pool(trained):
    whole = unseen.score_samples(trained)
    test = unseen.score_samples(trained.match_tags("test"))
    assert test.scored == 4
    assert test.thresholds == whole.thresholds
    assert unseen.score_samples(trained).already_scored == 8


def test_scoring_what_is_scored_already_keeps_the_record(trained):
    unseen.score_samples(trained)
    before = iterations.read_record(trained, Names(), 0)["steps"]["score_samples"]
    again = unseen.score_samples(trained)
    assert (again.scored, again.already_scored) == (0, 8)
    assert iterations.read_record(trained, Names(), 0)["steps"]["score_samples"] == before


def test_a_named_checkpoint_can_rank(trained):
    first = unseen.score_samples(trained).checkpoint
    unseen.train_unet(trained, steps=3, seed=4, crop_size=32, channels=(4, 8))
    unseen.score_samples(trained, checkpoint=first)
    assert len(unseen.select_batch(trained, budget=3).sample_ids) == 3
