import numpy as np
import pytest
import torch

from unseen.ranking.image_metrics import (
    alpha_metric,
    excess_metric,
    expected_counts,
    feature_sums,
    pixel_sum,
    pooled,
    threshold_metric,
)
from unseen.ranking.regions import above


def pooled_features(features, score):
    return pooled(*feature_sums(features, score))


SCORE = torch.tensor([[[0.0, 0.5], [0.25, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_no_images_give_no_numbers():
    assert alpha_metric(torch.zeros(0, 2, 2), 2).shape == (0,)
    assert expected_counts(torch.zeros(0, 2), [4]).shape == (0, 2)
    assert excess_metric(np.zeros((0, 2), np.float16), 0.5) == 0
    assert pooled_features(torch.zeros(0, 4, 2, 2), torch.zeros(0, 8, 8)).shape == (0, 4)


def test_closed_forms():
    assert alpha_metric(SCORE, 2).tolist() == [1.3125, 0]
    assert alpha_metric(SCORE, 1).tolist() == pixel_sum(SCORE).tolist() == [1.75, 0]
    assert alpha_metric(SCORE, 64)[0] == pytest.approx(1)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_closed_forms_of_thresholds(kind):
    score = SCORE[0].numpy().astype(kind)
    assert [threshold_metric(score, t) for t in (0.0, 0.25, 0.9999, 1.0)] == [3, 2, 1, 0]
    assert excess_metric(score, 0.25) == 1.0


def test_half_precision_is_compared_as_exactly_as_floats(rng):
    score = rng.random((50, 50)).astype(np.float16)
    for threshold in (*rng.random(50), *score[0, :5].tolist(), 6e-8, 1e-9):
        assert (above(score, threshold) == (score.astype(np.float64) > np.float32(threshold))).all()


def test_excess_is_the_integral_of_the_threshold_metric(rng):
    score = rng.random((40, 40)).astype(np.float32)
    steps = np.linspace(0.3, 1, 2001)
    counts = np.asarray([threshold_metric(score, t) for t in steps])
    integral = float((counts[1:] + counts[:-1]).sum() / 2 * (steps[1] - steps[0]))
    assert integral == pytest.approx(excess_metric(score, 0.3), rel=1e-3)


def test_expected_counts_divide_probability_mass_by_mean_area():
    counts = expected_counts(torch.tensor([[50.0, 10, 30]]), [25.0, 5.0])
    assert counts.tolist() == [[2.0, 2.0, 2.0]]
    assert expected_counts(torch.tensor([[4.0]]), []).tolist() == [[4.0]]  # no class


def test_only_the_unseen_position_decides_the_embedding():
    features = torch.zeros(1, 3, 2, 2)
    features[0, 0] = 5
    features[0, :, 1, 0] = torch.tensor([0.0, 3, 4])
    score = torch.zeros(1, 8, 8)
    score[0, 6, 1] = 0.2
    torch.testing.assert_close(pooled_features(features, score), torch.tensor([[0, 0.6, 0.8]]))
    # Two positions: weights are squares of the score.
    both = pooled_features(torch.eye(2)[None, :, None], torch.tensor([[[0.1, 0.2]]]))[0]
    assert float(both[1] / both[0]) == pytest.approx(4)


def test_without_any_score_the_embedding_is_the_plain_mean_of_length_one():
    features = torch.rand(3, 5, 4, 4)
    mean = torch.nn.functional.normalize(features.mean(dim=(2, 3)), dim=1)
    torch.testing.assert_close(pooled_features(features, torch.zeros(3, 30, 31)), mean)
    assert not pooled_features(torch.zeros(1, 5, 4, 4), torch.zeros(1, 8, 8)).any()
