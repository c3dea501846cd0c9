import math

import pytest
import torch

from unseen.unet.network import UNetSpec
from unseen.unet.unseen_score import entropy, probability_maps, unseen_score


def _logits(count, scale=3.0):
    return scale * torch.randn(2, count, 5, 7, generator=torch.Generator().manual_seed(1))


def test_score_is_zero_identically_for_a_softmax_over_background_and_foreground():
    p = _logits(2).softmax(dim=1)
    assert float(unseen_score(p[:, 0], p[:, 1]).max()) < 1e-6


@pytest.mark.parametrize("classes", [(), ("a",), ("a", "b", "c")])
def test_recommended_probabilities_sum_to_one_and_score_is_what_is_left(classes):
    spec = UNetSpec(classes=classes)
    maps = probability_maps(_logits(len(classes) + 2), spec)
    total = maps.background + maps.foreground + maps.unseen
    torch.testing.assert_close(total, torch.ones_like(total))
    torch.testing.assert_close(
        maps.unseen, unseen_score(maps.background, maps.foreground), atol=1e-6, rtol=0
    )
    assert maps.classes.shape == (2, len(classes), 5, 7)


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_paper_score_is_what_both_maps_leave_clipped_to_0_and_1(loss):
    logits = _logits(2)
    maps = probability_maps(logits, UNetSpec(mode="paper", paper_loss=loss, classes=("a", "b")))
    raw = logits if loss == "mse" else 1 / (1 + torch.exp(-logits))
    expected = (1 - raw[:, 0] - raw[:, 1]).clamp(0, 1)
    torch.testing.assert_close(maps.unseen, expected)
    assert maps.classes.shape == (2, 1, 5, 7)
    for values in maps:
        assert 0 <= float(values.min()) <= float(values.max()) <= 1
    assert float(maps.unseen.max()) > 0.1


def test_entropy_in_closed_form():
    spec = UNetSpec(classes=("a", "b"))
    even = probability_maps(torch.zeros(1, 4, 2, 2), spec)
    torch.testing.assert_close(entropy(even), torch.full((1, 2, 2), math.log(4)))
    sure = torch.zeros(1, 4, 2, 2)
    sure[:, 1] = 1000
    assert float(entropy(probability_maps(sure, spec)).max()) == 0


def test_entropy_of_the_paper_mode_is_finite_everywhere():
    spec = UNetSpec(mode="paper")
    logits = torch.tensor([[-5.0, -5], [5, 5], [0, 0], [0.5, 0.5]])[:, :, None, None]
    found = entropy(probability_maps(logits, spec)).flatten()
    expected = torch.tensor([0, math.log(2), 0, math.log(2)])
    torch.testing.assert_close(found, expected)
