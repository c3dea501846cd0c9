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


def pooled_features(features, score):
    return pooled(*feature_sums(features, score))


SCORE = torch.tensor([[[0.0, 0.5], [0.25, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])


def test_no_images_give_no_numbers():
    assert alpha_metric(torch.zeros(0, 2, 2), 2).shape == (0,)
    assert expected_counts(torch.zeros(0, 1, 2, 2), torch.zeros(0, 2, 2), [4]).shape == (0, 2)
    assert pooled_features(torch.zeros(0, 4, 2, 2), torch.zeros(0, 8, 8)).shape == (0, 4)


def test_closed_forms():
    assert alpha_metric(SCORE, 2).tolist() == [1.3125, 0]
    assert alpha_metric(SCORE, 1).tolist() == pixel_sum(SCORE).tolist() == [1.75, 0]
    assert alpha_metric(SCORE, 64)[0] == pytest.approx(1)
    assert threshold_metric(SCORE, 0.25).tolist() == [2, 0]
    assert threshold_metric(SCORE, 0.0).tolist() == [3, 0]
    assert excess_metric(SCORE, 0.25).tolist() == [1.0, 0]


def test_excess_is_the_integral_of_the_threshold_metric(rng):
    score = torch.from_numpy(rng.uniform(0, 1, (1, 40, 40)).astype("float32"))
    steps = torch.linspace(0.3, 1, 2001)
    counts = torch.stack([threshold_metric(score, float(t)) for t in steps])[:, 0]
    assert float(torch.trapezoid(counts, steps)) == pytest.approx(
        float(excess_metric(score, 0.3)), rel=1e-3
    )


def test_expected_counts_divide_probability_mass_by_mean_area():
    classes = torch.zeros(1, 2, 10, 10)
    classes[0, 0, :5] = 1.0
    classes[0, 1, :, :2] = 0.5
    counts = expected_counts(classes, torch.full((1, 10, 10), 0.3), [25.0, 5.0])
    torch.testing.assert_close(counts, torch.tensor([[2.0, 2.0, 30 / 15]]))
    counts = expected_counts(torch.zeros(1, 0, 2, 2), torch.ones(1, 2, 2), [])  # no class
    assert counts.tolist() == [[4.0]]


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
