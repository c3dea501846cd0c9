import numpy as np
import pytest

from unseen.errors import ShapeError
from unseen.ranking.criteria.contract import Candidates
from unseen.ranking.criteria.new_class import new_class, prevalence, wanted_classes


def _pool(evidence, wanted):
    count = len(evidence)
    return Candidates(
        metric=np.zeros(count),
        space=np.zeros((count, 1)),
        known=np.zeros((0, 1)),
        evidence=np.asarray(evidence, float),
        wanted=np.asarray(wanted, float),
        embed=lambda positions: np.zeros((len(positions), 1)),
    )


def test_new_classes_are_wanted_by_the_square_of_how_rare_they_are():
    # On average .3: weights 1 / .01 and 1 / .04.
    wanted = wanted_classes([0.6, 0.1, 0.2], [10, 2, 3], [10, 0, 0])
    np.testing.assert_allclose(wanted, [0, 0.8, 0.2])


def test_what_the_initial_images_show_or_nobody_labelled_or_is_common_is_not_wanted():
    assert wanted_classes([0.1, 0.6], [1, 9], [1, 9]).tolist() == [0, 0]
    assert wanted_classes([0.6, 0.0], [9, 0], [9, 0]).tolist() == [0, 0]
    assert wanted_classes([0.1, 0.6], [9, 5], [9, 0]).tolist() == [0, 0]
    assert wanted_classes([0.0, 0.0], [0, 0], [0, 0]).tolist() == [0, 0]
    assert wanted_classes([], [], []).shape == (0,)


def test_a_class_that_no_image_seems_to_hold_counts_as_one_in_a_thousand():
    wanted = wanted_classes([0.5, 0.0, 1e-3], [5, 1, 1], [5, 0, 0])
    np.testing.assert_allclose(wanted, [0, 0.5, 0.5])


def test_counts_of_other_lengths_are_refused():
    with pytest.raises(ShapeError, match="2 shares, 1 labelled counts and 2 initial"):
        wanted_classes([0.1, 0.2], [1], [0, 0])


def test_prevalence_goes_by_the_nearest_labelled_image(rng):
    space, known = rng.normal(size=(30, 3)), rng.normal(size=(7, 3))
    holds = rng.uniform(size=(7, 2)) < 0.4
    space[4] = known[3] = np.nan
    images = [p for p in np.concatenate([space, known]) if not np.isnan(p).any()]
    there = [i for i in range(7) if i != 3]
    nearest = [min(there, key=lambda i: np.linalg.norm(p - known[i])) for p in images]
    np.testing.assert_allclose(prevalence(space, known, holds), holds[nearest].mean(axis=0))


def test_without_a_labelled_image_nothing_is_prevalent():
    assert prevalence(
        np.zeros((3, 2)), np.full((1, 2), np.nan), np.ones((1, 4), bool)
    ).tolist() == [
        0,
        0,
        0,
        0,
    ]


def test_classes_take_turns_in_proportion_and_each_ranks_by_its_evidence(rng):
    evidence = rng.normal(size=(60, 3))
    evidence[:, 0] += np.where(np.arange(60) < 30, 100, 0)
    evidence[:, 2] += np.where(np.arange(60) >= 30, 100, 0)
    found = new_class(_pool(evidence, [0.75, 0, 0.25]), 12)
    first, last = found[found < 30], found[found >= 30]
    assert len(first) == 9
    assert first.tolist() == np.argsort(-evidence[:, 0])[:9].tolist()
    assert last.tolist() == np.argsort(-evidence[:, 2])[:3].tolist()


def test_only_images_with_evidence_for_a_wanted_class_are_offered():
    nan = np.nan
    evidence = [[1, nan, nan], [nan, 3, nan], [2, nan, nan], [2, nan, 9]]
    # The last class is not wanted, and of the second nothing is known: ties go by position.
    assert new_class(_pool(evidence, [1, 0, 0]), 4).tolist() == [2, 3, 0]
    assert new_class(_pool(evidence, [0.5, 0.5, 0]), 9).tolist() == [2, 1, 3, 0]
    assert new_class(_pool(evidence, [0, 0, 0]), 4).tolist() == []
    assert new_class(_pool(np.full((4, 1), nan), [1]), 4).tolist() == []
