import numpy as np
import pytest

from unseen.arrays.quantiles import StreamingQuantiles

POINTS = [0, 0.01, 0.3, 0.5, 0.97, 0.99, 0.999, 1]


def test_of_nothing_every_quantile_is_zero():
    quantiles = StreamingQuantiles()
    quantiles.add(np.zeros((0, 4)))
    assert quantiles.quantile(0.97) == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("power", [1, 4, 12])
@pytest.mark.parametrize("count", [1, 10, 5000])
def test_agrees_with_numpy_to_the_stated_error_in_any_order(rng, power, count, dtype):
    scores = (rng.uniform(0, 1, count) ** power).astype(dtype)
    forward, backward = StreamingQuantiles(), StreamingQuantiles()
    for part in np.array_split(scores, 7):
        forward.add(part)
    backward.add(scores[::-1])
    for q in POINTS:
        expected = float(np.quantile(scores.astype(np.float32), q, method="lower"))
        assert forward.quantile(q) == backward.quantile(q) == pytest.approx(expected, rel=2**-10)


def test_the_ends_are_exact_and_beyond_is_clipped_and_nan_ignored():
    quantiles = StreamingQuantiles()
    quantiles.add([[0.0, -0.0, 1.0, 0.0]])
    assert [quantiles.quantile(q) for q in (0.5, 1)] == [0, 1]
    quantiles.add([np.nan, -3, 7, 7, 7])
    assert [quantiles.quantile(q) for q in (0, 0.4, 0.5, 1)] == [0, 0, 0, 1]
