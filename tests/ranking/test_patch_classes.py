"""Patches of labelled images: their classes, how well they tell, and regions like them."""

import numpy as np
import pytest

from unseen.ranking.patch_classes import (
    BACKGROUND,
    IGNORED,
    SHRINKAGE,
    PatchSpace,
    learn_patch_classes,
    patch_labels,
)
from unseen.ranking.rehearsal import FEWEST_OTHERS, Rehearsal, rehearse
from unseen.ranking.similar import learn_likeness, similar_regions


def label(boxes, classes, **more):
    """Labels of 6 x 6 patches of 10 px; centres at 5, 15, ... 55."""
    return patch_labels(boxes, classes, grid=(6, 6), size=(60, 60), **more).reshape(6, 6)


def test_a_patch_belongs_to_the_box_around_its_centre_and_the_ring_to_nobody():
    assert (label([], []) == BACKGROUND).all()
    expected = np.zeros((6, 6), int)
    expected[1:5, 1:5] = IGNORED
    expected[2:4, 2:4] = 3
    np.testing.assert_array_equal(label([[20, 20, 40, 40]], [2]), expected)
    # Up to 4 px more or less, the same centres are inside.
    np.testing.assert_array_equal(label([[16, 24, 44, 36]], [2])[2:4, 2:4], expected[2:4, 2:4])
    wide = patch_labels([[20, 0, 40, 10]], [0], grid=(2, 6), size=(60, 20)).reshape(2, 6)
    assert wide[0].tolist() == [BACKGROUND, IGNORED, 1, 1, IGNORED, BACKGROUND]


@pytest.mark.parametrize(
    ("box", "patch", "ring"), [((21, 31, 23, 33), [3, 2], 3), ((59, 59, 61, 61), [5, 5], 0)]
)
def test_a_box_between_the_centres_takes_the_patch_with_its_own(box, patch, ring):
    labels = label([box], [1])
    assert np.argwhere(labels == 2).tolist() == [patch]
    assert (labels == IGNORED).sum() == ring


def test_the_smaller_box_is_on_top_in_any_order():
    boxes, classes = np.asarray([[0, 0, 60, 60], [20, 20, 40, 40]]), np.asarray([0, 1])
    expected = np.ones((6, 6), int)
    expected[2:4, 2:4] = 2
    for order in (slice(None), slice(None, None, -1)):
        np.testing.assert_array_equal(label(boxes[order], classes[order]), expected)


def test_outside_the_scope_nothing_is_background_but_boxes_still_count():
    scope = [[0, 0, 30, 60]]
    labels = label([], [], scope=scope)
    assert (labels[:, :3] == BACKGROUND).all()
    assert (labels[:, 3:] == IGNORED).all()
    assert label([[40, 40, 60, 60]], [0], scope=scope)[5, 5] == 1
    assert (label([], [], scope=np.zeros((0, 4))) == IGNORED).all()


def test_whitened_patches_have_mean_0_variance_1_and_no_correlation(rng):
    patches = rng.normal(5, 1, (4000, 6)) @ rng.normal(size=(6, 6)) * [1, 100, 1e-2, 1, 1, 1]
    white = PatchSpace.of(patches)(patches.reshape(40, 100, 6))
    assert white.shape == (4000, 6)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(white.T @ white / 4000, np.eye(6), atol=0.05)
    many = rng.normal(size=(500, 90))
    many[:, 3] = 1
    white = PatchSpace.of(many)(many)
    assert white.shape == (500, 64)  # the widest directions
    assert np.isfinite(white).all()


def test_the_discriminant_is_that_of_scikit_learn_with_the_same_shrinkage(rng):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    mix = rng.normal(size=(5, 5))
    points = np.concatenate([rng.normal(size=(300, 5)) @ mix, rng.normal(2, 1, (60, 5)) @ mix])
    names = np.repeat([BACKGROUND, 1], [300, 60])
    learned = learn_patch_classes([points[::2], points[1::2]], [names[::2], names[1::2]])
    # cov + s round = (1 + s) ((1 - t) cov + t round) with t = s / (1 + s).
    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=SHRINKAGE / (1 + SHRINKAGE), priors=[300 / 360, 60 / 360]
    ).fit(points, names)
    ours, peer = learned.weights[1] - learned.weights[0], theirs.coef_[0]
    assert ours @ peer / np.linalg.norm(ours) / np.linalg.norm(peer) == pytest.approx(1)
    # Half-way between the means neither is more likely.
    middle = (points[names == 0].mean(axis=0) + points[names == 1].mean(axis=0)) / 2
    assert learned.margins(middle[None], 1)[0] == pytest.approx(0, abs=1e-9)
    assert learned.margins(points, 1) == pytest.approx(-learned.margins(points, 0))


def test_the_margin_is_over_the_best_of_the_other_classes(rng):
    points = np.concatenate([rng.normal(10 * np.eye(3)[k], 1, (40, 3)) for k in range(3)])
    names = np.repeat([0, 1, 4], 40)
    learned = learn_patch_classes([points], [names])
    assert learned.labels.tolist() == [0, 1, 4]
    for label in (0, 1, 4):
        np.testing.assert_array_equal(learned.margins(points, label) > 0, names == label)


def test_the_evidence_of_an_image_is_the_mean_of_its_best_5_percent(rng):
    learned = learn_patch_classes([np.asarray([[0.0], [1], [4], [5]])], [np.asarray([0, 0, 1, 1])])
    image = rng.normal(size=(100, 1))
    best = np.sort(learned.margins(image, 1))[-5:]
    assert learned.evidence(image, 1) == pytest.approx(best.mean())
    few = image[:7]
    assert learned.evidence(few, 1) == pytest.approx(learned.margins(few, 1).max())


def test_a_class_is_known_when_there_was_a_patch_of_it_and_one_of_another():
    points = np.zeros((2, 3))
    for labels, known in (([0, 1], True), ([1, 1], False), ([0, 2], False), ([-1, -1], False)):
        assert learn_patch_classes([points], [np.asarray(labels)]).knows(1) is known
    assert not learn_patch_classes([], []).knows(1)


def _labelled(rng, count=4, apart=20.0, gap=30.0):
    """Two classes, images of each far from the other; of 25 patches 5 show the class."""
    kind = np.repeat([0, 1], count)
    known = rng.normal(size=(2 * count, 3)) + apart * np.eye(2, 3)[kind]
    holds = np.eye(2, dtype=bool)[kind]
    labels = [np.where(np.arange(25) < 5, k + 1, 0) for k in kind]
    patches = [rng.normal(size=(25, 4)) for _ in kind]
    for image, k in zip(patches, kind, strict=True):
        image[:5, k] += gap
    return known, holds, patches, labels


def test_separable_classes_are_always_found_and_others_by_chance(rng):
    assert rehearse(*_labelled(rng)) == Rehearsal(1.0, 1.0, 2)
    told = rehearse(*_labelled(rng, count=60, apart=0, gap=0))
    assert told.novelty == pytest.approx(0.5, abs=0.1)
    assert told.recognition == pytest.approx(0.5, abs=0.2)


def test_nothing_is_rehearsed_with_too_few_images_of_other_kinds(rng):
    assert rehearse(*_labelled(rng, count=FEWEST_OTHERS - 1)) == Rehearsal()
    assert rehearse(*_labelled(rng, count=FEWEST_OTHERS)).classes == 2
    known, holds, patches, labels = _labelled(rng)
    assert rehearse(known, np.ones_like(holds), patches, labels) == Rehearsal()
    assert rehearse(known, np.zeros_like(holds), patches, labels) == Rehearsal()
    assert rehearse(np.zeros((0, 3)), np.zeros((0, 2), bool), [], []) == Rehearsal()


def test_from_the_only_image_of_a_class_nothing_can_be_recognised(rng):
    known, holds, patches, labels = _labelled(rng)
    told = rehearse(known[3:], holds[3:], patches[3:], labels[3:])
    assert told == Rehearsal(1, None, 1)  # the other class has no other images than the one


def test_images_without_features_are_left_out(rng):
    known, holds, patches, labels = _labelled(rng)
    expected = rehearse(known, holds, patches, labels)
    gaps = np.insert(known, [0, 5], np.nan, axis=0)
    shown = np.insert(holds, [0, 5], True, axis=0)
    for place in (0, 6):
        patches.insert(place, np.zeros((0, 0)))
        labels.insert(place, np.zeros(0, np.int64))
    assert rehearse(gaps, shown, patches, labels) == expected
    assert rehearse(np.full_like(gaps, np.nan), shown, patches, labels) == Rehearsal()


def test_each_peak_makes_one_region_of_what_reaches_half_its_margin():
    margins = np.full((4, 10), -1.0)
    margins[1, 1:5] = [4, 8, 5, 3]
    margins[3, 8:] = [2, 6]
    first, second = similar_regions(margins, limit=5)
    assert (first.margin, first.xywh) == (8, (0.1, 0.25, pytest.approx(0.3), 0.25))
    assert (second.margin, second.xywh) == (6, (0.9, 0.75, 0.1, 0.25))
    assert similar_regions(margins, limit=1) == [first]
    # What was given is not found again, and neither is what lies below zero.
    assert similar_regions(margins, limit=5, is_given=np.arange(40).reshape(4, 10) < 20) == [second]
    assert similar_regions(np.full((4, 5), -1.0), limit=3) == []
    assert similar_regions(np.zeros((0, 0)), limit=3) == []


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
