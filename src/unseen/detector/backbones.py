"""The backbones for CPUs and little data, and how each architecture sees images."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork

from unseen.detector.data_parallel import over_all, rank_and_size
from unseen.ranking.features.borrowed_networks import IMAGENET_MEAN, IMAGENET_STD
from unseen.ranking.features.efficientnet_lite import LEVELS, EfficientNetLite0

if TYPE_CHECKING:
    from unseen.detector.models import DetectorSpec

#: Standard deviation of an image, in [0, 1], below which its noise is not amplified further.
MIN_CONTRAST = 0.01
_PYRAMID_CHANNELS = 48

#: A 3x3 convolution with batch normalisation and ReLU.
ConvNormReLU = partial(Conv2dNormActivation, kernel_size=3)


class Stage(nn.Module):
    """Halves the resolution; two residual steps of one and two 3x3 convolutions."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = ConvNormReLU(before, after, stride=2, activation_layer=None)
        # Averages reach the coarse levels directly: faint, wide stains are nothing but averages.
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        self.inner = ConvNormReLU(after, after)
        self.outer = ConvNormReLU(after, after, activation_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) -> (B, after, H / 2, W / 2)."""
        average = functional.avg_pool2d(x, 2, ceil_mode=True)
        x = functional.relu(self.down(x) + self.shortcut(average))
        return functional.relu(x + self.outer(self.inner(x)))


class SmallLevels(nn.Module):
    """A residual network from scratch: a stem, and a stage per number of channels."""

    def __init__(self, channels: tuple[int, ...], stem: int = 16) -> None:
        super().__init__()
        self.channels = channels
        self.stem = ConvNormReLU(3, stem, stride=2)
        befores = (stem, *channels[:-1])
        self.stages = nn.ModuleList(map(Stage, befores, channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> per stride s = 4, 8, ... (B, C, H / s, W / s), finest first."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class SmallBackbone(SmallLevels):
    """`SmallLevels` with a feature pyramid on strides 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__((32, 64, 128))
        self.pyramid = FeaturePyramidNetwork(list(self.channels), _PYRAMID_CHANNELS)
        self.out_channels = _PYRAMID_CHANNELS

    # Checkpoints have the names of a subclass, not those of a network that holds `SmallLevels`.
    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:  # type: ignore[override]  # untyped there
        """(B, 3, H, W) -> levels "0", "1", "2" of (B, out, H / s, W / s)."""
        return _pyramid(self.pyramid, super().forward(x))


class LiteLevels(nn.Module):
    """EfficientNet-Lite0 without its classifier, up to the stride `coarsest`; it is cut in place.

    A million photographs teach textures and edges better than a few dozen images. A pretrained one
    has its normalisation folded into the convolutions, because statistics of four images would only
    blur it; the stem and the first blocks stay as they are, the others learn slowly. Images are not
    standardised one by one: what it knows depends on brightness and contrast.
    """

    def __init__(self, network: EfficientNetLite0, *, coarsest: int) -> None:
        super().__init__()
        levels = [level for stride, level in LEVELS.items() if stride <= coarsest]
        self.blocks = tuple(block for block, _ in levels)
        self.channels = tuple(channels for _, channels in levels)
        self.network = network.cut(self.blocks[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> per stride s (B, C, H / s, W / s), finest first."""
        x = x.contiguous(memory_format=torch.channels_last)
        levels: list[Tensor] = self.network(x, self.blocks)
        return levels


class LiteBackbone(nn.Module):
    """`LiteLevels` with a feature pyramid on strides 4, 8 and 16."""

    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.levels = LiteLevels(network, coarsest=16)
        self.pyramid = FeaturePyramidNetwork(list(self.levels.channels), _PYRAMID_CHANNELS)
        self.out_channels = _PYRAMID_CHANNELS

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, 3, H, W) in [-1, 1] -> levels "0", "1", "2" of (B, out, H / s, W / s)."""
        return _pyramid(self.pyramid, self.levels(x))


def _pyramid(pyramid: nn.Module, levels: list[Tensor]) -> OrderedDict[str, Tensor]:
    outputs: OrderedDict[str, Tensor] = pyramid(
        OrderedDict((str(i), level) for i, level in enumerate(levels))
    )
    return outputs


def slow_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The pretrained blocks of `LiteLevels` that are not frozen; they learn at a lower rate."""
    return [
        parameter
        for module in model.modules()
        if isinstance(module, LiteLevels) and module.network.is_folded
        for parameter in module.parameters()
        if parameter.requires_grad
    ]


class InputTransform(GeneralizedRCNNTransform):  # type: ignore[misc]  # an untyped base
    """Normalises images that have the network's scale already, as `unseen.detector.data.resize` does."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Both as they are."""
        return image, target

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        """(B, 3, H, W), padded to the largest of the whole batch where several processes share one."""
        padded: Tensor
        if rank_and_size()[1] == 1:
            padded = super().batch_images(images, size_divisible)
            return padded
        sizes = torch.tensor([image.shape for image in images], device=images[0].device)
        largest = over_all(sizes.amax(0), largest=True).tolist()
        padded = super().batch_images([*images, images[0].new_zeros(largest)], size_divisible)
        return padded[:-1]


class StandardisingTransform(InputTransform):
    """Gives each image mean 0 and standard deviation 1.

    Images often differ more in brightness and contrast than a faint object differs from its
    surroundings.
    """

    def normalize(self, image: Tensor) -> Tensor:
        """(3, H, W), standardised."""
        return (image - image.mean()) / image.std().clamp(min=MIN_CONTRAST)


def input_transform(spec: DetectorSpec) -> InputTransform:
    """Normalises images (3, H, W) in [0, 1] as the architecture expects them."""
    if spec.architecture == "small":
        return StandardisingTransform(*spec.sides, [0.0] * 3, [1.0] * 3)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if spec.architecture == "lite0":
        mean, std = EfficientNetLite0.MEAN, EfficientNetLite0.STD
    return InputTransform(*spec.sides, list(mean), list(std))
