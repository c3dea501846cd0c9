"""Where torch computes, in which precision, and with which random numbers."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator

import torch

from unseen.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """The device for "auto" (CUDA, then MPS, then CPU) or for torch's own name, such as "cuda:1".

    Raises `ConfigError` if this machine has no such device.
    """
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    mps = ["mps", "mps:0"] if torch.backends.mps.is_available() else []
    if name == "auto":
        if cuda:
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if mps else "cpu")
    names = ["cpu", *(["cuda", *cuda] if cuda else []), *mps]
    if name not in names:
        raise ConfigError(
            f"device={name!r} is not available; this machine has {', '.join(names)}. Use one of "
            "these, or 'auto'"
        )
    return torch.device(name)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype to autocast to for "auto", "bf16" or "fp32"; None for plain float32.

    "auto" takes bf16 where the hardware multiplies it natively; a CPU that emulates it is slower
    than with float32. Raises `ConfigError` for another name, or bf16 on a device without autocast.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise ConfigError(f"precision={precision!r}; expected 'auto', 'bf16' or 'fp32'")
    if precision == "bf16" and device.type not in ("cpu", "cuda"):
        raise ConfigError(
            f"precision='bf16' on device {device}; expected a CPU or CUDA device. Use 'auto' or 'fp32'"
        )
    if precision == "bf16" or (precision == "auto" and _multiplies_bf16(device)):
        return torch.bfloat16
    return None


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The context in which to run a network at the given precision; see `resolve_precision`."""
    dtype = resolve_precision(precision, device)
    # Not `enabled=False`: torch before 2.5 has no autocast on MPS at all.
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def full_precision(values: torch.Tensor) -> contextlib.AbstractContextManager[object]:
    """The context that suspends `autocast` if `values` come from it."""
    if values.dtype in (torch.bfloat16, torch.float16):
        return torch.autocast(values.device.type, enabled=False)
    return contextlib.nullcontext()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run a block with its own torch random numbers and restore the global state afterwards.

    For code that draws from the global generators, such as torchvision's samplers and the initial
    weights of layers; with a CUDA `device` also from the generator of that device.
    """
    used = []
    if device is not None and device.type == "cuda":
        used = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=used):
        # Not torch.manual_seed, which reseeds every device, also those that are not forked.
        torch.default_generator.manual_seed(seed)
        for index in used:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and _cpu_multiplies_bf16()


def _cpu_multiplies_bf16() -> bool:
    """Whether oneDNN has bf16 here and the processor multiplies it: AVX512-BF16 or AMX on x86.

    Without, bf16 takes many times as long as float32. oneDNN is no part of PyTorch on a Mac, and a
    user may hold it back from newer instructions (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY).
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return False
    has_bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return has_bf16
    # Private names of torch, hence the fallback: float32 is always right.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return has_bf16 and any(bool(getattr(torch.cpu, name, lambda: False)()) for name in probes)
