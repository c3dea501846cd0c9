import pytest
import torch

from unseen.errors import ShapeError
from unseen.unet.dice import generalised_dice_loss
from unseen.unet.outlier_exposure import IGNORE


def by_loops(logits, target):
    """Sudre et al. 2017, term by term, for a batch in which every class appears."""
    p = logits.double().softmax(1)
    above = below = 0.0
    for label in range(logits.shape[1]):
        r = (target == label).double() * (target != IGNORE)
        inside = (target != IGNORE).double()
        weight = 1 / r.sum() ** 2
        above += weight * (r * p[:, label]).sum()
        below += weight * (r + p[:, label] * inside).sum()
    return 1 - 2 * above / below


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 5, generator=generator)
    target = torch.randint(0, 4, (2, 6, 5), generator=generator)
    target[0, 0] = IGNORE
    return logits, target


def test_it_is_the_formula(batch):
    assert generalised_dice_loss(*batch).item() == pytest.approx(by_loops(*batch).item(), rel=1e-5)


def test_two_pixels_by_hand():
    # Probabilities (0.8, 0.2) at a pixel of class 0 and (0.4, 0.6) at two pixels of class 1.
    p = torch.tensor([[[[0.8, 0.4, 0.4]], [[0.2, 0.6, 0.6]]]])
    target = torch.tensor([[[0, 1, 1]]])
    expected = 1 - 2 * (1 * 0.8 + 0.25 * 1.2) / (1 * (1 + 1.6) + 0.25 * (2 + 1.4))
    assert generalised_dice_loss(p.log(), target).item() == pytest.approx(expected, rel=1e-6)


def test_right_is_0_and_wrong_is_1():
    target = torch.tensor([[[0, 1], [2, 1]]])
    right = 100.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    assert generalised_dice_loss(right, target).item() == pytest.approx(0, abs=1e-6)
    assert generalised_dice_loss(right.roll(1, dims=1), target).item() == pytest.approx(1)


def test_without_a_pixel_that_counts_there_is_no_loss_and_no_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = generalised_dice_loss(logits, torch.full((1, 2, 2), IGNORE))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0


def test_ignored_pixels_have_no_influence_and_no_gradient(batch):
    logits, target = batch
    other = logits.clone()
    other[0, :, 0] = 1e3 * torch.randn(4, 5)
    other.requires_grad_()
    loss = generalised_dice_loss(other, target)
    loss.backward()
    assert loss.item() == pytest.approx(generalised_dice_loss(logits, target).item())
    assert other.grad[0, :, 0].abs().sum() == 0
    assert other.grad[0, :, 1:].abs().sum() > 0


def test_an_absent_class_weighs_as_much_as_the_rarest_present_one():
    # Three pixels of class 0 and one of class 1; class 2 is absent: weights 1/9, 1, 1.
    target = torch.tensor([[[0, 0], [0, 1]]])
    p = torch.tensor([0.5, 0.3, 0.2])[None, :, None, None].expand(1, 3, 2, 2)
    above = (1 / 9) * 1.5 + 1 * 0.3
    below = (1 / 9) * (3 + 2.0) + 1 * (1 + 1.2) + 1 * (0 + 0.8)
    found = generalised_dice_loss(p.log(), target)
    assert found.item() == pytest.approx(1 - 2 * above / below, rel=1e-6)
    # So predicting it costs, which it would not without a weight.
    less = torch.tensor([0.5, 0.5, 0.0])[None, :, None, None].expand(1, 3, 2, 2).clamp(min=1e-9)
    assert generalised_dice_loss(less.log(), target) < found


def test_the_gradient_is_that_of_the_formula(batch):
    logits, target = batch
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(generalised_dice_loss, (logits, target))


def test_losing_all_of_a_rare_class_costs_as_much_as_losing_all_of_a_common_one():
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[0, 0, :2] = 1  # 2 pixels of 400
    perfect = 50.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    swapped = torch.full_like(perfect, 0)
    swapped[:, 0] = 50.0  # all background: 99.5 % of the pixels are right
    assert generalised_dice_loss(swapped, target) > 0.4
    assert torch.nn.functional.cross_entropy(swapped, target) < 0.3


def test_it_is_finite_for_millions_of_pixels_and_extreme_logits():
    logits = torch.zeros(1, 2, 1500, 1500)
    logits[:, 0] = 1e4
    logits.requires_grad_()
    target = torch.zeros(1, 1500, 1500, dtype=torch.int64)
    target[0, 0, 0] = 1
    loss = generalised_dice_loss(logits, target)
    loss.backward()
    assert 0 < loss < 1
    assert torch.isfinite(logits.grad).all()


def test_bf16_logits_give_a_float32_loss(batch):
    logits, target = batch
    found = generalised_dice_loss(logits.bfloat16(), target)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(generalised_dice_loss(logits, target).item(), abs=0.02)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"\(1, 3, 4, 4\) and a target of shape \(1, 4, 5\)"):
        generalised_dice_loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 5, dtype=torch.int64))
