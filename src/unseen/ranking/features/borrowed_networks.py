"""Networks that other packages define, each returning three feature maps.

As in `EfficientNetLite0`, class attributes describe the weights: NAME of the backbone, MARK a tensor
that no other network has, HEAD the prefixes of tensors that are not needed, PREFIX of the names in
the network that the file lacks, MEAN and STD of the images per colour.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from unseen.errors import ConfigError

#: Normalisation of ImageNet weights.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: timm's name of DINOv2's small vision transformer.
DINOV2_S = "vit_small_patch14_dinov2.lvd142m"


class MobileNetV2Stages(nn.Module):
    """Torchvision's MobileNetV2 (Sandler et al. 2018) without its last convolution."""

    NAME, MARK, PREFIX = "mobilenet_v2", "features.1.conv.0.0.weight", ""
    HEAD = ("features.18.", "classifier.")
    MEAN, STD = IMAGENET_MEAN, IMAGENET_STD
    #: The last layers at stride 8, 16 and 32, and their channels.
    STAGES = (6, 13, 17)
    CHANNELS = (32, 96, 320)

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2

        self.features = mobilenet_v2(weights=None).features[: self.STAGES[-1] + 1]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised (B, 3, H, W) -> (B, 32 | 96 | 320, ...) at strides 8, 16 and 32, rounded up."""
        x, stages = images, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.STAGES:
                stages.append(x)
        return stages


class DinoV2Stages(nn.Module):
    """DINOv2's small vision transformer (Oquab et al. 2023), as timm builds it.

    Its three maps come from blocks at three depths and share one stride, a patch of 14 px. Raises
    `ConfigError` if timm is not installed.
    """

    NAME, MARK, PREFIX = "dinov2_s", "blocks.0.ls1.gamma", "body."
    HEAD = ("mask_token",)
    MEAN, STD = IMAGENET_MEAN, IMAGENET_STD
    STAGES = (3, 7, 11)
    CHANNELS = (384, 384, 384)
    PATCH = 14

    def __init__(self) -> None:
        super().__init__()
        self.body: Any = _for_dino("timm").create_model(
            DINOV2_S, pretrained=False, num_classes=0, dynamic_img_size=True
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised (B, 3, H, W) -> 3 x (B, 384, H / 14, W / 14), rounded to whole patches."""
        size = [max(1, round(side / self.PATCH)) * self.PATCH for side in images.shape[2:]]
        if size != list(images.shape[2:]):
            images = F.interpolate(
                images, size, mode="bilinear", align_corners=False, antialias=True
            )
        return list(
            self.body.forward_intermediates(
                images, indices=list(self.STAGES), norm=True, intermediates_only=True
            )
        )


def dino_hub() -> Any:
    """The client that timm downloads with; raises `ConfigError` if it or timm is not installed."""
    return _for_dino("timm") and _for_dino("huggingface_hub")


def _for_dino(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"backbone 'dinov2_s' needs the package {package}, which cannot be imported ({error}); "
            "pip install 'unseen[dino]', or take backbone 'auto'"
        ) from error
