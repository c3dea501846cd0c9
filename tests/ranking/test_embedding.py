import pytest
import torch

from unseen.errors import ShapeError
from unseen.ranking.embedding import pooled_features


def test_no_images_give_no_vectors():
    assert pooled_features(torch.zeros(0, 4, 2, 2), torch.zeros(0, 8, 8)).shape == (0, 4)


def test_only_the_unseen_place_speaks():
    features = torch.zeros(1, 3, 2, 2)
    features[0, 0] = 5
    features[0, :, 1, 0] = torch.tensor([0.0, 3, 4])
    score = torch.zeros(1, 8, 8)
    score[0, 6, 1] = 0.2
    torch.testing.assert_close(pooled_features(features, score), torch.tensor([[0, 0.6, 0.8]]))


def test_weights_are_squares_of_the_score():
    features = torch.eye(2)[None, :, None]  # two places, (1, 2, 1, 2)
    score = torch.tensor([[[0.1, 0.2]]])
    found = pooled_features(features, score)[0]
    assert float(found[1] / found[0]) == pytest.approx(4)


def test_without_any_score_it_is_the_plain_mean_and_the_length_is_one():
    features = torch.rand(3, 5, 4, 4)
    found = pooled_features(features, torch.zeros(3, 30, 31))
    torch.testing.assert_close(
        found, torch.nn.functional.normalize(features.mean(dim=(2, 3)), dim=1)
    )
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert not pooled_features(torch.zeros(1, 5, 4, 4), torch.zeros(1, 8, 8)).any()


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="expected"):
        pooled_features(torch.zeros(1, 5, 4, 4), torch.zeros(2, 8, 8))
