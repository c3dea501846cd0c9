"""The detectors: Faster R-CNN in two sizes, ResNet-50 FPN and a small one; CenterNet is built from here.

Ren et al., "Faster R-CNN" (2015), with the feature pyramid of Lin et al. (2017). The larger one is
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
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FrozenBatchNorm2d

from unseen.errors import CheckpointError, ConfigError
from unseen.science.centernet import build_centernet, load_centernet
from unseen.science.pretrained import from_imagenet, load_part, read_weights
from unseen.science.scoped_faster_rcnn import heed_scope
from unseen.science.small_faster_rcnn import Predictor, small_faster_rcnn

ARCHITECTURES = ("small", "resnet50")
DETECTORS = ("faster_rcnn", "centernet")

#: Longest side in px up to which the small detector sees an image as it is.
SMALL_IMAGE_SIZE = 320
#: Shortest and longest side that torchvision's weights were trained with.
RESNET50_IMAGE_SIZE = (800, 1333)


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """All that is needed to build a detector again, besides its weights.

    Attributes:
        architecture: "small" or "resnet50".
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
        architecture: "small" or "resnet50"; see `resolve_architecture` for "auto".
        classes: names, in a fixed order.
        longest_side: of the images at native scale, px.
        image_size: longest side inside the network, px. By default the small detector takes images
            as they are up to 320 px and reduces larger ones to that; resnet50 takes torchvision's
            800 px for the shortest side, 1333 px at most for the longest.
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
    return DetectorSpec(
        architecture=architecture,
        classes=classes,
        image_size=image_size or max(32, min(longest_side, SMALL_IMAGE_SIZE)),
        detector=detector,
    )


def resolve_architecture(architecture: str, device: torch.device) -> str:
    """What "auto" means: resnet50 on a GPU, small elsewhere."""
    if architecture != "auto":
        return architecture
    return "resnet50" if device.type == "cuda" else "small"


def build_detector(
    spec: DetectorSpec, *, weights: str | None = None
) -> tuple[nn.Module, bool, str]:
    """A detector ready for training.

    Args:
        spec: what to build.
        weights: for resnet50 the path of torchvision's weights (`.pth` or `.safetensors`; of the
            whole detector or of an ImageNet ResNet-50), or None or "default" for those that torch
            has stored or can download, or "none" to train from scratch. The small detector always
            trains from scratch.

    Returns:
        The model, whether it starts from pretrained weights, and one sentence that says so.

    Raises:
        CheckpointError: `weights` names a file that is missing or holds something else.
        ConfigError: `weights` names a file, and the architecture is small.
    """
    if spec.detector == "centernet":
        return build_centernet(weights=weights, **_centernet(spec))
    if spec.architecture == "small":
        if weights not in (None, "none", "default"):
            raise ConfigError(
                f"weights={weights!r}: expected none with architecture 'small', which trains from "
                "scratch; set architecture to 'resnet50' to use them"
            )
        return _small(spec), False, "small Faster R-CNN, trained from scratch"
    state, message = read_weights(weights)
    if state is None:
        return _resnet50(spec, frozen=False), False, message
    model = _resnet50(spec, frozen=True)
    _load_pretrained(model, state)
    return model, True, message


def load_detector(spec: DetectorSpec, weights: Mapping[str, Tensor]) -> nn.Module:
    """A trained detector in evaluation mode.

    Raises:
        CheckpointError: the weights do not fit the spec.
    """
    if spec.detector == "centernet":
        return load_centernet(weights=weights, **_centernet(spec))
    if spec.architecture == "small":
        model = _small(spec)
    else:
        # Frozen normalisation counts no batches: so the weights tell which kind they belong to.
        model = _resnet50(spec, frozen="backbone.body.bn1.num_batches_tracked" not in weights)
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


def _small(spec: DetectorSpec) -> FasterRCNN:
    model = small_faster_rcnn(
        len(spec.classes),
        image_size=spec.image_size,
        shortest_side=spec.shortest_side or spec.image_size,
        anchor_sizes=spec.anchor_sizes,
        aspect_ratios=spec.aspect_ratios,
    )
    return heed_scope(model)


def _resnet50(spec: DetectorSpec, *, frozen: bool) -> FasterRCNN:
    model: FasterRCNN = fasterrcnn_resnet50_fpn(
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
        _freeze_norms(model.backbone)
        # As torchvision does from pretrained weights: the stem and the first stage stay.
        for name in ("conv1", "bn1", "layer1"):
            model.backbone.body[name].requires_grad_(requires_grad=False)
    return heed_scope(model)


def _freeze_norms(module: nn.Module) -> None:
    """Replace batch norms by frozen ones with eps = 0, which is how the COCO weights were made."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=0.0))
        else:
            _freeze_norms(child)


def _load_pretrained(model: FasterRCNN, state: Mapping[str, Tensor]) -> None:
    """Load all but the predictor, whose classes are others."""
    if "conv1.weight" in state:  # an ImageNet ResNet-50
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
    load_part(model, state, expected)


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list | tuple) else value
