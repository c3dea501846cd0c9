import pytest
import torch

from unseen.arrays.illumination import evened
from unseen.unet.inference import infer
from unseen.unet.network import UNet, UNetSpec


def _model(mode="recommended", channels=1, widths=(4, 6)):
    torch.manual_seed(3)
    spec = UNetSpec(mode=mode, channels=widths, classes=("a", "b"), in_channels=channels)
    model = UNet(spec)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.mark.parametrize("mode", ["recommended", "paper"])
def test_tiled_inference_equals_whole_inference(mode):
    model = _model(mode)
    small = 4 * model.halo
    images = torch.rand(2, 1, 3 * small + 5, small + 11)
    whole = infer(model, images, tile_size=10_000, precision="fp32")
    tiled = infer(model, images, tile_size=small, precision="fp32")
    for a, b in zip(whole.maps, tiled.maps, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.features, tiled.features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 7), (16, 16), (33, 18)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_comes_back_as_it_went_in(size, channels):
    model = _model(channels=channels)
    found = infer(model, torch.rand(2, channels, *size))
    assert found.maps.background.shape == found.maps.unseen.shape == (2, *size)
    assert found.maps.classes.shape == (2, 2, *size)
    assert found.features.shape[2:] == (-(-size[0] // 4), -(-size[1] // 4))
    total = found.maps.background + found.maps.foreground + found.maps.unseen
    torch.testing.assert_close(total, torch.ones_like(total))


def test_an_image_does_not_depend_on_its_batch():
    model = _model()
    images = torch.rand(5, 1, 40, 40)
    together = infer(model, images, precision="fp32").maps.unseen
    for i in range(5):
        alone = infer(model, images[i : i + 1], precision="fp32").maps.unseen
        torch.testing.assert_close(alone[0], together[i], atol=1e-6, rtol=0)


def test_padding_is_cut_off_and_divisible_sizes_need_none():
    model = _model()
    images = torch.rand(1, 1, 16, 24)
    direct = model(evened(images, model.mean)).logits.softmax(dim=1)[:, -1]
    torch.testing.assert_close(
        infer(model, images, precision="fp32").maps.unseen, direct, atol=1e-5, rtol=0
    )


def test_level_and_gradient_of_an_image_do_not_matter():
    model = _model()
    images = torch.rand(1, 1, 48, 40)
    lit = images + 0.3 + torch.linspace(-0.2, 0.1, 48)[:, None]
    plain, other = (infer(model, i, precision="fp32").maps.unseen for i in (images, lit))
    torch.testing.assert_close(plain, other, atol=1e-4, rtol=0)


def test_half_precision_is_close():
    model = _model(widths=(8, 12, 16))
    images = torch.rand(1, 1, 64, 64)
    exact = infer(model, images, precision="fp32").maps.unseen
    quick = infer(model, images, precision="bf16").maps.unseen
    assert float((exact - quick).abs().mean()) < 0.02
