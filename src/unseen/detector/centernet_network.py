"""CenterNet's layers: a backbone, the way back up to stride 4, and three heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.ops import FrozenBatchNorm2d

from unseen.detector.small_faster_rcnn import Stage, norm_relu

#: px per cell of the output.
STRIDE = 4
#: The heatmap says this everywhere before training, so that the many empty cells do not drown the
#: few centres in the first steps (Lin et al. 2017, "Focal Loss").
PRIOR = 0.1


class SmallLevels(nn.Module):
    """A stem and four residual stages, at strides 4, 8, 16 and 32, as the small Faster R-CNN's."""

    channels: tuple[int, ...] = (32, 64, 96, 128)

    def __init__(self, stem: int = 16) -> None:
        super().__init__()
        self.stem = norm_relu(nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False))
        befores = (stem, *self.channels[:-1])
        self.stages = nn.ModuleList(
            Stage(before, after) for before, after in zip(befores, self.channels, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> per stride s (B, C, H / s, W / s), finest first."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class ResNet50Levels(nn.Module):
    """torchvision's ResNet-50 without its classifier, at strides 4, 8, 16 and 32."""

    channels: tuple[int, ...] = (256, 512, 1024, 2048)

    def __init__(self, *, frozen: bool) -> None:
        """Build it.

        Args:
            frozen: whether to keep normalisation, stem and first stage as they are loaded, as
                torchvision does from pretrained weights.
        """
        super().__init__()
        # eps = 0 is how torchvision's COCO weights were made.
        norm = partial(FrozenBatchNorm2d, eps=0.0) if frozen else nn.BatchNorm2d
        self.body = resnet50(weights=None, norm_layer=norm)
        del self.body.avgpool, self.body.fc
        if frozen:
            for part in (self.body.conv1, self.body.bn1, self.body.layer1):
                part.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> per stride s (B, C, H / s, W / s), finest first."""
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        levels = []
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = stage(x)
            levels.append(x)
        return levels


class WayUp(nn.Module):
    """From the coarsest level to the finest, with a convolution on each.

    A centre is to be found to within a cell, also of an object that only coarse levels see whole:
    so what they know is interpolated and worked on at every stride.
    """

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(before, out, 1) for before in channels)
        self.merge = nn.ModuleList(
            norm_relu(nn.Conv2d(out, out, 3, padding=1, bias=False)) for _ in channels[1:]
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Levels, finest first -> (B, out, H, W) of the finest."""
        x: Tensor = self.lateral[-1](levels[-1])
        for level, lateral, merge in zip(
            levels[-2::-1], self.lateral[-2::-1], self.merge[::-1], strict=True
        ):
            larger = functional.interpolate(x, size=level.shape[-2:], mode="bilinear")
            x = merge(lateral(level) + larger)
        return x


class TopDown(nn.Module):
    """The finest level of a feature pyramid (Lin et al. 2017, "Feature Pyramid Networks").

    The same sums and convolutions as torchvision's `FeaturePyramidNetwork`, so that its weights
    fit, without the levels that nothing looks at.
    """

    def __init__(self, channels: Sequence[int], out: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(before, out, 1) for before in channels)
        self.smooth = nn.Conv2d(out, out, 3, padding=1)
        for layer in (*self.lateral, self.smooth):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Levels, finest first -> (B, out, H, W) of the finest."""
        x = self.lateral[-1](levels[-1])
        for level, lateral in zip(levels[-2::-1], self.lateral[-2::-1], strict=True):
            x = lateral(level) + functional.interpolate(x, size=level.shape[-2:], mode="nearest")
        smoothed: Tensor = self.smooth(x)
        return smoothed


class Heads(nn.Module):
    """Heatmap, offset and size; the last layers in float32 also under autocast."""

    def __init__(self, before: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.heat = _head(before, width, n_classes)
        self.box = _head(before, width, 4)
        # Indexing a Sequential gives a Module, of which mypy cannot know that it has a bias.
        nn.init.constant_(self.heat[-1].bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> logits (B, K, H, W), offsets and log sizes (B, 2, H, W) in cells."""
        heat, box = self.heat[:-1](x), self.box[:-1](x)
        with torch.autocast(x.device.type, enabled=False):
            heat, box = self.heat[-1](heat.float()), self.box[-1](box.float())
        return heat, box[:, :2], box[:, 2:]


def _head(before: int, width: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, after, 1)
    )
