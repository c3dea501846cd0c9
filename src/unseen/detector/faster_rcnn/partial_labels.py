"""Faster R-CNN on partially labelled images: what nobody looked at is not background.

Both stages of torchvision's Faster R-CNN match boxes with the labelled objects, call the unmatched
ones background, and train on a sample of both. Here an unmatched box that lies mostly outside of
the image's scope is UNKNOWN instead; boxes that match an object count wherever they lie.

UNKNOWN boxes are dropped from the sample after it is drawn, not before. So each piece of background
inside a scope weighs as much as in a fully labelled image. A sample from the scope alone would
mostly show pieces of the objects that the scope was drawn around, and teach these as background.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from unseen.arrays.scope import is_known
from unseen.detector.data_parallel import divisor

#: Labels; from 1 on they are objects, and -1 is torchvision's for what is too near to one.
BACKGROUND, UNKNOWN = 0, -2


class ScopedSampler(BalancedPositiveNegativeSampler):  # type: ignore[misc]  # an untyped base
    """Draws objects and background as torchvision does, and then drops what is UNKNOWN."""

    #: Share of the last sample that was not dropped; in processes that train together, what was kept
    #: as a multiple of their mean number drawn.
    known = 1.0

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per image the labels (N,) -> masks (N,) of the objects and the background drawn."""
        as_if = [of_image.masked_fill(of_image == UNKNOWN, BACKGROUND) for of_image in labels]
        objects, background = super().__call__(as_if)
        kept = [
            drawn * (of_image != UNKNOWN)
            for drawn, of_image in zip(background, labels, strict=True)
        ]
        before, after = (sum(int(m.sum()) for m in objects + of) for of in (background, kept))
        self.known = after / float(divisor(labels[0].new_tensor(before)))
        return objects, kept

    def weighted(self, loss: Tensor) -> Tensor:
        """Turn a mean over what was kept into one over all that was drawn; dropped counts as 0."""
        if self.known == 1:
            return loss
        # The mean of nothing is NaN; this 0 keeps its place in the graph.
        return loss * self.known if self.known else loss.nan_to_num(0.0) * 0


class ScopedRPN(RegionProposalNetwork):  # type: ignore[misc]  # an untyped base
    """Proposes boxes; targets may have `unknown`, (K, 4) xyxy px of rectangles without overlap.

    Anchors and boxes are float32 also under autocast: from 256 px on, bf16 has every second px
    only.
    """

    def forward(
        self, images: Any, features: Mapping[str, Tensor], targets: Any = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """As torchvision's: per image boxes (N, 4) float32 xyxy px, and in training the losses."""
        # Anchors take the type of the features; the layers of the head choose theirs anew.
        levels = {name: level.float() for name, level in features.items()}
        proposals: tuple[list[Tensor], dict[str, Tensor]]
        proposals = super().forward(images, levels, targets)
        return proposals

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[dict[str, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per image its anchors' labels (A,), 1, 0, -1 or -2, and the boxes (A, 4) matched."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        return _with_unknown(labels, anchors, targets), boxes

    def compute_loss(self, *args: Any) -> tuple[Tensor, ...]:
        """Of objectness and box, each ()."""
        return tuple(map(self.fg_bg_sampler.weighted, super().compute_loss(*args)))


class ScopedRoIHeads(RoIHeads):  # type: ignore[misc]  # an untyped base
    """Judges proposals; targets may have `unknown`."""

    _targets: list[dict[str, Tensor]] | None = None

    def forward(
        self, features: Any, proposals: Any, image_shapes: Any, targets: Any = None
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """As torchvision's: detections, and in training the losses by name, each ()."""
        self._targets = targets
        try:
            detections, losses = super().forward(features, proposals, image_shapes, targets)
        finally:
            self._targets = None
        return detections, {k: self.fg_bg_sampler.weighted(loss) for k, loss in losses.items()}

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Per image the object (P,) matched by each proposal, and its label: class, 0, -1 or -2."""
        matches, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        return matches, _with_unknown(labels, proposals, self._targets or [{}] * len(labels))


def heed_scope(model: FasterRCNN) -> FasterRCNN:
    """Make a model heed the scope of its training images; weights and names stay."""
    # By class: torchvision builds the parts itself, from many more arguments than matter here.
    model.rpn.__class__ = ScopedRPN
    # The type of the box shifts decides that of the boxes.
    model.rpn.head.register_forward_hook(
        lambda head, inputs, outputs: tuple([level.float() for level in of] for of in outputs)
    )
    model.roi_heads.__class__ = ScopedRoIHeads
    model.rpn.fg_bg_sampler.__class__ = ScopedSampler
    model.roi_heads.fg_bg_sampler.__class__ = ScopedSampler
    return model


def _with_unknown(
    labels: list[Tensor], boxes: list[Tensor], targets: list[dict[str, Tensor]]
) -> list[Tensor]:
    """Labels in which background that nobody looked at is UNKNOWN."""
    changed = []
    for of_image, xyxy, target in zip(labels, boxes, targets, strict=True):
        if "unknown" in target:
            hidden = (of_image == BACKGROUND) & ~is_known(xyxy, target["unknown"])
            of_image = of_image.masked_fill(hidden, UNKNOWN)
        changed.append(of_image)
    return changed
