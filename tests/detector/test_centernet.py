import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from unseen.detector.models import build_detector, detector_spec

NO_BOXES = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def small(classes="ab", image_size=96):
    torch.manual_seed(0)
    spec = detector_spec("small", tuple(classes), 96, image_size=image_size, detector="centernet")
    return build_detector(spec)[0].train()


def talkative(**settings):
    """Untrained, but with boxes to show: scores around 0.5, sides around 3 cells."""
    model = small(**settings).eval()
    torch.nn.init.zeros_(model.heads.heat[-1].bias)
    torch.nn.init.ones_(model.heads.box[-1].bias)
    return model


def scene(seed, *, side=96, objects=3):
    """Grey noise with dark squares (1) and bright bars (2) that do not touch: pixels, target."""
    rng = np.random.default_rng(seed)
    pixels = (
        torch.from_numpy(0.5 + 0.03 * rng.standard_normal((1, side, side))).float().repeat(3, 1, 1)
    )
    boxes, labels = [], []
    while len(boxes) < objects:
        label = int(rng.integers(1, 3))
        width, height = (8, 8) if label == 1 else (24, 6)
        x, y = int(rng.integers(2, side - width - 2)), int(rng.integers(2, side - height - 2))
        around = torch.tensor([[x - 6.0, y - 6, x + width + 6, y + height + 6]])
        if boxes and box_iou(around, torch.tensor(boxes).float()).max() > 0:
            continue
        pixels[:, y : y + height, x : x + width] = 0.2 if label == 1 else 0.8
        boxes.append([x, y, x + width, y + height])
        labels.append(label)
    return pixels, {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor(labels)}


def step(model, images, targets):
    losses = model.train()(images, targets)
    sum(losses.values()).backward()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    return losses


@pytest.fixture(scope="module")
def learned():
    images, targets = zip(*map(scene, range(4)), strict=True)
    model = small()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(90):
        loss = sum(model(list(images), list(targets)).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def test_four_images_are_learned_by_heart(learned):
    images, targets = zip(*map(scene, range(4)), strict=True)
    for one, target in zip(learned(list(images)), targets, strict=True):
        is_sure = one["scores"] >= 0.5
        assert is_sure.sum() == len(target["boxes"])
        overlap, match = box_iou(target["boxes"], one["boxes"][is_sure]).max(1)
        assert (overlap > 0.5).all()
        assert len(set(match.tolist())) == len(match)
        assert torch.equal(one["labels"][is_sure][match], target["labels"])


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
    images = [torch.rand(3, 50, 70), torch.rand(3, 96, 40)]
    losses = step(small("a"), images, [NO_BOXES, NO_BOXES])
    assert losses["loss_heat"] > 0
    assert losses["loss_offset"] == losses["loss_size"] == 0


@pytest.mark.parametrize("size", [(33, 57), (96, 96), (400, 30), (7, 5)])
def test_boxes_are_inside_images_of_any_size(size):
    (one,) = talkative(image_size=64)([torch.rand(3, *size)])
    assert len(one["boxes"])
    assert (one["boxes"] >= 0).all()
    assert (one["boxes"] <= torch.tensor([size[1], size[0]] * 2) + 1e-3).all()
    assert one["boxes"].dtype == one["scores"].dtype == torch.float32
    assert one["labels"].min() >= 1


def test_a_detectors_pretrained_weights_give_the_features_it_has(resnet50_fpn, weights_files):
    spec = detector_spec("resnet50", ("a",), 96, detector="centernet")
    model = build_detector(spec, weights=weights_files["resnet50"])[0].eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = resnet50_fpn.backbone(image)["0"]
        features = model.top_down(model.levels(image))
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3)
