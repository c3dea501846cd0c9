"""The network: a UNet that says of every pixel: background, a seen class, or neither.

Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation";
as changed by Ivanov et al. 2021, "Image Ranking to Assist Object Labeling" (same padding, another
number of feature maps, no final softmax) in the paper mode; with a third kind of output, "unseen",
in the recommended mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unseen.arrays.devices import full_precision
from unseen.errors import ConfigError, ShapeError

BACKGROUND_MAP = "background"
UNSEEN_MAP = "unseen"
FOREGROUND_MAP = "foreground"


@dataclass(frozen=True)
class UNetSpec:
    """What is needed to build the network again; goes into the checkpoint's sidecar.

    Attributes:
        mode: "recommended" or "paper".
        paper_loss: "mse" (two linear maps) or "bce" (two sigmoid maps); paper mode only.
        channels: feature maps per level, finest first.
        classes: names of the labelled classes.
        in_channels: 1 or 3.
    """

    mode: str = "recommended"
    paper_loss: str = "mse"
    channels: tuple[int, ...] = (16, 32, 64, 128)
    classes: tuple[str, ...] = ()
    in_channels: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        object.__setattr__(self, "classes", tuple(str(c) for c in self.classes))
        for name, value, known in (
            ("mode", self.mode, ("recommended", "paper")),
            ("paper_loss", self.paper_loss, ("mse", "bce")),
            ("in_channels", self.in_channels, (1, 3)),
        ):
            if value not in known:
                expected = " or ".join(map(repr, known))
                raise ConfigError(f"UNetSpec.{name}={value!r}; expected {expected}")
        if not self.channels or min(self.channels) < 1:
            raise ConfigError(
                f"UNetSpec.channels={self.channels!r}; expected one positive number per level, "
                "such as (16, 32, 64, 128)"
            )

    @property
    def is_paper(self) -> bool:
        """Whether this is the network of Ivanov et al., without an unseen output."""
        return self.mode == "paper"

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the K output maps, in their order."""
        if self.is_paper:
            return (BACKGROUND_MAP, FOREGROUND_MAP)
        return (BACKGROUND_MAP, *self.classes, UNSEEN_MAP)

    @property
    def foreground_maps(self) -> tuple[str, ...]:
        """The maps of seen objects: the classes, or one foreground in the paper mode."""
        return (FOREGROUND_MAP,) if self.is_paper else self.classes

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UNetSpec:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: a key is unknown or a value is out of range.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"not a UNet description: {error}; train again") from error


class UNetOutput(NamedTuple):
    """What one forward pass gives."""

    logits: Tensor  #: (B, K, H, W) float32, before any softmax or sigmoid
    features: Tensor  #: (B, D, H / stride, W / stride) float32, of the deepest level


class UNet(nn.Module):
    """Two convolutions per level, halving on the way down, concatenating skips on the way up.

    Recommended mode: input by space-to-depth x2 (a quarter of the work), batch normalisation,
    nearest up-sampling; logits up-sampled x2. Paper mode: full resolution, no normalisation,
    learned up-convolutions, as in the 2015 paper but with same padding.

    Mean and standard deviation of the training images are buffers, so a checkpoint carries them.

    Attributes:
        spec: how it was built.
        stride: height and width of the input must be multiples of this.
        halo: radius of the receptive field, px, rounded up to a multiple of `stride`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self._shrink = 1 if spec.is_paper else 2
        widths = spec.channels
        self.stride = self._shrink * 2 ** (len(widths) - 1)
        self.halo = _halo(levels=len(widths), shrink=self._shrink)
        inputs = spec.in_channels * self._shrink**2
        normalise = not spec.is_paper
        self.down = nn.ModuleList(
            _double_conv(before, after, normalise=normalise)
            for before, after in zip((inputs, *widths[:-1]), widths, strict=True)
        )
        deepest_first = widths[::-1]
        steps = list(pairwise(deepest_first))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, here, 2, stride=2)
            if spec.is_paper
            else nn.Upsample(scale_factor=2, mode="nearest")
            for below, here in steps
        )
        self.merge = nn.ModuleList(
            _double_conv((here if spec.is_paper else below) + here, here, normalise=normalise)
            for below, here in steps
        )
        self.head = nn.Conv2d(widths[0], len(spec.maps), 1)
        self.register_buffer("mean", torch.zeros(spec.in_channels))
        self.register_buffer("std", torch.ones(spec.in_channels))
        self._initialise()

    def forward(self, x: Tensor) -> UNetOutput:
        """Compute logits and features.

        Args:
            x: (B, C, H, W) float32 in [0, 1]; H and W multiples of `stride`.

        Raises:
            ShapeError: x has another shape.
        """
        if x.ndim != 4 or x.shape[1] != self.spec.in_channels or self._overhang(x):
            raise ShapeError(
                f"images have shape {tuple(x.shape)}; expected (B, {self.spec.in_channels}, H, W) "
                f"with H and W multiples of {self.stride}"
            )
        x = (x - self.mean[:, None, None]) / self.std[:, None, None]
        if self._shrink > 1:
            x = F.pixel_unshuffle(x, self._shrink)
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        features = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], dim=1))
        # Probabilities near 0 and 1 need more digits than bf16 has.
        with full_precision(x):
            logits = self.head(x.to(self.head.weight.dtype))
            if self._shrink > 1:
                logits = F.interpolate(logits, scale_factor=self._shrink, mode="bilinear")
        return UNetOutput(logits.contiguous(), features.float())

    def _overhang(self, x: Tensor) -> bool:
        height, width = x.shape[2:]
        return not (height and width) or bool(height % self.stride or width % self.stride)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                # He et al. 2015, as the U-Net paper asks for.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _double_conv(before: int, after: int, *, normalise: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (before, after):
        layers.append(nn.Conv2d(inputs, after, 3, padding=1, bias=not normalise))
        if normalise:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _halo(*, levels: int, shrink: int) -> int:
    """How far, at most, a pixel of the output looks in the input, rounded up to the stride.

    At level l one cell is shrink * 2^l px. Down: two 3x3 convolutions reach 2 cells and pooling 1.
    Up: two convolutions reach 2 cells, and up-sampling 1 cell of the level below. The logits'
    bilinear up-sampling reaches 1 cell of the finest level.
    """
    cells = [shrink << level for level in range(levels)]
    down = sum(2 * cell for cell in cells) + sum(cells[1:])
    up = sum(2 * cell for cell in cells[:-1]) + sum(cells[1:])
    reach = down + up + (shrink if shrink > 1 else 0)
    return -(-reach // cells[-1]) * cells[-1]
