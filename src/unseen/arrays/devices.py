"""Where to compute, in which arithmetic, and with whose random numbers."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator

import torch

from unseen.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """The device that a name stands for.

    Args:
        name: "auto" (CUDA, then MPS, then CPU), or what torch calls it: "cpu", "cuda", "cuda:1",
            "mps".

    Raises:
        ConfigError: no such device, here or at all.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is not None and str(device) in available_devices():
        return device
    raise ConfigError(
        f"device={name!r}: not available; here there are {', '.join(available_devices())}. Use one "
        "of these, or 'auto'"
    )


def available_devices() -> list[str]:
    """The names that `resolve_device` accepts on this machine, besides "auto"."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if _has_mps():
        names += ["mps", "mps:0"]
    return names


def resolve_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """The dtype to autocast to, or None for plain float32.

    "auto" takes bf16 where the hardware multiplies it natively. Elsewhere a CPU emulates it, which
    is slower than float32.

    Args:
        precision: "auto", "bf16" or "fp32".
        device: where the model runs.

    Raises:
        ConfigError: an unknown precision, or bf16 on a device that autocast does not serve.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise ConfigError(f"precision={precision!r}: expected 'auto', 'bf16' or 'fp32'")
    if precision == "fp32":
        return None
    if precision == "bf16":
        if device.type in ("cpu", "cuda"):
            return torch.bfloat16
        raise ConfigError(
            f"precision='bf16' on device {device}: expected a CPU or CUDA device; use 'auto' or "
            "'fp32'"
        )
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if device.type == "cpu" and _cpu_multiplies_bf16() else None


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The context in which to run a network at the given precision; see `resolve_precision`."""
    dtype = resolve_precision(precision, device)
    # Not `enabled=False`: torch before 2.5 knows no autocast on MPS at all.
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def full_precision(values: torch.Tensor) -> contextlib.AbstractContextManager[object]:
    """The context that undoes `autocast` for what follows, if `values` came out of it."""
    if values.dtype in (torch.bfloat16, torch.float16):
        return torch.autocast(values.device.type, enabled=False)
    return contextlib.nullcontext()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run a block with its own torch random numbers; afterwards the global state is as before.

    For code that draws from the global generator, such as torchvision's samplers and the layers'
    initial weights.

    Args:
        seed: any integer >= 0.
        device: a CUDA device whose generator is used as well.
    """
    used = []
    if device is not None and device.type == "cuda":
        used = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=used):
        # Not torch.manual_seed, which would reseed every device, also those not forked.
        torch.default_generator.manual_seed(seed)
        for index in used:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _cpu_multiplies_bf16() -> bool:
    """Whether the processor has AVX512-BF16 or AMX (x86), or says so through oneDNN (Arm)."""
    if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686"):
        # Private names of torch, hence the fallback: without an answer, float32 is always right.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in probes)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
