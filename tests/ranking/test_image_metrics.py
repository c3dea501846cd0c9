import pytest
import torch

from unseen.errors import ConfigError, ShapeError
from unseen.ranking.image_metrics import (
    alpha_metric,
    entropy_metric,
    excess_metric,
    expected_counts,
    foreground_area,
    threshold_metric,
)

SCORE = torch.tensor([[[0.0, 0.5], [0.25, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_no_images_give_no_numbers():
    assert alpha_metric(torch.zeros(0, 2, 2), 2).shape == (0,)
    assert expected_counts(torch.zeros(0, 1, 2, 2), torch.zeros(0, 2, 2), [4]).shape == (0, 2)


def test_closed_forms():
    assert alpha_metric(SCORE, 2).tolist() == [1.3125, 0]
    assert alpha_metric(SCORE, 1).tolist() == [1.75, 0]
    assert threshold_metric(SCORE, 0.25).tolist() == [2, 0]
    assert threshold_metric(SCORE, 0.0).tolist() == [3, 0]
    assert excess_metric(SCORE, 0.25).tolist() == [1.0, 0]
    assert entropy_metric(SCORE).tolist() == foreground_area(SCORE).tolist() == [1.75, 0]


def test_excess_is_the_integral_of_the_threshold_metric(rng):
    score = torch.from_numpy(rng.uniform(0, 1, (1, 40, 40)).astype("float32"))
    steps = torch.linspace(0.3, 1, 2001)
    counts = torch.stack([threshold_metric(score, float(t)) for t in steps])[:, 0]
    assert float(torch.trapezoid(counts, steps)) == pytest.approx(
        float(excess_metric(score, 0.3)), rel=1e-3
    )


def test_alpha_at_a_high_power_counts_the_pixels_at_one():
    assert alpha_metric(SCORE, 64)[0] == pytest.approx(1)


def test_expected_counts_divide_probability_mass_by_mean_area():
    classes = torch.zeros(1, 2, 10, 10)
    classes[0, 0, :5] = 1.0
    classes[0, 1, :, :2] = 0.5
    unseen = torch.full((1, 10, 10), 0.3)
    found = expected_counts(classes, unseen, [25.0, 5.0])
    torch.testing.assert_close(found, torch.tensor([[2.0, 2.0, 30 / 15]]))


def test_expected_counts_without_any_class():
    found = expected_counts(torch.zeros(1, 0, 2, 2), torch.ones(1, 2, 2), [])
    assert found.tolist() == [[4.0]]


def test_wrong_arguments_are_refused():
    with pytest.raises(ShapeError, match="H \\* W > 0"):
        alpha_metric(torch.zeros(1, 0, 3), 2)
    with pytest.raises(ShapeError, match="B, H, W"):
        excess_metric(torch.zeros(3, 3), 0.1)
    with pytest.raises(ConfigError, match="alpha=0"):
        alpha_metric(SCORE, 0)
    with pytest.raises(ShapeError, match="mean areas"):
        expected_counts(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2), [3.0])
    with pytest.raises(ShapeError, match="positive"):
        expected_counts(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2), [0.0])
