import json
import math

import pytest
import torch
from torch import nn

from unseen.errors import ConfigError
from unseen.unet.network import UNet, UNetSpec, enlarged
from unseen.unet.unseen_score import entropy, probability_maps, unseen_score

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


def test_up_sampling_within_the_convolution_is_up_sampling_before_it():
    torch.manual_seed(0)
    model = UNet(UNetSpec(channels=SMALL, classes=("a",), in_channels=3)).double()
    images = torch.rand(2, 3, 24, 40, dtype=torch.float64)

    def plain(x):
        x, skips = nn.functional.pixel_unshuffle(x, 2), []
        for level, block in enumerate(model.down):
            skips.append(x := block(nn.functional.max_pool2d(x, 2) if level else x))
        skips.pop()
        for merge in model.merge:
            enlarged = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = merge(torch.cat([enlarged, skips.pop()], dim=1))
        return x

    outputs, gradients = [], []
    for finest in (model.features(images).finest, plain(images)):
        model.zero_grad()
        finest.square().sum().backward()
        gradients.append([w.grad for w in model.merge.parameters()])
        outputs.append(finest)
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (1, 1, 1, 1), (1, 2, 1, 5)])
def test_logits_are_enlarged_as_torch_does_it(shape):
    maps = torch.rand(shape, requires_grad=True)
    weights = torch.rand(*shape[:2], 2 * shape[2], 2 * shape[3])
    reference = nn.functional.interpolate(maps, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(enlarged(maps), reference)
    ours, theirs = (torch.autograd.grad(m, maps, weights) for m in (enlarged(maps), reference))
    torch.testing.assert_close(ours, theirs)


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
