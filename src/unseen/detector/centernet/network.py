"""CenterNet: a backbone, the way back up to stride 4, the heads, and their losses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FrozenBatchNorm2d

from unseen.arrays.scope import known_cells
from unseen.detector.backbones import ConvNormReLU, LiteLevels, SmallLevels, input_transform
from unseen.detector.centernet.encoding import (
    STRIDE,
    CentreTargets,
    cells_inside,
    decode,
    encode,
)
from unseen.detector.data_parallel import divisor
from unseen.detector.weights import from_imagenet, load_part

if TYPE_CHECKING:
    from unseen.detector.models import DetectorSpec, Start

#: Features at stride 4; units of the hidden layer of each head.
SMALL_FEATURES, RESNET50_FEATURES = 48, 256
HEAD_WIDTH = 64
#: The heatmap's value everywhere before training, so that the many empty cells do not drown the few
#: centres in the first steps (Lin et al. 2017, "Focal Loss").
PRIOR = 0.1
#: Exponents of the focal loss: of confident cells, and of the neighbours of a centre.
FOCUS, FORGIVENESS = 2, 4
#: Names in torchvision's Faster R-CNN, in today's and in its published file -> names here.
_NAMES = (
    (r"backbone\.(body\..*)(?<!num_batches_tracked)", r"levels.\1"),
    (r"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.(\w+)", r"top_down.lateral.\1.\2"),
    (r"backbone\.fpn\.layer_blocks\.0(?:\.0)?\.(\w+)", r"top_down.smooth.\1"),
)


def build(spec: DetectorSpec, start: Start) -> CenterNet:
    """The network that `spec` describes, with the weights that it starts from."""
    levels: SmallLevels | LiteLevels | ResNet50Levels
    if spec.architecture == "resnet50":
        levels = ResNet50Levels(frozen=start.is_pretrained)
    elif start.lite is not None:
        levels = LiteLevels(start.lite, coarsest=32)
    else:
        levels = SmallLevels((32, 64, 96, 128))
    model = CenterNet(spec, levels)
    if start.state is not None:
        _load_pretrained(model, start.state)
    return model


class CenterNet(nn.Module):
    """Images in; losses out in training mode, boxes in evaluation mode."""

    def __init__(
        self, spec: DetectorSpec, levels: SmallLevels | LiteLevels | ResNet50Levels
    ) -> None:
        super().__init__()
        is_large = isinstance(levels, ResNet50Levels)
        features = RESNET50_FEATURES if is_large else SMALL_FEATURES
        self.transform = input_transform(spec)
        self.levels = levels
        self.top_down = TopDown(levels.channels, features, as_pyramid=is_large)
        self.heads = Heads(features, len(spec.classes))
        self.most = spec.max_detections

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses by name in training mode, else detections, as torchvision's detectors give them.

        Targets may have `unknown`, (K, 4) xyxy px of a partially labelled image: there the heatmap
        counts at the centres of boxes only.
        """
        batch, targets = self.transform(images, targets)
        heat, offsets, sizes = self.heads(self.top_down(self.levels(batch.tensors)))
        if not self.training:
            return decode(heat, offsets, sizes, batch.image_sizes, most=self.most)
        shape = (heat.shape[2], heat.shape[3])
        truth = encode(targets, n_classes=heat.shape[1], shape=shape)
        counts = cells_inside(batch.image_sizes, heat)
        is_centre = (truth.heat == 1).any(dim=1)
        for index, target in enumerate(targets):
            if "unknown" in target:
                known = known_cells(target["unknown"], shape=shape, stride=STRIDE)
                counts[index] &= known | is_centre[index]
        return centernet_losses(heat, offsets, sizes, truth, counts)


class ResNet50Levels(nn.Module):
    """torchvision's ResNet-50 without its classifier, at strides 4, 8, 16 and 32.

    `frozen` keeps normalisation, stem and first stage as they are loaded, as torchvision does with
    pretrained weights.
    """

    channels = (256, 512, 1024, 2048)

    def __init__(self, *, frozen: bool) -> None:
        super().__init__()
        # eps = 0 is how torchvision's COCO weights were made.
        norm = partial(FrozenBatchNorm2d, eps=0.0) if frozen else nn.BatchNorm2d
        body = resnet50(weights=None, norm_layer=norm)
        self.body = IntermediateLayerGetter(body, {f"layer{i}": str(i) for i in range(1, 5)})
        if frozen:
            for part in (self.body.conv1, self.body.bn1, self.body.layer1):
                part.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> per stride s (B, C, H / s, W / s), finest first."""
        return list(self.body(x).values())


class TopDown(nn.Module):
    """From the coarsest level to the finest.

    A centre has to be found to within a cell, also of an object that only coarse levels see whole:
    so what they know is interpolated and convolved at every stride. `as_pyramid` instead makes the
    finest level of torchvision's `FeaturePyramidNetwork`, so that its weights fit.
    """

    def __init__(self, channels: Sequence[int], out: int, *, as_pyramid: bool) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(before, out, 1) for before in channels)
        self.merge = nn.ModuleList(
            nn.Identity() if as_pyramid else ConvNormReLU(out, out) for _ in channels[1:]
        )
        self.smooth = nn.Conv2d(out, out, 3, padding=1) if as_pyramid else nn.Identity()
        self.mode = "nearest" if as_pyramid else "bilinear"
        if as_pyramid:
            for layer in (*self.lateral, self.smooth):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Levels, finest first -> (B, out, H, W) of the finest."""
        x: Tensor = self.lateral[-1](levels[-1])
        for level, lateral, merge in zip(
            levels[-2::-1], self.lateral[-2::-1], self.merge[::-1], strict=True
        ):
            larger = functional.interpolate(x, size=level.shape[-2:], mode=self.mode)
            x = merge(lateral(level) + larger)
        smoothed: Tensor = self.smooth(x)
        return smoothed


class Heads(nn.Module):
    """Heatmap, offset and size; the last layers in float32 also under autocast."""

    def __init__(self, before: int, n_classes: int) -> None:
        super().__init__()
        self.heat, self.box = _head(before, n_classes), _head(before, 4)
        # Indexing a Sequential gives a Module, of which mypy cannot know that it has a bias.
        bias = math.log(PRIOR / (1 - PRIOR))
        nn.init.constant_(self.heat[-1].bias, bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> logits (B, K, H, W), offsets and log sizes (B, 2, H, W) in cells."""
        heat, box = self.heat[:-1](x), self.box[:-1](x)
        with torch.autocast(x.device.type, enabled=False):
            heat, box = self.heat[-1](heat.float()), self.box[-1](box.float())
        return heat, box[:, :2], box[:, 2:]


def _head(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, HEAD_WIDTH, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(HEAD_WIDTH, after, 1),
    )


def _load_pretrained(model: CenterNet, state: Mapping[str, Tensor]) -> None:
    """Load the backbone from ImageNet's ResNet-50, or that and the way up from a detector."""
    if "conv1.weight" in state:
        tensors = from_imagenet(state, "levels.body.")
        expected = {name for name in model.state_dict() if name.startswith("levels.")}
    else:
        tensors = _from_detector(state)
        expected = {name for name in model.state_dict() if not name.startswith("heads.")}
    load_part(model, tensors, expected)


def _from_detector(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is needed of torchvision's `fasterrcnn_resnet50_fpn`, by the names here."""
    renamed = {}
    for name, value in state.items():
        for pattern, here in _NAMES:
            if match := re.fullmatch(pattern, name):
                renamed[match.expand(here)] = value
    return renamed


def centernet_losses(
    heat: Tensor, offsets: Tensor, sizes: Tensor, truth: CentreTargets, counts: Tensor
) -> dict[str, Tensor]:
    """loss_heat, loss_offset and loss_size, each () float32 and per object; minimise their sum.

    Zhou, Wang & Kraehenbuehl 2019, equations 1 to 4, with equal weights (the paper weights sizes,
    there in cells, by 0.1), in float32 whatever the network computes in. Takes (B, K, H, W) logits, the (B, 2, H, W) offsets and log sizes in cells, and (B, H, W) bool:
    cells of the padding, or that nobody looked at, do not count. Offset and size are absolute
    differences, averaged over the cells of each object.
    """
    image, row, column = truth.cells.unbind(1)
    objects = divisor(truth.weights.sum())

    def mean_difference(maps: Tensor, expected: Tensor) -> Tensor:
        away = (maps[image, :, row, column].float() - expected).abs().sum(1)
        return (truth.weights * away).sum() / objects

    return {
        "loss_heat": penalty_reduced_focal_loss(heat, truth.heat, counts),
        "loss_offset": mean_difference(offsets, truth.offsets),
        "loss_size": mean_difference(sizes, truth.sizes),
    }


def penalty_reduced_focal_loss(logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """The focal loss of the heatmap, which forgives heat near a centre; () float32, at least 0.

    With p the sigmoid of a logit and y its truth, both (B, K, H, W), summed over the cells that
    count and divided by the number of cells with y = 1 (by 1 if there is none):

        -(1 - p)^2 log p               where y = 1
        -(1 - y)^4 p^2 log(1 - p)      elsewhere
    """
    logits, truth = logits.float(), truth.float()
    # The logarithm of a probability that was rounded to 0 would be infinite: from the logits.
    log_p, log_not_p = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    p = torch.sigmoid(logits)
    is_centre = truth == 1
    at_centre = -((1 - p) ** FOCUS) * log_p
    elsewhere = -((1 - truth) ** FORGIVENESS) * p**FOCUS * log_not_p
    loss = torch.where(is_centre, at_centre, elsewhere) * counts[:, None]
    return loss.sum() / divisor(is_centre.sum())
