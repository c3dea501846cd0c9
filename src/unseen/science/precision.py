"""Where half precision pays."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from unseen.errors import ConfigError


def pays_bf16(device: torch.device) -> bool:
    """Whether the device computes convolutions in bfloat16 natively, and so faster than in fp32.

    CUDA from Ampere on; CPUs with AVX512-BF16 or AMX. Elsewhere bf16 is emulated, or slower.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Names of torch 2.4-2.15; without them fp32 is the safe answer.
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
    return False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which to run a network.

    Args:
        precision: "auto" (bf16 where it pays), "bf16" or "fp32".
        device: where the network is.

    Raises:
        ConfigError: another precision.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise ConfigError(f"precision={precision!r}; expected auto, bf16 or fp32")
    wanted = precision == "bf16" or (precision == "auto" and pays_bf16(device))
    # Not `enabled=False`: torch before 2.5 knows no autocast on MPS at all.
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


def full_precision(values: Tensor) -> AbstractContextManager[object]:
    """The context that undoes `autocast` for what follows, if `values` came out of it."""
    if values.dtype in (torch.bfloat16, torch.float16):
        return torch.autocast(values.device.type, enabled=False)
    return nullcontext()
