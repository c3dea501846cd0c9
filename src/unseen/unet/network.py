"""The network: a U-Net in two modes.

Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation".
The paper mode is that of Ivanov et al. 2021, "Image Ranking to Assist Object Labeling": same
padding, other widths, two maps without a final softmax. The recommended mode has an "unseen" output
as well.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unseen.arrays.devices import full_precision
from unseen.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class UNetSpec:
    """All that is needed to rebuild the network, besides its weights; part of the sidecar."""

    mode: str = "recommended"  #: or "paper"
    paper_loss: str = "mse"  #: two linear maps; or "bce", two sigmoid maps; paper mode only
    channels: tuple[int, ...] = (16, 32, 64, 128)  #: feature maps per level, finest first
    classes: tuple[str, ...] = ()  #: names of the labelled classes
    in_channels: int = 1  #: or 3

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
        """Whether this is the network of Ivanov et al., which has no unseen output."""
        return self.mode == "paper"

    @property
    def foreground_maps(self) -> tuple[str, ...]:
        """The maps of seen objects: one per class, a single one in the paper mode."""
        return ("foreground",) if self.is_paper else self.classes

    @property
    def maps(self) -> tuple[str, ...]:
        """Names of the K output maps, in order."""
        return ("background", *self.foreground_maps, *(() if self.is_paper else ("unseen",)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UNetSpec:
        """The inverse of `to_dict`; raises `ConfigError` for an unknown key or a bad value."""
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"not a UNet description: {error}; train again") from error


class UNetOutput(NamedTuple):
    """The result of one forward pass."""

    logits: Tensor  #: (B, K, H, W) float32, before any softmax or sigmoid
    features: Tensor  #: (B, D, H / stride, W / stride) float32, of the deepest level


class UNetFeatures(NamedTuple):
    """The result of one forward pass before its last layer, which needs much less memory."""

    finest: Tensor  #: (B, C, H / shrink, W / shrink), of the type that the network computes with
    deepest: Tensor  #: as `UNetOutput.features`


class UNet(nn.Module):
    """Two convolutions per level, halving on the way down, concatenating skips on the way up.

    Recommended mode: space-to-depth x2 at the input (a quarter of the work), batch normalisation,
    nearest up-sampling, logits up-sampled x2. Paper mode: full resolution, no normalisation,
    learned up-convolutions. Mean and standard deviation of the training images are buffers, so a
    checkpoint carries them. Height and width of the input must be multiples of `stride`; `halo` is
    the radius of the receptive field, px, rounded up to such a multiple.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.shrink = 1 if spec.is_paper else 2
        widths = spec.channels
        self.stride = self.shrink * 2 ** (len(widths) - 1)
        self.halo = _halo(levels=len(widths), shrink=self.shrink)
        inputs = (spec.in_channels * self.shrink**2, *widths[:-1])
        normalise = not spec.is_paper
        self.down = nn.ModuleList(
            _double_conv(before, after, normalise=normalise)
            for before, after in zip(inputs, widths, strict=True)
        )
        steps = list(pairwise(widths[::-1]))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, here, 2, stride=2) if spec.is_paper else nn.Identity()
            for below, here in steps
        )
        self.merge = nn.ModuleList(
            _double_conv((here if spec.is_paper else below) + here, here, normalise=normalise)
            for below, here in steps
        )
        self.head = nn.Conv2d(widths[0], len(spec.maps), 1)
        self.register_buffer("mean", torch.zeros(spec.in_channels))
        self.register_buffer("std", torch.ones(spec.in_channels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                # He et al. 2015, as in the U-Net paper.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> UNetOutput:
        """Logits and features of (B, C, H, W) float32 images in [0, 1].

        Raises `ShapeError` unless H and W are positive multiples of `stride`.
        """
        sides = x.shape[2:]
        is_multiple = all(side and side % self.stride == 0 for side in sides)
        if x.ndim != 4 or x.shape[1] != self.spec.in_channels or not is_multiple:
            raise ShapeError(
                f"images have shape {tuple(x.shape)}; expected (B, {self.spec.in_channels}, H, W) "
                f"with H and W multiples of {self.stride}"
            )
        finest, deepest = self.features(x)
        return UNetOutput(self.logits(finest), deepest)

    def features(self, x: Tensor) -> UNetFeatures:
        """What `forward` computes but the logits, without its check of the shape."""
        x = (x - self.mean[:, None, None]) / self.std[:, None, None]
        if self.shrink > 1:
            x = F.pixel_unshuffle(x, self.shrink)
        skips = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        deepest = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            if self.spec.is_paper:
                x = merge(torch.cat([up(x), skips.pop()], dim=1))
            else:
                first, *rest = merge.children()
                x = _Joined.apply(x, skips.pop(), first.get_parameter("weight"))
                for layer in rest:
                    x = layer(x)
        return UNetFeatures(x, deepest.float())

    def logits(self, finest: Tensor) -> Tensor:
        """(B, K, H, W) float32 of the finest features."""
        # Probabilities near 0 and 1 need more digits than bf16 has.
        with full_precision(finest):
            # As a product, which takes channels-last maps as they are.
            pixels = finest.to(self.head.weight.dtype).permute(0, 2, 3, 1)
            logits = F.linear(pixels, self.head.weight[:, :, 0, 0], self.head.bias)
            logits = logits.permute(0, 3, 1, 2).contiguous()
            return enlarged(logits) if self.shrink > 1 else logits


def _double_conv(before: int, after: int, *, normalise: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (before, after):
        layers.append(nn.Conv2d(inputs, after, 3, padding=1, bias=not normalise))
        if normalise:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class _Joined(torch.autograd.Function):
    """`conv2d(cat([up-sampled x, skip]), weight)` with less than half of the products for x.

    One function, because autograd would cut and cast the weights and their gradients several times.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, skip: Tensor, weight: Tensor) -> Tensor:
        upper, lower = weight.to(x.dtype).tensor_split((x.shape[1],), dim=1)
        upper, lower = of_enlarged(upper), lower.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, skip, weight, upper, lower)
        joined = F.conv_transpose2d(x, upper, stride=2, padding=1)
        return joined.add_(F.conv2d(skip, lower, padding=1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, skip, weight, upper, lower = ctx.saved_tensors
        of_x, of_upper = _convolution_backward(gradient, x, upper, stride=2, is_transposed=True)
        of_skip, of_lower = _convolution_backward(gradient, skip, lower)
        before, after = upper.shape[:2]
        spread = of_upper.permute(2, 3, 1, 0).reshape(16, -1)
        of_upper = (_spread(x.device, x.dtype).T @ spread).view(3, 3, after, before)
        of_weight = torch.empty_like(weight)
        of_weight[:, :before], of_weight[:, before:] = of_upper.permute(2, 3, 0, 1), of_lower
        return of_x, of_skip, of_weight


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, *, stride: int = 1, is_transposed: bool = False
) -> tuple[Tensor, Tensor]:
    """Gradients of x and the weight of a convolution with padding 1 and no bias."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        (stride,) * 2,
        (1, 1),
        (1, 1),
        is_transposed,
        (0, 0),
        1,
        (1, 1, 0),
    )
    return of_x, of_weight


def of_enlarged(weight: Tensor) -> Tensor:
    """The transposed convolution that does what `weight` does after up-sampling by 2, nearest.

    Takes (after, before, 3, 3) and gives (before, after, 4, 4), for stride 2 and padding 1.
    """
    after, before = weight.shape[:2]
    # On weights as channels-last holds them.
    spread = _spread(weight.device, weight.dtype) @ weight.permute(2, 3, 0, 1).reshape(9, -1)
    return spread.view(4, 4, after, before).permute(3, 2, 0, 1)


@functools.cache
def _spread(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Which of 3 x 3 weights (columns) add up to which of 4 x 4 (rows), (16, 9) of 0 and 1.

    Output o of an axis takes o + k - 1 of the enlarged map by weight k, cell i = (o + k - 1) // 2 of
    the map, and that is o + 1 - 2i = 2 - k or 3 - k, its place in the transposed one.
    """
    place = np.arange(4)[:, None] + np.arange(3)
    axis = (place == 2) | (place == 3)
    with torch.inference_mode(mode=False):  # also training uses it
        return torch.from_numpy(np.kron(axis, axis)).to(device, dtype)


def enlarged(maps: Tensor) -> Tensor:
    """`F.interpolate(maps, scale_factor=2, mode="bilinear")`, on a CPU in a third of the time."""
    if maps.device.type != "cpu":
        return F.interpolate(maps, scale_factor=2, mode="bilinear")
    result: Tensor = _Enlarged.apply(maps)
    return result


class _Enlarged(torch.autograd.Function):
    """Up-sampling by OpenCV; the same as repeating every pixel twice and blurring with 1 2 1."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        result = maps.new_empty(*maps.shape[:2], 2 * height, 2 * width)
        for before, after in _pairs(maps, result):
            cv2.resize(before, after.shape[::-1], after)  # bilinear
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        height, width = gradient.shape[2:]
        result = gradient.new_empty(*gradient.shape[:2], height // 2, width // 2)
        blur = np.asarray([0.5, 1, 0.5])  # twice, because the reduction takes means and not sums
        for before, after in _pairs(gradient, result):
            blurred = cv2.sepFilter2D(before, -1, blur, blur, borderType=cv2.BORDER_REFLECT)
            cv2.resize(blurred, after.shape[::-1], after, interpolation=cv2.INTER_AREA)
        return result


def _pairs(*maps: Tensor) -> Any:
    """Each map (h, w) of both, as arrays."""
    return zip(*(m.detach().flatten(0, 1).numpy() for m in maps), strict=True)


def _halo(*, levels: int, shrink: int) -> int:
    """The receptive field's radius, px, rounded up to the stride.

    A cell of level l is shrink * 2^l px. Down: two 3x3 convolutions reach 2 cells, pooling 1. Up:
    two convolutions reach 2 cells, up-sampling 1 cell of the level below. The bilinear up-sampling
    of the logits reaches 1 cell of the finest level.
    """
    cells = [shrink << level for level in range(levels)]
    down = sum(2 * cell for cell in cells) + sum(cells[1:])
    up = sum(2 * cell for cell in cells[:-1]) + sum(cells[1:])
    reach = down + up + (shrink if shrink > 1 else 0)
    return -(-reach // cells[-1]) * cells[-1]
