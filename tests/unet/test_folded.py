"""The form of the network that scoring runs gives what the network gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unseen.unet.folded import FoldedUNet, folded
from unseen.unet.network import UNet, UNetSpec

SPECS = [
    UNetSpec(classes=("a", "b")),
    UNetSpec(channels=(3,), classes=("a",), in_channels=3),
    UNetSpec(channels=(1, 5)),
]


def trained(spec: UNetSpec) -> UNet:
    """A network whose normalisations have statistics of their own."""
    torch.manual_seed(1)
    model = UNet(spec).eval()
    model.mean.uniform_(0, 1)
    model.std.uniform_(0.5, 2)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low in (
                (layer.running_mean, -1),
                (layer.bias, -1),
                (layer.running_var, 0.5),
            ):
                nn.init.uniform_(values, low, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
    return model


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest, as a share of the largest number expected."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.channels))
@pytest.mark.parametrize("cells", [(1, 1), (3, 2)])
def test_folded_outputs_differ_by_rounding(spec: UNetSpec, cells: tuple[int, int]) -> None:
    model = trained(spec)
    images = torch.rand(2, spec.in_channels, *(cell * model.stride for cell in cells))
    fast = folded(model, "fp32")
    assert isinstance(fast, FoldedUNet)
    with torch.inference_mode():
        expected, found = model(images), fast(images)
    assert difference(found.logits, expected.logits) < 1e-5
    assert difference(found.features, expected.features) < 1e-5


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16"
)
def test_an_image_gets_the_same_bits_alone_and_in_a_batch() -> None:
    model = FoldedUNet(trained(SPECS[0]), torch.bfloat16)
    images = torch.rand(5, 1, 64, 96)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which is suspended where it would round
        together = model(images).logits
    assert all(torch.equal(model(images[i : i + 1]).logits[0], together[i]) for i in range(5))


def test_the_paper_network_stays_as_it_is() -> None:
    model = UNet(UNetSpec(mode="paper")).eval()
    assert folded(model, "fp32") is model
