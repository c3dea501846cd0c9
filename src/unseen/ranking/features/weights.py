"""Files of pretrained weights: how they are downloaded and read."""

from __future__ import annotations

import contextlib
import http.client
import os
import pickle
import shutil
import threading
import urllib.request
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from unseen.errors import CheckpointError

#: Longest wait for a server to answer at all, seconds, so that nothing hangs offline.
REACH_TIMEOUT = 5.0
#: Longest silence during a download, seconds.
STALL_TIMEOUT = 15.0


def read_tensors(path: Path, expected: str) -> dict[str, Tensor]:
    """The named tensors of a .pth or .safetensors file, without executing anything in it.

    Raises `CheckpointError` if it cannot be read, or holds something other than `expected`.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises many kinds of errors, and safetensors' own derives from Exception alone.
    except Exception as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):
            # torch advises to load it all the same, with whatever code it holds.
            reason = "it holds something other than plain tensors"
        raise _not_weights(path, reason, expected) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise _not_weights(path, "it holds something other than named tensors", expected)
    return dict(state)


def _not_weights(path: Path, reason: str, expected: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a weights file ({reason}); expected {expected}")


def download(url: str, path: Path) -> str | None:
    """Download a file whose name ends in its digest. Returns what went wrong, or None."""
    problem = unreachable(url)
    if problem:
        return problem
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=STALL_TIMEOUT) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
        found, expected = sha256(part.read_bytes()).hexdigest(), path.stem.rsplit("-", 1)[-1]
        if not found.startswith(expected):
            return f"the download failed: its SHA-256 is {found[:8]}, expected {expected}"
        part.replace(path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"the download failed: {error}"
    finally:
        part.unlink(missing_ok=True)
    return None


def unreachable(url: str) -> str | None:
    """That the server does not answer within seconds, or None if it does."""
    return None if _answers(url) else f"{url.split('/')[2]} does not answer"


def _answers(url: str) -> bool:
    # In a thread, because DNS lookups have no time limit.
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=REACH_TIMEOUT):
                answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_TIMEOUT + 1)
    return answered.is_set()
