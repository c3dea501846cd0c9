"""Pretrained weights of a detector: a file, torch's store or a download, and how they load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
)

from unseen.errors import CheckpointError
from unseen.ranking.features.weights import download, read_tensors

#: Whole detectors that torchvision publishes, by architecture.
PUBLISHED = {
    "resnet50": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "mobilenet_v3": FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1,
}


def weights_url(architecture: str = "resnet50") -> str:
    """Where torchvision publishes the weights of a detector: "resnet50" or "mobilenet_v3"."""
    return str(PUBLISHED[architecture].url)


def stored_weights(architecture: str = "resnet50") -> Path:
    """Where torch stores them; a file copied there by hand is used as well."""
    name = weights_url(architecture).rsplit("/", 1)[-1]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def read_weights(
    weights: str | None, architecture: str = "resnet50"
) -> tuple[dict[str, Tensor] | None, str]:
    """Pretrained weights of a detector, and a sentence about where they come from.

    `weights` is a path, "none", or None or "default" for what torch has stored or can download. The
    tensors are None if training starts from scratch. Raises `CheckpointError` if a file that was
    asked for is missing or not a weights file.
    """
    if weights == "none":
        return None, "trained from scratch, as asked for (weights='none')"
    url, path = weights_url(architecture), stored_weights(architecture)
    message = f"weights pretrained on COCO, from {path}"
    if weights not in (None, "default"):
        path = Path(str(weights)).expanduser()
        message = f"pretrained weights from {path}"
    elif not path.is_file() and (problem := download(url, path)):
        return None, (
            f"trained from scratch: no pretrained weights ({problem}). Better results need "
            f"{url}: copy it to {path}, or name the file as weights"
        )
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such weights file; get it from {url}, or use weights='none' to train from "
            "scratch"
        )
    return read_tensors(path, f"torchvision's .pth or .safetensors, such as {url}"), message


def from_imagenet(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet ResNet as a backbone whose frozen normalisation adds no eps.

    The prefix, such as "backbone.body.", is put before each name.
    """
    eps = nn.BatchNorm2d(1).eps
    return {
        f"{prefix}{name}": value + eps if name.endswith("running_var") else value
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }


def load_part(
    model: nn.Module,
    state: Mapping[str, Tensor],
    expected: set[str],
    *,
    known: str = "torchvision's fasterrcnn_resnet50_fpn or resnet50",
) -> None:
    """Load pretrained tensors into the part of a model with the names `expected`.

    Raises `CheckpointError` if they have other names or shapes than those of `known`.
    """
    if set(state) != expected:
        odd = sorted(set(state) ^ expected)
        raise CheckpointError(
            f"the pretrained weights are not those of {known}: {len(odd)} tensors differ, such as "
            f"{odd[0]!r}; name another file, or weights='none'"
        )
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"the pretrained weights do not fit ({str(error).splitlines()[-1].strip()}); name "
            "another file, or weights='none'"
        ) from error
