import pytest
import torch
from torchvision.ops import roi_align

from unseen.detector.roi_pooling import RoIPooling


def pyramid(images=2, channels=3):
    generator = torch.Generator().manual_seed(0)
    return {
        str(stride): torch.randn(images, channels, 64 // stride, 96 // stride, generator=generator)
        for stride in (4, 8, 16)
    }


def test_no_boxes_give_no_samples():
    pool = RoIPooling((4, 8, 16), size=5, coarsest_from=64)
    assert pool(pyramid(), [torch.zeros(0, 4)] * 2, []).shape == (0, 5, 5, 3)


@pytest.mark.parametrize(("longest", "stride"), [(3, 4), (31, 4), (32, 8), (63, 8), (64, 16)])
def test_samples_are_those_of_torchvision_on_the_level_of_the_longer_side(longest, stride):
    features = pyramid()
    boxes = [
        torch.tensor([[10.0, 20.0, 10 + longest, 22.5], [0.0, 0.0, 4.0, longest]]),
        torch.tensor([[20.0, 64.0 - longest, 21.0, 64.0]]),
    ]
    pooled = RoIPooling((4, 8, 16), size=5, coarsest_from=64)(features, boxes, [(64, 96)] * 2)
    expected = roi_align(
        features[str(stride)], boxes, 5, 1 / stride, sampling_ratio=1, aligned=True
    )
    torch.testing.assert_close(pooled.permute(0, 3, 1, 2), expected)


def test_gradients_reach_the_features():
    features = {name: level.requires_grad_() for name, level in pyramid().items()}
    boxes = [torch.tensor([[8.0, 8.0, 30.0, 30.0]]), torch.tensor([[0.0, 0.0, 90.0, 60.0]])]
    RoIPooling((4, 8, 16), size=5, coarsest_from=64)(features, boxes, []).sum().backward()
    # The weights of each sample sum to 1.
    assert features["4"].grad.sum() == pytest.approx(25 * 3)
    assert features["16"].grad.sum() == pytest.approx(25 * 3)
