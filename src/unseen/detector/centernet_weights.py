"""Where the ResNet-50 CenterNet finds itself in torchvision's pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from unseen.ranking.features.weights import from_imagenet, load_part


def load_pretrained(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what a pretrained network has in common with this one.

    Args:
        model: a `resnet50_centernet` made with `frozen`, to load into.
        state: tensors of torchvision's `fasterrcnn_resnet50_fpn`, which give backbone and way up,
            or of its ResNet-50 for ImageNet, which give the backbone.

    Raises:
        CheckpointError: the tensors are of something else.
    """
    is_imagenet = "conv1.weight" in state
    found = from_imagenet(state, "levels.body.") if is_imagenet else _from_detector(state)
    wanted = ("levels.",) if is_imagenet else ("levels.", "top_down.")
    load_part(model, found, {name for name in model.state_dict() if name.startswith(wanted)})


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
