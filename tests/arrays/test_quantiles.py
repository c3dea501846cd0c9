import numpy as np
import pytest

from unseen.arrays.quantiles import StreamingQuantiles
from unseen.errors import ConfigError

POINTS = [0, 0.01, 0.3, 0.5, 0.97, 0.99, 0.999, 1]


def test_of_nothing_every_quantile_is_zero():
    quantiles = StreamingQuantiles()
    assert quantiles.count == 0
    assert quantiles.quantile(0.97) == 0
    quantiles.add(np.zeros((0, 4)))
    assert quantiles.count == 0


@pytest.mark.parametrize("power", [1, 4, 12])
@pytest.mark.parametrize("count", [1, 10, 5000])
def test_agrees_with_numpy_to_the_stated_error(rng, power, count):
    scores = (rng.uniform(0, 1, count) ** power).astype(np.float32)
    quantiles = StreamingQuantiles()
    for part in np.array_split(scores, 7):
        quantiles.add(part)
    assert quantiles.count == count
    for q in POINTS:
        expected = float(np.quantile(scores, q, method="lower"))
        assert quantiles.quantile(q) == pytest.approx(expected, rel=2**-10)


def test_zero_and_one_are_exact():
    quantiles = StreamingQuantiles()
    quantiles.add([[0.0, -0.0, 1.0, 0.0]])
    assert quantiles.quantile(0.5) == 0
    assert quantiles.quantile(1) == 1


def test_parts_can_be_merged_in_any_order(rng):
    scores = rng.uniform(0, 1, (6, 100)).astype(np.float32)
    whole, merged = StreamingQuantiles(), StreamingQuantiles()
    whole.add(scores)
    for row in scores[::-1]:
        part = StreamingQuantiles()
        part.add(row)
        merged.merge(part)
    assert [whole.quantile(q) for q in POINTS] == [merged.quantile(q) for q in POINTS]


def test_beyond_the_range_is_clipped_and_nan_is_ignored():
    quantiles = StreamingQuantiles()
    quantiles.add([np.nan, -3, 7])
    assert quantiles.count == 2
    assert (quantiles.quantile(0), quantiles.quantile(1)) == (0, 1)


def test_half_precision_scores_are_accepted(rng):
    scores = rng.uniform(0, 1, 100).astype(np.float16)
    quantiles = StreamingQuantiles()
    quantiles.add(scores)
    expected = float(np.quantile(scores.astype(np.float32), 0.9, method="lower"))
    assert quantiles.quantile(0.9) == pytest.approx(expected, rel=2**-10)


def test_a_quantile_beyond_0_and_1_is_refused():
    with pytest.raises(ConfigError, match=r"1\.5"):
        StreamingQuantiles().quantile(1.5)
