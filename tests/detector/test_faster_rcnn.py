import pytest
import torch
from torchvision.ops import box_iou, roi_align

from unseen.detector import detectors
from unseen.detector.faster_rcnn.network import SHIFTED_COPIES, pairwise_iou, with_shifted_truth
from unseen.detector.faster_rcnn.roi_pooling import RoIPooling
from unseen.detector.models import build_detector, detector_spec

CLASSES = ("particle", "scratch", "stain")


def target(*boxes):
    """Boxes of the first class."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64)}


@pytest.mark.parametrize("classes", [("only",), CLASSES, tuple("abcdefghijkl")])
def test_small_learns_from_images_of_all_sizes_with_and_without_boxes(classes):
    model, *_ = build_detector(detector_spec("small", classes, 96))
    images = [torch.rand(3, 64, 96), torch.rand(3, 96, 50), torch.rand(3, 80, 80)]
    for boxes in ([], [[5, 5, 20, 20]]):
        losses = model.train()(images, [target(), target(*boxes), target()])
        assert all(torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    for one in model.eval()(images):
        assert set(one["labels"].tolist()) <= set(range(1, len(classes) + 1))


@pytest.mark.parametrize("architecture", detectors()["faster_rcnn"].architectures)
def test_boxes_are_not_rounded_where_the_network_computes_in_bf16(architecture):
    spec = detector_spec(architecture, CLASSES, 320, image_size=320)
    model, *_ = build_detector(spec, weights="none")
    seen = {}
    model.rpn.register_forward_hook(lambda module, given, out: seen.update(boxes=out[0]))
    # In bf16 both edges of this box would be 274.
    thin = [target([273.14, 40, 274, 80])]
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.train()([torch.rand(3, 320, 320)], thin)
    assert all(torch.isfinite(loss) for loss in losses.values())
    (boxes,) = seen["boxes"]
    assert boxes.dtype == torch.float32
    inside = boxes[(boxes > 256) & (boxes < 320)]
    assert (inside % 1 != 0).any()


def test_overlaps_are_those_of_torchvision():
    corners = torch.rand(40, 2) * 100
    boxes = torch.cat([corners, corners + torch.rand(40, 2) * 60], 1)
    assert torch.equal(pairwise_iou(boxes[:5], boxes), box_iou(boxes[:5], boxes))
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


@pytest.fixture
def pyramid():
    generator = torch.Generator().manual_seed(0)
    shapes = {str(stride): (2, 3, 64 // stride, 96 // stride) for stride in (4, 8, 16)}
    return {s: torch.randn(n, generator=generator).requires_grad_() for s, n in shapes.items()}


POOL = RoIPooling((4, 8, 16), size=5, coarsest_from=64)


def test_no_boxes_give_no_samples(pyramid):
    assert POOL(pyramid, [torch.zeros(0, 4)] * 2, []).shape == (0, 5, 5, 3)


@pytest.mark.parametrize(("longest", "stride"), [(3, 4), (31, 4), (32, 8), (63, 8), (64, 16)])
def test_samples_and_gradients_are_torchvisions_on_the_level_of_the_longer_side(
    pyramid, longest, stride
):
    boxes = [
        torch.tensor([[10.0, 20.0, 10 + longest, 22.5], [0.0, 0.0, 4.0, longest]]),
        torch.tensor([[20.0, 64.0 - longest, 21.0, 64.0]]),
    ]
    level = pyramid[str(stride)]
    pooled = POOL(pyramid, boxes, [(64, 96)] * 2).permute(0, 3, 1, 2)
    expected = roi_align(level, boxes, 5, 1 / stride, sampling_ratio=1, aligned=True)
    torch.testing.assert_close(pooled, expected)
    slopes = [torch.autograd.grad((values**2).sum(), level)[0] for values in (pooled, expected)]
    torch.testing.assert_close(*slopes)
