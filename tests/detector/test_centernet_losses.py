import math

import pytest
import torch

from unseen.detector.centernet.encoding import CentreTargets
from unseen.detector.centernet.losses import centernet_losses, penalty_reduced_focal_loss

EVERYWHERE = torch.ones(1, 2, 2, dtype=torch.bool)


def test_the_focal_loss_is_its_formula():
    p = torch.tensor([[[[0.9, 0.2], [0.6, 0.5]]]])
    truth = torch.tensor([[[[1.0, 0.0], [0.8, 1.0]]]])
    expected = -(
        0.1**2 * math.log(0.9)
        + 0.2**2 * math.log(0.8)
        + 0.2**4 * 0.6**2 * math.log(0.4)
        + 0.5**2 * math.log(0.5)
    )
    loss = penalty_reduced_focal_loss(torch.logit(p), truth, EVERYWHERE)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-5)
    # Without a centre it is the sum over the background.
    cold = penalty_reduced_focal_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), EVERYWHERE)
    assert cold.item() == pytest.approx(4 * 0.25 * math.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_stay_finite_at_extreme_logits(dtype):
    logits = torch.tensor([[[[-1e4, 1e4], [-1e4, 1e4]]]], dtype=dtype, requires_grad=True)
    truth = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    loss = penalty_reduced_focal_loss(logits, truth, EVERYWHERE)
    loss.backward()
    assert loss.dtype == torch.float32
    # What is as wrong as can be is pulled with slope 1, divided by the two centres.
    torch.testing.assert_close(
        logits.grad.float(), torch.tensor([[[[-0.5, 0.5], [0.0, 0.0]]]]), rtol=1e-2, atol=1e-6
    )
    assert loss.item() == pytest.approx(1e4, rel=1e-2)


def test_padding_does_not_count():
    logits = torch.tensor([[[[-9.0, 9.0], [-9.0, 9.0]]]], requires_grad=True)
    is_inside = torch.tensor([[[True, False], [True, False]]])
    loss = penalty_reduced_focal_loss(logits, torch.zeros(1, 1, 2, 2), is_inside)
    loss.backward()
    assert loss.item() < 1e-6
    assert logits.grad[..., 1].abs().sum() == 0


def test_offset_and_size_are_weighted_absolute_differences_in_the_cells_that_count():
    truth = CentreTargets(
        heat=torch.zeros(1, 1, 2, 2),
        cells=torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 1]]),
        weights=torch.tensor([0.75, 0.25, 1.0]),  # two cells of one object, one of another
        offsets=torch.tensor([[0.5, 0.5], [-0.5, 0.5], [0.0, 0.25]]),
        sizes=torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0]]),
    )
    maps = torch.zeros(1, 2, 2, 2)
    maps[:, :, 1, 0] = 1e6  # a cell that does not count
    losses = centernet_losses(torch.zeros(1, 1, 2, 2), maps, maps, truth, EVERYWHERE)
    assert losses["loss_offset"].item() == pytest.approx((1.0 + 0.25) / 2)
    assert losses["loss_size"].item() == pytest.approx((3.0 + 3.0) / 2)
