"""CenterNet, the second detector: an object is the point at its centre.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points". Called like torchvision's detectors, so that
the same loop trains it and the same code uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from unseen.arrays.scope import known_cells
from unseen.detector.centernet_decoding import decode
from unseen.detector.centernet_loss import centernet_losses
from unseen.detector.centernet_network import (
    STRIDE,
    Heads,
    ResNet50Levels,
    SmallLevels,
    TopDown,
    WayUp,
)
from unseen.detector.centernet_targets import cells_inside, encode
from unseen.detector.centernet_weights import load_pretrained
from unseen.detector.lite_levels import LiteLevels, empty_lite, is_folded, lite_transform, read_lite
from unseen.detector.small_faster_rcnn import StandardisingTransform, refuse_weights
from unseen.errors import CheckpointError, ShapeError
from unseen.ranking.features.efficientnet_lite import EfficientNetLite0
from unseen.ranking.features.weights import read_weights

#: Features at stride 4, and units of the layer that the heads share.
SMALL_WIDTHS = (48, 64)
RESNET50_WIDTHS = (256, 64)
#: What torchvision's weights expect of an image: its mean and deviation per channel.
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class CenterNet(nn.Module):
    """Images in; losses out in training mode, boxes in evaluation mode."""

    def __init__(
        self,
        transform: GeneralizedRCNNTransform,
        levels: nn.Module,
        top_down: nn.Module,
        heads: Heads,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.levels = levels
        self.top_down = top_down
        self.heads = heads

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Train on a batch, or find objects in it.

        Args:
            images: each (3, H, W) or grey (1, H, W) float32 in [0, 1], of any size.
            targets: in training, per image `boxes` (N, 4) xyxy px and `labels` (N,) from 1; N may
                be 0. Where the image is labelled in part also `unknown`, the rest as (K, 4) xyxy px:
                there the heatmap counts at the centres of boxes only.

        Returns:
            In training mode the losses by name, each () float32. In evaluation mode per image
            `boxes` (N, 4) float32 xyxy px of the image as it came, `labels` (N,) from 1 and
            `scores` (N,) in [0, 1], the highest first.

        Raises:
            ShapeError: training without targets.
        """
        if self.training and (targets is None or len(targets) != len(images)):
            raise ShapeError(
                f"{len(images)} images and {len(targets or [])} targets; expected one for each in "
                "training mode; call eval() to find objects"
            )
        original = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        batch, targets = self.transform([image.expand(3, -1, -1) for image in images], targets)
        heat, offsets, sizes = self.heads(self.top_down(self.levels(batch.tensors)))
        if self.training:
            truth = encode(
                [target["boxes"] for target in targets],
                [target["labels"] - 1 for target in targets],
                n_classes=heat.shape[1],
                shape=heat.shape[-2:],
                stride=STRIDE,
            )
            counts = cells_inside(batch.image_sizes, heat, stride=STRIDE)
            is_centre = (truth.heat == 1).any(dim=1)
            for index, target in enumerate(targets):
                if "unknown" in target:
                    known = known_cells(target["unknown"], shape=heat.shape[-2:], stride=STRIDE)
                    counts[index] &= known | is_centre[index]
            return centernet_losses(heat, offsets, sizes, truth, counts)
        found = decode(heat, offsets, sizes, batch.image_sizes, stride=STRIDE)
        scaled: list[dict[str, Tensor]] = self.transform.postprocess(
            found, batch.image_sizes, original
        )
        return scaled


def small_centernet(n_classes: int, *, image_size: int, shortest_side: int) -> CenterNet:
    """The untrained small network, for CPUs and little data; 0.9 M parameters.

    Args:
        n_classes: without background.
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
    """
    features, width = SMALL_WIDTHS
    return CenterNet(
        StandardisingTransform(shortest_side, image_size, [0.0] * 3, [1.0] * 3, _skip_resize=True),
        SmallLevels(),
        WayUp(SmallLevels.channels, features),
        Heads(features, width, n_classes),
    )


def lite0_centernet(
    n_classes: int, network: EfficientNetLite0, *, image_size: int, shortest_side: int
) -> CenterNet:
    """The same with EfficientNet-Lite0 in the place of its residual stages.

    Args:
        n_classes: without background.
        network: with weights or without; see `read_lite`.
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
    """
    features, width = SMALL_WIDTHS
    levels = LiteLevels(network, coarsest=32)
    return CenterNet(
        lite_transform(image_size=image_size, shortest_side=shortest_side),
        levels,
        WayUp(levels.channels, features),
        Heads(features, width, n_classes),
    )


def resnet50_centernet(
    n_classes: int, *, image_size: int, shortest_side: int, frozen: bool
) -> CenterNet:
    """The untrained larger network, with torchvision's ResNet-50.

    Args:
        n_classes: without background.
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
        frozen: prepare it for pretrained weights (see `load_pretrained`): normalisation, stem and
            first stage stay as they are loaded.
    """
    features, width = RESNET50_WIDTHS
    return CenterNet(
        GeneralizedRCNNTransform(
            shortest_side, image_size, _IMAGENET_MEAN, _IMAGENET_STD, _skip_resize=True
        ),
        ResNet50Levels(frozen=frozen),
        TopDown(ResNet50Levels.channels, features),
        Heads(features, width, n_classes),
    )


def build_centernet(
    n_classes: int,
    *,
    architecture: str,
    image_size: int,
    shortest_side: int,
    weights: str | None = None,
) -> tuple[CenterNet, bool, str]:
    """A network ready for training.

    Args:
        n_classes: without background.
        architecture: "small", "lite0" or "resnet50".
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
        weights: for resnet50 the path of torchvision's weights, None or "default" for those that
            torch has stored or can download, or "none"; as for Faster R-CNN, whose file serves. For
            lite0 likewise, with EfficientNet-Lite0's, which a package brings.

    Returns:
        The model, whether it starts from pretrained weights, and one sentence that says so.

    Raises:
        CheckpointError: `weights` names a file that is missing or holds something else.
        ConfigError: `weights` names a file, and the architecture is small.
    """
    size = {"image_size": image_size, "shortest_side": shortest_side}
    if architecture == "small":
        refuse_weights(weights)
        return small_centernet(n_classes, **size), False, "small CenterNet, trained from scratch"
    if architecture == "lite0":
        network, is_pretrained, message = read_lite(weights)
        return lite0_centernet(n_classes, network, **size), is_pretrained, message
    state, message = read_weights(weights)
    model = resnet50_centernet(n_classes, **size, frozen=state is not None)
    if state is not None:
        load_pretrained(model, state)
    return model, state is not None, message


def load_centernet(
    n_classes: int,
    *,
    architecture: str,
    image_size: int,
    shortest_side: int,
    weights: Mapping[str, Tensor],
) -> CenterNet:
    """A trained network in evaluation mode; arguments as for `build_centernet`.

    Raises:
        CheckpointError: the weights do not fit.
    """
    size = {"image_size": image_size, "shortest_side": shortest_side}
    if architecture == "small":
        model = small_centernet(n_classes, **size)
    elif architecture == "lite0":
        model = lite0_centernet(n_classes, empty_lite(folded=is_folded(weights)), **size)
    else:
        # Frozen normalisation counts no batches: so the weights tell which kind they belong to.
        is_frozen = "levels.body.bn1.num_batches_tracked" not in weights
        model = resnet50_centernet(n_classes, **size, frozen=is_frozen)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit a {architecture} CenterNet of {n_classes} classes "
            f"({str(error).splitlines()[-1].strip()}); train again"
        ) from error
    return model.eval()
