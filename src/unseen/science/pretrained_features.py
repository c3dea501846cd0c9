"""One vector per image from a backbone that was trained elsewhere, where its weights can be had."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops.misc import FrozenBatchNorm2d

from unseen.errors import ShapeError
from unseen.science.pretrained import read_weights

#: What torchvision's weights were trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PREFIX = "backbone.body."


def pretrained_backbone(weights: str | None = None) -> tuple[nn.Module | None, str]:
    """The ResNet-50 inside torchvision's Faster R-CNN (COCO), and where its weights came from.

    Args:
        weights: a file, or None for what torch has stored or can download.

    Returns:
        The network in eval mode, or None and the reason.

    Raises:
        CheckpointError: a file that was asked for is missing or no weights file.
    """
    state, message = read_weights(weights)
    if state is None:
        return None, message
    body = IntermediateLayerGetter(resnet50(norm_layer=FrozenBatchNorm2d), {"layer4": "last"})
    own = {n[len(_PREFIX) :]: v for n, v in state.items() if n.startswith(_PREFIX)}
    body.load_state_dict(own or dict(state), strict=bool(own))
    return body.eval(), message


@torch.inference_mode()
def pretrained_features(model: nn.Module, images: Tensor) -> Tensor:
    """The mean over all places of the last layer's features.

    Args:
        model: of `pretrained_backbone`.
        images: (B, 3, H, W) float32 in [0, 1].

    Returns:
        (B, 2048) float32.

    Raises:
        ShapeError: images have another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"images have shape {tuple(images.shape)}; expected (B, 3, H, W)")
    mean, std = images.new_tensor(_MEAN).view(3, 1, 1), images.new_tensor(_STD).view(3, 1, 1)
    found: Tensor = model((images - mean) / std)["last"].mean(dim=(2, 3))
    return found
