"""Faster R-CNN with four backbones.

resnet50 is torchvision's first version, not `fasterrcnn_resnet50_fpn_v2`: its frozen normalisation
does not depend on the number of images per step, and its head is lighter. small and lite0 train on
a few dozen images within minutes on a CPU: torchvision's class with a smaller backbone, and with
numbers of proposals that suit tens of objects per image instead of hundreds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_resnet50_fpn,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d

from unseen.detector.backbones import LiteBackbone, SmallBackbone, input_transform
from unseen.detector.faster_rcnn.partial_labels import heed_scope
from unseen.detector.faster_rcnn.rectification import add_class_rectification
from unseen.detector.faster_rcnn.roi_pooling import RoIPooling
from unseen.detector.weights import from_imagenet, load_part

if TYPE_CHECKING:
    from unseen.detector.models import DetectorSpec, Start

__all__ = ["add_class_rectification", "build"]

#: Longer side in px from which a box is looked at on the coarsest level, stride 16.
#: (torchvision's 224 belongs to strides up to 32 and images of 800 px.)
COARSEST_FROM = 64
#: Strides of the small feature pyramids.
STRIDES = (4, 8, 16)
#: Bins per side in which the head sees a box, and how far they reach, in sides of the box.
POOLED, REACH = 5, 1.2
#: Proposals of a small network in an image, unless more objects are looked for.
PROPOSALS = 200
#: Shifted copies of each labelled box that the head trains on, and how far each of their sides may
#: be off, as a share of width or height.
SHIFTED_COPIES, SHIFT = 4, 0.3
#: Overlap above which two boxes of a class are one object found twice.
NMS_IOU = 0.3
#: Units of the two layers between pooled features and predictions.
HEAD_WIDTH = 128
#: Of torchvision's networks: their maker, the eps of the normalisation of their COCO weights, what
#: stays as loaded (stem and first stages, as in torchvision), and their name in errors.
_TORCHVISION = {
    "resnet50": (
        fasterrcnn_resnet50_fpn,
        0.0,
        ("conv1", "bn1", "layer1"),
        "torchvision's fasterrcnn_resnet50_fpn or resnet50",
    ),
    "mobilenet_v3": (
        fasterrcnn_mobilenet_v3_large_320_fpn,
        1e-5,
        tuple(map(str, range(7))),
        "torchvision's fasterrcnn_mobilenet_v3_large_320_fpn",
    ),
}
_PREDICTOR = "roi_heads.box_predictor."


def build(spec: DetectorSpec, start: Start) -> FasterRCNN:
    """The network that `spec` describes, with the weights that it starts from."""
    if spec.architecture in _TORCHVISION:
        model = _torchvision(spec, frozen=start.is_pretrained)
        if start.state is not None:
            _load_pretrained(model, start.state, spec.architecture)
    else:
        model = _small(spec, LiteBackbone(start.lite) if start.lite else SmallBackbone())
    return heed_scope(model)


def _small(spec: DetectorSpec, backbone: SmallBackbone | LiteBackbone) -> FasterRCNN:
    anchors = _anchors(spec)
    rpn_head = RPNHead(backbone.out_channels, anchors.num_anchors_per_location()[0])
    # 1x1, because the pyramid's 3x3 convolution comes right before it.
    rpn_head.conv = nn.Sequential(
        nn.Conv2d(backbone.out_channels, backbone.out_channels, 1), nn.ReLU(inplace=True)
    )
    proposals = max(PROPOSALS, 2 * spec.max_detections)
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=rpn_head,
        rpn_pre_nms_top_n_train=proposals,
        rpn_pre_nms_top_n_test=proposals,
        rpn_post_nms_top_n_train=proposals,
        rpn_post_nms_top_n_test=proposals,
        rpn_batch_size_per_image=128,
        # Half an overlap is enough: the anchors of a rare, large object are few.
        rpn_fg_iou_thresh=0.5,
        box_head=TwoMLPHead(backbone.out_channels * POOLED**2, HEAD_WIDTH),
        box_predictor=Predictor(HEAD_WIDTH, len(spec.classes) + 1),
        # Large enough that the boxes of a common class do not crowd out those of a rare one.
        box_batch_size_per_image=128,
        box_positive_fraction=0.5,
        box_nms_thresh=NMS_IOU,
        box_detections_per_img=spec.max_detections,
    )
    model.transform = input_transform(spec)
    model.rpn.box_similarity = pairwise_iou
    model.roi_heads.box_roi_pool = RoIPooling(
        STRIDES, size=POOLED, coarsest_from=COARSEST_FROM, reach=REACH
    )
    model.roi_heads.add_gt_proposals = with_shifted_truth
    return model


def _torchvision(spec: DetectorSpec, *, frozen: bool) -> FasterRCNN:
    make, eps, fixed, _ = _TORCHVISION[spec.architecture]
    most = spec.max_detections
    # Up to COCO's number of objects, with the numbers of proposals that the weights were made for.
    more = (
        {}
        if most <= PROPOSALS / 2
        else {f"rpn_{n}_nms_top_n_test": 10 * most for n in ("pre", "post")}
    )
    model: FasterRCNN = make(
        weights=None, weights_backbone=None, progress=False, box_detections_per_img=most, **more
    )
    head = model.roi_heads.box_predictor
    model.transform = input_transform(spec)
    model.roi_heads.box_predictor = Predictor(head.cls_score.in_features, len(spec.classes) + 1)
    model.rpn.anchor_generator = _anchors(spec)
    if frozen:
        _freeze_norms(model.backbone, eps=eps)
        for name in fixed:
            model.backbone.body[name].requires_grad_(requires_grad=False)
    return model


def _anchors(spec: DetectorSpec) -> AnchorGenerator:
    return AnchorGenerator(spec.anchor_sizes, (spec.aspect_ratios,) * len(spec.anchor_sizes))


def _freeze_norms(module: nn.Module, *, eps: float) -> None:
    """Replace batch norms by frozen ones."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))
        else:
            _freeze_norms(child, eps=eps)


def _load_pretrained(model: FasterRCNN, state: Mapping[str, Tensor], architecture: str) -> None:
    """Load all but the predictor, whose classes are others."""
    expected = {name for name in model.state_dict() if not name.startswith(_PREDICTOR)}
    if architecture == "resnet50" and "conv1.weight" in state:  # an ImageNet ResNet-50
        state = from_imagenet(state, "backbone.body.")
        expected = {name for name in expected if name.startswith("backbone.body.")}
    else:
        state = {
            _todays_name(name): value
            for name, value in state.items()
            if not name.startswith(_PREDICTOR) and not name.endswith("num_batches_tracked")
        }
    load_part(model, state, expected, known=_TORCHVISION[architecture][3])


def _todays_name(name: str) -> str:
    """Of a tensor in torchvision's published files, which are older than two of its layers."""
    name = re.sub(r"(fpn\.\w+_blocks\.\d)\.(weight|bias)$", r"\1.0.\2", name)
    return re.sub(r"(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2", name)


class Predictor(FastRCNNPredictor):  # type: ignore[misc]  # an untyped base
    """Class scores and boxes, in float32 also under autocast: a bf16 score has two digits."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C) -> (N, K + 1) logits and (N, 4 K + 4) box shifts."""
        with torch.autocast(x.device.type, enabled=False):
            scores, shifts = super().forward(x.float())
        return scores, shifts


def with_shifted_truth(proposals: list[Tensor], truth: list[Tensor]) -> list[Tensor]:
    """Per image (N, 4) proposals, the (M, 4) labelled boxes, and SHIFTED_COPIES of these, shifted.

    On a few images the proposals soon fit the training objects closely. In a new image those of a
    long, thin object do not, and only from such ones does the head learn to correct them.
    """
    together = []
    for proposed, boxes in zip(proposals, truth, strict=True):
        copies = boxes.repeat(SHIFTED_COPIES, 1)
        sides = (copies[:, 2:] - copies[:, :2]).repeat(1, 2)
        shifted = copies + SHIFT * sides * (2 * torch.rand_like(copies) - 1)
        together.append(torch.cat([proposed, boxes, shifted]))
    return together


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) intersection over union of (N, 4) and (M, 4) xyxy boxes, as `torchvision.ops.box_iou`.

    That one computes on (N, M, 2), whose last axis is too short for vector instructions: it takes
    20 times as long for 8 boxes and 32,000 anchors on a CPU.
    """
    ax1, ay1, ax2, ay2 = a.t()[:, :, None].unbind(0)  # (N, 1)
    bx1, by1, bx2, by2 = b.t().contiguous().unbind(0)  # (M,)
    width = torch.minimum(ax2, bx2).sub_(torch.maximum(ax1, bx1)).clamp_(min=0)
    height = torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).clamp_(min=0)
    both = width.mul_(height)
    either = ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)).sub_(both)
    return both.div_(either)
