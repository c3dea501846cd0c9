"""A convolution and what follows it in one pass over memory, by oneDNN, on a CPU."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

_ACTIVATIONS: dict[str | None, tuple[str, list[float]]] = {
    None: ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


def is_fusible(device: torch.device, dtype: torch.dtype | None = None) -> bool:
    """Whether `fused_conv2d` works here: on a CPU with oneDNN, float32 or its own bf16, no gradient."""
    # Private names of torch: without them, the layers run one by one.
    ops = torch.ops.mkldnn
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        and hasattr(ops, "_convolution_pointwise")
        and hasattr(ops, "_convolution_pointwise_")
        and (dtype in (None, torch.float32) or bool(ops._is_mkldnn_bf16_supported()))
        and not torch.is_grad_enabled()
    )


def fused_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    activation: Literal["relu", "relu6"] | None = None,
    onto: Tensor | None = None,
) -> Tensor:
    """activation(conv2d(x) + `onto`), which is overwritten by it, where `is_fusible`.

    Shapes are those of `torch.nn.functional.conv2d`; all tensors are of one type.
    """
    geometry = (padding, (stride, stride), (1, 1), groups)
    name, limits = _ACTIVATIONS[activation]
    if onto is None:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, *geometry, name, limits, ""
        )
        return out
    unary = None if activation is None else name
    torch.ops.mkldnn._convolution_pointwise_.binary(
        onto, x, weight, bias, *geometry, "add", 1.0, unary, limits, ""
    )
    return onto
