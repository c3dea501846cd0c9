import numpy as np
import pytest

from unseen.ranking.rehearsal import FEWEST_OTHERS, Rehearsal, rehearse


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


def test_separable_classes_are_found_without_fail(rng):
    found = rehearse(*_labelled(rng))
    assert found == Rehearsal(1.0, 1.0, 2)


def test_classes_that_look_like_anything_else_are_found_by_chance(rng):
    found = rehearse(*_labelled(rng, count=60, apart=0, gap=0))
    assert found.novelty == pytest.approx(0.5, abs=0.1)
    assert found.recognition == pytest.approx(0.5, abs=0.2)


def test_nothing_is_rehearsed_with_too_few_images_of_other_kinds(rng):
    assert rehearse(*_labelled(rng, count=FEWEST_OTHERS - 1)) == Rehearsal()
    assert rehearse(*_labelled(rng, count=FEWEST_OTHERS)).classes == 2
    known, holds, patches, labels = _labelled(rng)
    assert rehearse(known, np.ones_like(holds), patches, labels) == Rehearsal()
    assert rehearse(known, np.zeros_like(holds), patches, labels) == Rehearsal()
    assert rehearse(np.zeros((0, 3)), np.zeros((0, 2), bool), [], []) == Rehearsal()


def test_from_the_only_image_of_a_class_nothing_can_be_recognised(rng):
    known, holds, patches, labels = _labelled(rng)
    found = rehearse(known[3:], holds[3:], patches[3:], labels[3:])
    assert found.classes == 1  # the other has no other images than the one
    assert found.novelty == 1
    assert found.recognition is None


def test_images_without_features_are_left_out(rng):
    known, holds, patches, labels = _labelled(rng)
    expected = rehearse(known, holds, patches, labels)
    gaps = np.insert(known, [0, 5], np.nan, axis=0)
    shown = np.insert(holds, [0, 5], True, axis=0)
    none = np.zeros((0, 0)), np.zeros(0, np.int64)
    for place in (0, 6):
        patches.insert(place, none[0])
        labels.insert(place, none[1])
    assert rehearse(gaps, shown, patches, labels) == expected
    assert rehearse(np.full_like(gaps, np.nan), shown, patches, labels) == Rehearsal()
