"""Where the ResNet-50 CenterNet finds itself in torchvision's pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from unseen.errors import CheckpointError


def load_pretrained(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what a pretrained network has in common with this one.

    Args:
        model: a `resnet50_centernet` made with `frozen`, to load into.
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
