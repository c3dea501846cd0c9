import json

import pytest
import torch

from unseen.errors import ConfigError
from unseen.unet.network import UNet, UNetSpec

SMALL = (4, 6, 8)


def test_maps_of_both_modes():
    spec = UNetSpec(classes=("dot", "line"))
    assert spec.maps == ("background", "dot", "line", "unseen")
    paper = UNetSpec(mode="paper", classes=("dot", "line"))
    assert paper.maps == ("background", "foreground")
    assert paper.foreground_maps == ("foreground",)


def test_a_spec_survives_json():
    spec = UNetSpec("paper", "bce", (8, 16), ("a", "b"), 3)
    assert UNetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "other"}, {"paper_loss": "dice"}, {"in_channels": 4}, {"channels": []}, {"new": 1}],
)
def test_a_wrong_spec_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        UNetSpec.from_dict(wrong)


@pytest.mark.parametrize(("mode", "stride"), [("recommended", 8), ("paper", 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_output_has_the_size_of_the_input(mode, stride, channels):
    spec = UNetSpec(mode=mode, channels=SMALL, classes=("a", "b"), in_channels=channels)
    model = UNet(spec).eval()
    assert model.stride == stride
    output = model(torch.rand(2, channels, 3 * stride, 5 * stride))
    assert output.logits.shape == (2, len(spec.maps), 3 * stride, 5 * stride)
    assert output.features.shape == (2, SMALL[-1], 3, 5)
    assert output.logits.dtype == output.features.dtype == torch.float32


def test_logits_are_float32_under_autocast_too():
    model = UNet(UNetSpec(channels=SMALL)).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.rand(1, 1, 16, 16)).logits.dtype == torch.float32


def test_brightness_and_gain_do_not_matter_once_they_are_in_the_buffers():
    model = UNet(UNetSpec(channels=SMALL)).eval()
    x = torch.rand(1, 1, 16, 16)
    before = model(x).logits
    model.mean.fill_(0.3)
    model.std.fill_(0.2)
    torch.testing.assert_close(model(x * 0.2 + 0.3).logits, before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", ["recommended", "paper"])
def test_nothing_beyond_the_halo_reaches_a_pixel(mode):
    torch.manual_seed(0)
    model = UNet(UNetSpec(mode=mode, channels=SMALL, classes=("a",))).double().eval()
    side = 4 * model.halo
    x = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    centre = side // 2
    model(x).logits.double()[0, :, centre, centre].sum().backward()
    rows, columns = x.grad[0, 0].nonzero(as_tuple=True)
    reach = max(abs(rows - centre).max(), abs(columns - centre).max())
    assert model.stride < reach <= model.halo


def test_paper_mode_at_the_original_size_is_the_original_network():
    """Ronneberger et al.'s U-Net with two maps and grey input has 31.0 million parameters."""
    with torch.device("meta"):
        model = UNet(UNetSpec(mode="paper", channels=(64, 128, 256, 512, 1024)))
    assert sum(p.numel() for p in model.parameters()) == 31_030_658
