import math

import pytest
import torch

from unseen.unet.imbalance import adapted_alpha, class_imbalance
from unseen.unet.losses import generalised_dice_loss, unet_loss
from unseen.unet.network import UNetSpec
from unseen.unet.outlier_exposure import IGNORE

MODES = [("recommended", "mse", 0.0), ("recommended", "mse", 1.0)]
MODES += [("paper", "mse", 0.0), ("paper", "bce", 0.0)]


def spec_of(mode="recommended", loss="mse"):
    return UNetSpec(mode, loss, classes=("dot", "never seen"))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 6, 5, generator=generator)
    target = torch.randint(0, 4, (2, 6, 5), generator=generator)
    target[0, 0] = IGNORE
    return logits, target


@pytest.mark.parametrize(("mode", "loss", "dice"), MODES)
def test_ignored_pixels_have_no_influence_and_no_gradient(batch, mode, loss, dice):
    spec = spec_of(mode, loss)
    logits, target = batch[0][:, : len(spec.maps)], batch[1]
    other = logits.clone()
    other[0, :, 0] = 1e3 * torch.randn(other[0, :, 0].shape)
    other.requires_grad_()
    value = unet_loss(other, target, spec, dice=dice)
    value.backward()
    assert value.item() == pytest.approx(unet_loss(logits, target, spec, dice=dice).item())
    assert other.grad[0, :, 0].abs().sum() == 0
    assert other.grad[0, :, 1:].abs().sum() > 0
    other.grad = None
    nothing = unet_loss(other, torch.full_like(target, IGNORE), spec, dice=dice)
    nothing.backward()
    assert nothing == other.grad.abs().sum() == 0


def test_losses_in_closed_form():
    target = torch.tensor([[[0, 1, IGNORE]]])
    logits = torch.zeros(1, 4, 1, 3)
    assert float(unet_loss(logits, target, spec_of())) == pytest.approx(math.log(4))
    two = torch.tensor([[[[0.5, 0.5, 9.0]], [[0.0, 0.5, 9.0]]]])
    # pixel 0: (0.5 - 1)^2, 0^2; pixel 1: 0.5^2, (0.5 - 1)^2
    assert float(unet_loss(two, target, spec_of("paper"))) == pytest.approx((0.125 + 0.25) / 2)
    even = torch.zeros(1, 2, 1, 3)
    assert float(unet_loss(even, target, spec_of("paper", "bce"))) == pytest.approx(math.log(2))


def by_loops(logits, target):
    """Sudre et al. 2017, term by term, for a batch in which every class appears."""
    p = logits.double().softmax(1)
    above = below = 0.0
    inside = (target != IGNORE).double()
    for label in range(logits.shape[1]):
        r = (target == label).double()
        weight = 1 / r.sum() ** 2
        above += weight * (r * p[:, label]).sum()
        below += weight * (r + p[:, label] * inside).sum()
    return 1 - 2 * above / below


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_dice_is_its_formula_in_float32(batch, dtype, error):
    logits, target = batch
    loss = generalised_dice_loss(logits.to(dtype), target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(by_loops(*batch).item(), abs=error)
    assert torch.autograd.gradcheck(
        generalised_dice_loss, (logits.double().requires_grad_(), target)
    )


def test_an_absent_class_weighs_as_much_as_the_rarest_present_one():
    # Three pixels of class 0 and one of class 1; class 2 is absent: weights 1/9, 1, 1.
    target = torch.tensor([[[0, 0], [0, 1]]])
    p = torch.tensor([0.5, 0.3, 0.2])[None, :, None, None].expand(1, 3, 2, 2)
    expected = 1 - 2 * (1.5 / 9 + 0.3) / ((3 + 2.0) / 9 + (1 + 1.2) + (0 + 0.8))
    assert generalised_dice_loss(p.log(), target).item() == pytest.approx(expected, rel=1e-6)


def test_dice_is_finite_for_millions_of_pixels_and_extreme_logits():
    logits = torch.zeros(1, 2, 1500, 1500)
    logits[:, 0] = 1e4
    logits.requires_grad_()
    target = torch.zeros(1, 1500, 1500, dtype=torch.int64)
    target[0, 0, 0] = 1
    loss = generalised_dice_loss(logits, target)
    loss.backward()
    assert 0 < loss < 1
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([], 0), ([0, 0], 0), ([7], 0), ([5, 5, 5], 0), ([10, 0], 0.5), ([8, 4, 0], 12 / 24)],
)
def test_imbalance_is_what_is_missing_to_equal_classes(counts, expected):
    assert class_imbalance(counts) == pytest.approx(expected)
    assert class_imbalance([10 * n for n in counts]) == pytest.approx(expected)


def test_alpha_stays_for_even_classes_and_grows_as_one_takes_over():
    exponents = [adapted_alpha(2, class_imbalance([n, 5, 5])) for n in (5, 10, 50, 5000)]
    assert exponents == sorted(exponents)
    assert exponents[:2] == [2, pytest.approx(2 * (1 + 10 / 30))]
    assert exponents[-1] < 4
