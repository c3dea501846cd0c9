"""CenterNet, the second detector: an object is the point at its centre.

Zhou, Wang & Kraehenbuehl 2019, "Objects as Points". Called like torchvision's detectors, so that
the same loop trains it and the same code uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from unseen.errors import CheckpointError, ShapeError
from unseen.science.centernet_decoding import decode
from unseen.science.centernet_loss import centernet_losses
from unseen.science.centernet_network import (
    STRIDE,
    Heads,
    ResNet50Levels,
    SmallLevels,
    TopDown,
)
from unseen.science.centernet_targets import cells_inside, encode
from unseen.science.small_faster_rcnn import StandardisingTransform

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
                be 0.

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
            is_inside = cells_inside(batch.image_sizes, heat, stride=STRIDE)
            return centernet_losses(heat, offsets, sizes, truth, is_inside)
        found = decode(heat, offsets, sizes, batch.image_sizes, stride=STRIDE)
        scaled: list[dict[str, Tensor]] = self.transform.postprocess(
            found, batch.image_sizes, original
        )
        return scaled


def small_centernet(n_classes: int, *, image_size: int, shortest_side: int) -> CenterNet:
    """The untrained small network, for CPUs and little data; 0.8 M parameters.

    Args:
        n_classes: without background.
        image_size: longest side of an image inside the network, px.
        shortest_side: its shortest side is not enlarged beyond this, px.
    """
    features, width = SMALL_WIDTHS
    return CenterNet(
        StandardisingTransform(shortest_side, image_size, [0.0] * 3, [1.0] * 3, _skip_resize=True),
        SmallLevels(),
        TopDown(SmallLevels.channels, features),
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


def load_pretrained(model: CenterNet, state: Mapping[str, Tensor]) -> None:
    """Load what a pretrained network has in common with a frozen `resnet50_centernet`.

    Args:
        model: to load into.
        state: tensors of torchvision's `fasterrcnn_resnet50_fpn`, which give backbone and way up,
            or of its ResNet-50 for ImageNet, which give the backbone.

    Raises:
        CheckpointError: the tensors are of something else.
    """
    found = _from_imagenet(state) if "conv1.weight" in state else _from_detector(state)
    wanted = ("levels.",) if "conv1.weight" in state else ("levels.", "top_down.")
    expected = {name for name in model.state_dict() if name.startswith(wanted)}
    if set(found) != expected:
        odd = sorted(set(found) ^ expected)
        raise CheckpointError(
            f"the pretrained weights are not those of torchvision's fasterrcnn_resnet50_fpn or "
            f"resnet50: {len(odd)} tensors differ, such as {odd[0]!r}; name another file, or "
            "weights='none'"
        )
    try:
        model.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"the pretrained weights do not fit ({str(error).splitlines()[-1].strip()}); name "
            "another file, or weights='none'"
        ) from error


def _from_imagenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # The frozen normalisation adds no eps of its own.
    eps = nn.BatchNorm2d(1).eps
    return {
        f"levels.body.{name}": value + eps if name.endswith("running_var") else value
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }


def _from_detector(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        part, *rest = name.removeprefix("backbone.").split(".")
        if not name.startswith("backbone.") or name.endswith("num_batches_tracked"):
            continue
        if part == "body":
            renamed[f"levels.body.{'.'.join(rest)}"] = value
        elif rest[0] == "inner_blocks":
            renamed[f"top_down.lateral.{rest[1]}.{rest[-1]}"] = value
        elif rest[:2] == ["layer_blocks", "0"]:
            renamed[f"top_down.smooth.{rest[-1]}"] = value
    return renamed


def is_frozen(weights: Mapping[str, Tensor]) -> bool:
    """Whether stored weights belong to a `resnet50_centernet` made with `frozen`."""
    # Frozen normalisation counts no batches.
    return "levels.body.bn1.num_batches_tracked" not in weights
