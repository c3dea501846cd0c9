"""A Faster R-CNN that trains on a few dozen images within minutes on a CPU.

torchvision's `FasterRCNN` class, with a small residual network and feature pyramid instead of a
ResNet, and with numbers of proposals that suit tens of objects per image instead of hundreds. The small
network trains from scratch; `lite_levels` has a pretrained one to take its place.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork

from unseen.detector.lite_levels import LiteBackbone
from unseen.detector.roi_pooling import RoIPooling
from unseen.errors import ConfigError

#: Standard deviation of an image, in [0, 1], below which its noise is not amplified further.
MIN_CONTRAST = 0.01
#: Longer side in px from which a box is looked at on the coarsest level, stride 16.
#: (torchvision's 224 belongs to strides up to 32 and images of 800 px.)
COARSEST_FROM = 64
#: Strides of the feature pyramid.
STRIDES = (4, 8, 16)
#: Bins per side in which the head sees a box.
POOLED = 5
#: How far these bins reach, in sides of the box.
REACH = 1.2
#: Shifted copies of each labelled box that the head trains on, and how far each of their sides may
#: be off, as a share of width or height.
SHIFTED_COPIES = 4
SHIFT = 0.3
#: Overlap above which two boxes of a class are one object found twice.
NMS_IOU = 0.3
#: Units of the two layers between pooled features and predictions.
HEAD_WIDTH = 128


def small_faster_rcnn(
    n_classes: int,
    *,
    image_size: int,
    shortest_side: int,
    anchor_sizes: tuple[tuple[int, ...], ...],
    aspect_ratios: tuple[float, ...],
    backbone: SmallBackbone | LiteBackbone | None = None,
) -> FasterRCNN:
    """The untrained network.

    Args:
        n_classes: without background.
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
        anchor_sizes: side in px of the square anchors, for strides 4, 8 and 16; as many on each.
        aspect_ratios: height / width of the anchors.
        backbone: gives levels "0", "1" and "2" of `out_channels` each at those strides; by default
            a `SmallBackbone`.
    """
    backbone = backbone or SmallBackbone()
    anchors = AnchorGenerator(anchor_sizes, (aspect_ratios,) * len(anchor_sizes))
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=_rpn_head(backbone.out_channels, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=200,
        rpn_batch_size_per_image=128,
        # Half an overlap is enough: the anchors of a rare, large object are few.
        rpn_fg_iou_thresh=0.5,
        box_head=TwoMLPHead(backbone.out_channels * POOLED**2, HEAD_WIDTH),
        box_predictor=Predictor(HEAD_WIDTH, n_classes + 1),
        # Large enough that the boxes of a common class do not crowd out those of a rare one.
        box_batch_size_per_image=128,
        box_positive_fraction=0.5,
        box_nms_thresh=NMS_IOU,
    )
    model.transform = StandardisingTransform(
        shortest_side, image_size, [0.0] * 3, [1.0] * 3, _skip_resize=True
    )
    model.rpn.box_similarity = pairwise_iou
    model.roi_heads.box_roi_pool = RoIPooling(
        STRIDES, size=POOLED, coarsest_from=COARSEST_FROM, reach=REACH
    )
    model.roi_heads.add_gt_proposals = with_shifted_truth
    return model


def refuse_weights(weights: str | None) -> None:
    """The small networks have no pretrained weights.

    Raises:
        ConfigError: `weights` names a file.
    """
    if weights not in (None, "none", "default"):
        raise ConfigError(
            f"weights={weights!r}: expected none with architecture 'small', which trains from "
            "scratch; set architecture to 'resnet50', 'mobilenet_v3' or 'lite0', whichever they are of"
        )


def with_shifted_truth(proposals: list[Tensor], truth: list[Tensor]) -> list[Tensor]:
    """Proposals, the labelled boxes, and copies of these that are somewhat off.

    On a few images the proposals soon fit the training objects closely. In a new image those of
    a long, thin object do not, and only from such ones does the head learn to put them right.

    Args:
        proposals: per image (N, 4) xyxy px.
        truth: per image (M, 4) xyxy px.

    Returns:
        Per image (N + M + SHIFTED_COPIES * M, 4).
    """
    together = []
    for proposed, boxes in zip(proposals, truth, strict=True):
        copies = boxes.repeat(SHIFTED_COPIES, 1)
        sides = (copies[:, 2:] - copies[:, :2]).repeat(1, 2)
        shifted = copies + SHIFT * sides * (2 * torch.rand_like(copies) - 1)
        together.append(torch.cat([proposed, boxes, shifted]))
    return together


class SmallBackbone(nn.Module):
    """A residual network with a feature pyramid on strides 4, 8 and 16."""

    def __init__(
        self, channels: tuple[int, int, int, int] = (16, 32, 64, 128), out: int = 48
    ) -> None:
        super().__init__()
        stem, *stages = channels
        self.stem = norm_relu(nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False))
        self.stages = nn.ModuleList(
            Stage(before, after) for before, after in zip(channels, stages, strict=False)
        )
        self.pyramid = FeaturePyramidNetwork(list(stages), out)
        self.out_channels = out

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, 3, H, W) -> levels "0", "1", "2" of (B, out, H / s, W / s), s = 4, 8, 16."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        features = OrderedDict()
        for level, stage in enumerate(self.stages):
            x = stage(x)
            features[str(level)] = x
        pyramid: OrderedDict[str, Tensor] = self.pyramid(features)
        return pyramid


class Stage(nn.Module):
    """Halves the resolution; two residual steps of one and two 3x3 convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after)
        )
        # Averages reach the coarse levels directly: faint, wide stains are nothing but averages.
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        self.inner = norm_relu(nn.Conv2d(after, after, 3, padding=1, bias=False))
        self.outer = nn.Sequential(
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) -> (B, after, H / 2, W / 2)."""
        average = functional.avg_pool2d(x, 2, ceil_mode=True)
        x = functional.relu(self.down(x) + self.shortcut(average))
        return functional.relu(x + self.outer(self.inner(x)))


def _rpn_head(channels: int, anchors: int) -> RPNHead:
    """torchvision's, with a 1x1 convolution: the pyramid's 3x3 one comes right before it."""
    head = RPNHead(channels, anchors)
    head.conv = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True))
    return head


def norm_relu(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution, batch normalisation and ReLU."""
    return nn.Sequential(
        convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)
    )


class Predictor(FastRCNNPredictor):  # type: ignore[misc]
    """Class scores and boxes, in float32 also under autocast: a bf16 score has two digits."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C) -> (N, K + 1) logits and (N, 4 K + 4) box shifts."""
        with torch.autocast(x.device.type, enabled=False):
            scores, shifts = super().forward(x.float())
        return scores, shifts


class StandardisingTransform(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Gives each image mean 0 and standard deviation 1, at the scale at which it is looked at.

    What differs from image to image in brightness and contrast is often more than what a faint
    object differs from its surroundings.
    """

    def normalize(self, image: Tensor) -> Tensor:
        """Nothing yet: it is the resized image that counts."""
        return image

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """(3, H, W) -> (3, H', W'), standardised; boxes follow."""
        image, target = super().resize(image, target)
        return (image - image.mean()) / image.std().clamp(min=MIN_CONTRAST), target


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of a few boxes with very many, as `torchvision.ops.box_iou` gives it.

    That one computes on (N, M, 2), whose last axis is too short for vector instructions: it takes
    8 times as long for 8 boxes and 32,000 anchors on a CPU.

    Args:
        a: (N, 4) xyxy.
        b: (M, 4) xyxy.

    Returns:
        (N, M) in [0, 1].
    """
    ax1, ay1, ax2, ay2 = a.t()[:, :, None].unbind(0)  # (N, 1)
    bx1, by1, bx2, by2 = b.t().contiguous().unbind(0)  # (M,)
    width = torch.minimum(ax2, bx2).sub_(torch.maximum(ax1, bx1)).clamp_(min=0)
    height = torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).clamp_(min=0)
    both = width.mul_(height)
    either = ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)).sub_(both)
    return both.div_(either)
