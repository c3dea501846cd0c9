"""Pretrained weights: where they come from (a file, torch's store, a download) and how they load."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
)

from unseen.errors import CheckpointError

#: Longest wait for a server to answer at all, seconds, so that nothing hangs offline.
REACH_TIMEOUT = 5.0
#: Longest silence during a download, seconds.
STALL_TIMEOUT = 15.0
#: Whole detectors that torchvision publishes, by architecture.
_PUBLISHED = {
    "resnet50": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "mobilenet_v3": FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1,
}


def weights_url(architecture: str = "resnet50") -> str:
    """Where torchvision publishes the weights of a detector: "resnet50" or "mobilenet_v3"."""
    return str(_PUBLISHED[architecture].url)


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
    before = socket.getdefaulttimeout()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = path.stem.rsplit("-", 1)[-1]
        socket.setdefaulttimeout(STALL_TIMEOUT)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:
        return f"the download failed: {error}"
    finally:
        socket.setdefaulttimeout(before)
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
