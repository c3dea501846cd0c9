import copy

import numpy as np
import pytest
import torch
from torchvision.models import resnet50
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import FeaturePyramidNetwork, box_iou

from unseen.detector.centernet import (
    build_centernet,
    load_centernet,
    resnet50_centernet,
    small_centernet,
)
from unseen.detector.centernet_network import STRIDE, TopDown
from unseen.detector.centernet_weights import load_pretrained
from unseen.detector.faster_rcnn import build_detector, detector_spec
from unseen.errors import CheckpointError, ConfigError, ShapeError
from unseen.ranking.features import weights as pretrained


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(n_classes=2, *, image_size=96, seed=0):
    torch.manual_seed(seed)
    return small_centernet(n_classes, image_size=image_size, shortest_side=image_size)


def talkative(**settings):
    """Untrained, but with boxes to show: scores around 0.5, sides around 3 cells."""
    model = small(**settings).eval()
    torch.nn.init.zeros_(model.heads.heat[-1].bias)
    torch.nn.init.ones_(model.heads.box[-1].bias)
    return model


def scene(seed, *, side=96, objects=3):
    """Grey noise with dark squares (1) and bright bars (2) that do not touch: pixels, target."""
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(0.5 + 0.03 * rng.standard_normal((1, side, side))).float()
    boxes, labels = [], []
    while len(boxes) < objects:
        label = int(rng.integers(1, 3))
        width, height = (8, 8) if label == 1 else (24, 6)
        x, y = int(rng.integers(2, side - width - 2)), int(rng.integers(2, side - height - 2))
        box = [x, y, x + width, y + height]
        around = torch.tensor([[x - 6.0, y - 6, x + width + 6, y + height + 6]])
        if boxes and box_iou(around, torch.tensor(boxes).float()).max() > 0:
            continue
        pixels[:, y : y + height, x : x + width] = 0.2 if label == 1 else 0.8
        boxes.append(box)
        labels.append(label)
    return pixels, {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor(labels)}


NO_BOXES = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def step(model, images, targets):
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = model.train()(images, targets)
    sum(losses.values()).backward()
    optimiser.step()
    return losses


@pytest.fixture(scope="module")
def learned(one_thread):
    images, targets = zip(*(scene(seed) for seed in range(4)), strict=True)
    model = small().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(90):
        loss = sum(model(list(images), list(targets)).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def test_four_images_are_learned_by_heart(learned):
    images, targets = zip(*(scene(seed) for seed in range(4)), strict=True)
    for found, target in zip(learned(list(images)), targets, strict=True):
        is_sure = found["scores"] >= 0.5
        assert is_sure.sum() == len(target["boxes"])
        overlap, match = box_iou(target["boxes"], found["boxes"][is_sure]).max(1)
        assert (overlap > 0.5).all()
        assert len(set(match.tolist())) == len(match)
        assert torch.equal(found["labels"][is_sure][match], target["labels"])


def test_padding_beside_a_larger_image_changes_little(learned):
    image, target = scene(0)
    low = image[:, : int(target["boxes"][:, 3].max()) - 30]  # cuts off some of the objects
    (alone,), (beside, _) = learned([low]), learned([low, image])
    # Both at scale 1: the rows of padding below are all that differs.
    n = int((alone["scores"] >= 0.5).sum())
    assert n >= 1
    assert n == (beside["scores"] >= 0.5).sum()
    torch.testing.assert_close(alone["boxes"][:n], beside["boxes"][:n], rtol=0, atol=2)


def test_images_without_boxes_and_of_one_class_can_be_learned_from():
    model = small(n_classes=1)
    losses = step(model, [torch.rand(3, 50, 70), torch.rand(3, 96, 40)], [NO_BOXES, NO_BOXES])
    assert losses["loss_heat"] > 0
    assert losses["loss_offset"] == losses["loss_size"] == 0
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_the_order_of_boxes_does_not_change_the_losses():
    image, target = scene(0, objects=5)
    model = small().train()
    order = torch.tensor([3, 0, 4, 1, 2])
    first = model([image], [target])
    second = model([image], [{name: value[order] for name, value in target.items()}])
    assert first.keys() == {"loss_heat", "loss_offset", "loss_size"}
    for name, value in first.items():
        assert torch.equal(value, second[name])


def test_grey_images_are_seen_as_rgb_images_of_three_equal_channels():
    image, _ = scene(1)
    model = talkative()
    (grey,), (rgb,) = model([image]), model([image.repeat(3, 1, 1)])
    assert len(grey["boxes"])
    for name, value in grey.items():
        assert torch.equal(value, rgb[name])


@pytest.mark.parametrize("size", [(33, 57), (96, 96), (400, 30), (7, 5)])
def test_boxes_are_inside_images_of_any_size(size):
    model = talkative(image_size=64)
    (found,) = model([torch.rand(3, *size)])
    assert len(found["boxes"])
    assert (found["boxes"] >= 0).all()
    limits = torch.tensor([size[1], size[0]] * 2)
    assert (found["boxes"] <= limits + 1e-3).all()
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert found["labels"].min() >= 1


def test_losses_and_scores_are_float32_also_in_mixed_precision():
    image, target = scene(2)
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = step(model, [image], [target])
        (found,) = model.eval()([image])
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert {found[name].dtype for name in ("boxes", "scores")} == {torch.float32}
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_training_without_a_target_per_image_is_refused():
    model = small().train()
    with pytest.raises(ShapeError, match="1 images and 0 targets"):
        model([torch.rand(3, 32, 32)])
    with pytest.raises(ShapeError, match="2 images and 1 targets"):
        model([torch.rand(3, 32, 32)] * 2, [NO_BOXES])


def test_it_is_about_as_large_as_the_small_faster_rcnn():
    faster_rcnn, *_ = build_detector(detector_spec("small", ("a", "b", "c"), 256))
    ours, theirs = (sum(p.numel() for p in model.parameters()) for model in (small(3), faster_rcnn))
    assert 0.8 < ours / theirs < 1.25


def test_an_output_cell_is_stride_px_wide():
    model = small()
    maps = model.heads(model.top_down(model.levels(torch.rand(1, 3, 64, 96))))
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, 64 // STRIDE, 96 // STRIDE) for channels in (2, 2, 2)
    ]


def test_the_way_up_is_the_finest_level_of_torchvisions_pyramid():
    channels, out = [3, 5, 7], 4
    reference = FeaturePyramidNetwork(channels, out)
    ours = TopDown(channels, out)
    for lateral, block in zip(ours.lateral, reference.inner_blocks, strict=True):
        lateral.load_state_dict(block[0].state_dict())
    ours.smooth.load_state_dict(reference.layer_blocks[0][0].state_dict())
    levels = [torch.rand(1, c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]
    expected = reference({str(i): level for i, level in enumerate(levels)})["0"]
    torch.testing.assert_close(ours(levels), expected)


@pytest.fixture(scope="module")
def detector():
    """torchvision's own, from random numbers, with means and variances that are not 0 and 1."""
    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            # The weights that torchvision publishes were made without eps.
            module.eps = 0.0
    return model.eval()


def larger(*, frozen):
    torch.manual_seed(1)
    return resnet50_centernet(2, image_size=96, shortest_side=64, frozen=frozen)


def test_a_detectors_pretrained_weights_give_the_features_it_has(detector):
    model = larger(frozen=True).eval()
    load_pretrained(model, detector.state_dict())
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = detector.backbone(image)["0"]
        torch.testing.assert_close(
            model.top_down(model.levels(image)), expected, rtol=1e-3, atol=1e-3
        )


def test_imagenet_weights_give_the_features_of_the_classifier():
    torch.manual_seed(0)
    classifier = resnet50(weights=None).eval()
    model = larger(frozen=True).eval()
    load_pretrained(model, classifier.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        x = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(image))))
        expected = classifier.layer2(classifier.layer1(x))
        torch.testing.assert_close(model.levels(image)[1], expected, rtol=1e-3, atol=1e-4)


def test_weights_of_something_else_are_refused(detector):
    state = dict(detector.state_dict())
    with pytest.raises(CheckpointError, match="tensors differ, such as"):
        load_pretrained(larger(frozen=True), {k: v for k, v in state.items() if "layer3" not in k})
    state["backbone.body.conv1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_pretrained(larger(frozen=True), state)


@pytest.mark.parametrize("frozen", [True, False])
def test_one_training_step_moves_what_is_to_learn_and_nothing_that_is_frozen(frozen):
    model = larger(frozen=frozen)
    before = copy.deepcopy(model.state_dict())
    image, target = scene(3, side=64)
    losses = step(model, [image, image], [target, NO_BOXES])
    assert all(torch.isfinite(loss) for loss in losses.values())
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable <= moved | {"heads.common.0.bias"}
    fixed = ("levels.body.conv1.weight", "levels.body.layer1.0.conv1.weight")
    assert all((name in moved) != frozen for name in fixed)
    (found,) = model.eval()([image])
    assert torch.isfinite(found["boxes"]).all()


def built(architecture, weights):
    return build_centernet(
        2, architecture=architecture, image_size=96, shortest_side=64, weights=weights
    )


def test_without_pretrained_weights_it_says_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    model, is_pretrained, message = built("resnet50", None)
    assert not is_pretrained
    assert "fasterrcnn_resnet50_fpn_coco" in message
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(CheckpointError, match="no such weights file"):
        built("resnet50", str(tmp_path / "missing.pth"))
    with pytest.raises(ConfigError, match="set architecture to 'resnet50'"):
        built("small", str(tmp_path / "missing.pth"))
    assert built("small", None)[1:] == (False, "small CenterNet, trained from scratch")


def test_the_file_that_serves_faster_rcnn_serves_centernet(detector, tmp_path):
    path = tmp_path / "coco.pth"
    torch.save(detector.state_dict(), path)
    model, is_pretrained, message = built("resnet50", str(path))
    assert is_pretrained
    assert str(path) in message
    conv = model.state_dict()["levels.body.layer4.2.conv3.weight"]
    assert torch.equal(conv, detector.state_dict()["backbone.body.layer4.2.conv3.weight"])


@pytest.mark.parametrize(
    ("architecture", "first"),
    [
        ("small", talkative),
        ("resnet50", lambda: larger(frozen=True)),
        ("resnet50", lambda: larger(frozen=False)),
    ],
)
def test_stored_weights_make_the_same_detector_again(architecture, first):
    first = first()
    size = {"architecture": architecture, "image_size": 96, "shortest_side": 64}
    again = load_centernet(2, **size, weights=first.state_dict())
    assert not again.training
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        maps = [m.heads(m.top_down(m.levels(image))) for m in (first.eval(), again)]
    for a, b in zip(*maps, strict=True):
        assert torch.equal(a, b)
    with pytest.raises(CheckpointError, match="CenterNet of 5 classes"):
        load_centernet(5, **size, weights=first.state_dict())
