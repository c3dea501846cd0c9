"""EfficientNet-Lite0 up to its last block: features at three strides for little computation.

Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, 2019. The Lite
variant has no squeeze-and-excitation, ReLU6 instead of Swish, and a stem of fixed width. The weights
were converted from TensorFlow and expect its "same" padding and values in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unseen.arrays.convolution import fused_conv2d, is_fusible

#: Repeats, kernel, stride of the first, expansion, channels in, channels out.
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
#: By stride in px, the last block with it and its channels.
LEVELS = {4: (2, 24), 8: (4, 40), 16: (10, 112), 32: (15, 320)}
_EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding: ceil(size / stride) pixels come out."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in input.shape[2:]
        )
        padding = (down // 2, across // 2)
        if down % 2 or across % 2:
            input = F.pad(input, (padding[1], across - padding[1], padding[0], down - padding[0]))
            padding = (0, 0)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, 1, self.groups)

    def then(self, norm: nn.Module, input: Tensor, *, relu6: bool, is_turned: bool) -> Tensor:
        """The convolution, its normalisation and perhaps ReLU6.

        In one pass if the map is turned by 180 degrees, for which see `EfficientNetLite0.forward`.
        """
        if is_turned:
            return fused_conv2d(
                input,
                self.weight.flip(2, 3),
                self.bias,
                stride=self.stride[0],
                padding=(self.kernel_size[0] // 2, self.kernel_size[1] // 2),
                groups=self.groups,
                activation="relu6" if relu6 else None,
            )
        out: Tensor = norm(self(input))
        return F.relu6(out, inplace=True) if relu6 else out


# The attributes of both modules are named as in the published weights.
class MBConv(nn.Module):
    """Inverted residual block: widen, convolve depthwise, narrow, and add the input if it fits."""

    def __init__(self, kernel: int, stride: int, expansion: int, inner: int, outer: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.has_expansion = expansion != 1
        self.has_shortcut = stride == 1 and inner == outer
        if self.has_expansion:
            self._expand_conv: SameConv2d = SameConv2d(inner, wide, 1, bias=False)
            self._bn0: nn.Module = nn.BatchNorm2d(wide, eps=_EPS)
        self._depthwise_conv: SameConv2d = SameConv2d(
            wide, wide, kernel, stride, groups=wide, bias=False
        )
        self._bn1: nn.Module = nn.BatchNorm2d(wide, eps=_EPS)
        self._project_conv: SameConv2d = SameConv2d(wide, outer, 1, bias=False)
        self._bn2: nn.Module = nn.BatchNorm2d(outer, eps=_EPS)

    def forward(self, x: Tensor, *, is_turned: bool) -> Tensor:
        """(B, inner, H, W) -> (B, outer, ceil(H / stride), ceil(W / stride))."""
        wide, more = x, {"is_turned": is_turned}
        if self.has_expansion:
            wide = self._expand_conv.then(self._bn0, x, relu6=True, **more)
        wide = self._depthwise_conv.then(self._bn1, wide, relu6=True, **more)
        narrow = self._project_conv.then(self._bn2, wide, relu6=False, **more)
        return narrow + x if self.has_shortcut else narrow


class EfficientNetLite0(nn.Module):
    """The network without its classifier; see `borrowed_networks` for the class attributes."""

    NAME, MARK, PREFIX = "efficientnet_lite0", "_conv_stem.weight", ""
    HEAD = ("_conv_head.", "_bn1.", "_fc.")
    MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    #: The last blocks at stride 8, 16 and 32, and their channels.
    GIVEN = (LEVELS[8][0], LEVELS[16][0], LEVELS[32][0])
    CHANNELS = (LEVELS[8][1], LEVELS[16][1], LEVELS[32][1])

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem: SameConv2d = SameConv2d(3, STAGES[0][4], 3, 2, bias=False)
        self._bn0: nn.Module = nn.BatchNorm2d(STAGES[0][4], eps=_EPS)
        self._blocks = nn.ModuleList(
            MBConv(kernel, 1 if i else stride, expansion, outer if i else inner, outer)
            for repeats, kernel, stride, expansion, inner, outer in STAGES
            for i in range(repeats)
        )

    def forward(self, images: Tensor, given: Sequence[int] = GIVEN) -> list[Tensor]:
        """Outputs of the blocks `given`, of images (B, 3, H, W) normalised by `MEAN` and `STD`.

        By default (B, 40, H / 8, W / 8), (B, 112, H / 16, W / 16) and (B, 320, H / 32, W / 32),
        rounded up.
        """
        # TensorFlow pads the end more than the start, for which each map would be copied. Of a turned
        # image the end is the start, where the convolutions that oneDNN joins pad as much themselves.
        is_turned = self.is_folded and images.dtype == self._conv_stem.weight.dtype
        is_turned = is_turned and is_fusible(images.device, images.dtype)
        x = images.flip(2, 3) if is_turned else images
        x = self._conv_stem.then(self._bn0, x, relu6=True, is_turned=is_turned)
        stages = []
        for number, block in enumerate(self._blocks):
            x = block(x, is_turned=is_turned)
            if number in given:
                stages.append(x.flip(2, 3) if is_turned else x)
        return stages

    @property
    def is_folded(self) -> bool:
        """Whether `fold` was called."""
        return isinstance(self._bn0, nn.Identity)

    def cut(self, last: int) -> EfficientNetLite0:
        """Drop the blocks after `last`."""
        self._blocks = self._blocks[: last + 1]
        return self

    def freeze(self, last: int) -> EfficientNetLite0:
        """Freeze everything up to the block `last`, and let training change the others."""
        self.requires_grad_(True)
        for part in (self._conv_stem, self._bn0, *self._blocks[: last + 1]):
            part.requires_grad_(False)
        return self

    def fold(self) -> EfficientNetLite0:
        """Fold every batch normalisation into the convolution before it, which fixes its statistics.

        Outputs only change by rounding, and take about half the time in `torch.channels_last`.
        """
        self.eval()
        normalisations = {"conv_stem": 0, "expand_conv": 0, "depthwise_conv": 1, "project_conv": 2}
        for module in (self, *self._blocks):
            for name, number in normalisations.items():
                if hasattr(module, f"_{name}"):
                    convolution, norm = getattr(module, f"_{name}"), getattr(module, f"_bn{number}")
                    setattr(module, f"_{name}", fuse_conv_bn_eval(convolution, norm))
                    setattr(module, f"_bn{number}", nn.Identity())
        return self
