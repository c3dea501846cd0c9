import pytest

from unseen.unet.imbalance import adapted_alpha, class_imbalance


def test_without_labels_nothing_is_uneven():
    assert class_imbalance([]) == class_imbalance([0, 0]) == 0


@pytest.mark.parametrize(
    ("counts", "expected"), [([5, 5, 5], 0), ([10, 0], 0.5), ([8, 4, 0], 12 / 24), ([7], 0)]
)
def test_imbalance_is_what_is_missing_to_equal_classes(counts, expected):
    assert class_imbalance(counts) == pytest.approx(expected)


def test_more_of_the_same_does_not_change_the_imbalance():
    assert class_imbalance([70, 20, 10]) == pytest.approx(class_imbalance([7, 2, 1]))


def test_alpha_stays_for_even_classes_and_grows_as_one_takes_over():
    assert adapted_alpha(2, class_imbalance([5, 5, 5])) == 2
    found = [adapted_alpha(2, class_imbalance([n, 5, 5])) for n in (5, 10, 50, 5000)]
    assert found == sorted(found)
    assert found[1] == pytest.approx(2 * (1 + 10 / 30))
    assert found[-1] < 4
