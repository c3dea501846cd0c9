"""Detectors of boxes with classes: Faster R-CNN and CenterNet, their data, training and metrics."""

from __future__ import annotations

from unseen.errors import ConfigError

#: Detectors as people call them.
DETECTOR_NAMES = {"faster_rcnn": "Faster R-CNN", "centernet": "CenterNet"}


#: Architectures of the detectors, and "auto".
DETECTOR_BACKBONES = ("auto", "lite0", "small", "mobilenet_v3", "resnet50")


def check_backbone(detector: str, architecture: str) -> None:
    """Which architectures a detector has.

    Raises:
        ConfigError: this one not.
    """
    if detector == "centernet" and architecture == "mobilenet_v3":
        raise ConfigError(
            "architecture='mobilenet_v3' with detector 'centernet': it is torchvision's Faster R-CNN; "
            "choose detector 'faster_rcnn', or architecture 'lite0', 'small' or 'resnet50'"
        )
