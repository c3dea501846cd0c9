"""Networks that other packages define, each giving out three maps of features."""

from __future__ import annotations

import importlib
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from unseen.errors import ConfigError

#: What weights for ImageNet are trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: timm's name for DINOv2's small vision transformer.
DINOV2_S = "vit_small_patch14_dinov2.lvd142m"


class MobileNetV2Stages(nn.Module):
    """torchvision's MobileNetV2 without its last convolution (Sandler et al. 2018)."""

    #: Parts whose outputs are given out: the last ones of stride 8, 16 and 32.
    GIVEN = (6, 13, 17)
    CHANNELS = (32, 96, 320)
    #: Parts of the full network that are left out.
    HEAD = ("features.18.", "classifier.")

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features[: self.GIVEN[-1] + 1]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised (B, 3, H, W) -> (B, 32 | 96 | 320, ...) at strides 8, 16 and 32, rounded up."""
        x, given = images, []
        for number, part in enumerate(self.features):
            x = part(x)
            if number in self.GIVEN:
                given.append(x)
        return given


class DinoV2Stages(nn.Module):
    """DINOv2's small vision transformer (Oquab et al. 2023), as timm builds it.

    Its three maps come from blocks at three depths and have the same stride: a patch of 14 px.
    """

    #: Side of a patch, px.
    PATCH = 14
    GIVEN = (3, 7, 11)
    CHANNELS = (384, 384, 384)
    #: Used in its training only.
    HEAD = ("mask_token",)

    def __init__(self) -> None:
        """Build it without weights.

        Raises:
            ConfigError: timm is not installed.
        """
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
                images, indices=list(self.GIVEN), norm=True, intermediates_only=True
            )
        )


def dino_hub() -> Any:
    """The client by which timm gets its weights.

    Raises:
        ConfigError: timm or the client is not installed.
    """
    return _for_dino("timm") and _for_dino("huggingface_hub")


def _for_dino(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"backbone 'dinov2_s' needs the package {package}, which cannot be imported ({error}); "
            "pip install 'unseen[dino]', or take backbone 'auto'"
        ) from error
