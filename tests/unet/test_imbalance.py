import pytest

from unseen.unet.imbalance import adapted_alpha, class_imbalance


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([], 0), ([0, 0], 0), ([7], 0), ([5, 5, 5], 0), ([10, 0], 0.5), ([8, 4, 0], 12 / 24)],
)
def test_imbalance_is_what_is_missing_to_equal_classes(counts, expected):
    assert class_imbalance(counts) == pytest.approx(expected)
    assert class_imbalance([10 * n for n in counts]) == pytest.approx(expected)


def test_alpha_stays_for_even_classes_and_grows_as_one_takes_over():
    exponents = [adapted_alpha(2, class_imbalance([n, 5, 5])) for n in (5, 10, 50, 5000)]
    assert exponents == sorted(exponents)
    assert exponents[:2] == [2, pytest.approx(2 * (1 + 10 / 30))]
    assert exponents[-1] < 4
