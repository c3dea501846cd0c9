"""EfficientNet-Lite0 up to its last block: features at three strides for little computation.

Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, 2019, in the Lite
variant: no squeeze-and-excitation, ReLU6 instead of Swish, a stem of fixed width. Weights converted from
TensorFlow expect its padding ("same": the odd pixel at the bottom and on the right), and values in
[-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

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
#: By stride in px the last block that has it, and its channels.
LEVELS = {4: (2, 24), 8: (4, 40), 16: (10, 112), 32: (15, 320)}
#: Blocks that are given out as stages: fine, middle and coarse; and their channels.
GIVEN = (LEVELS[8][0], LEVELS[16][0], LEVELS[32][0])
CHANNELS = (LEVELS[8][1], LEVELS[16][1], LEVELS[32][1])
#: What the weights were trained with.
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
#: Parts of the full network that classify, and are left out.
HEAD = ("_conv_head.", "_bn1.", "_fc.")
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


# The attributes of both modules have the names that the published weights use.
class MBConv(nn.Module):
    """Widen, convolve each channel by itself, narrow; what came in is added where it fits."""

    def __init__(self, kernel: int, stride: int, expansion: int, inner: int, outer: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.has_expansion = expansion != 1
        self.has_shortcut = stride == 1 and inner == outer
        if self.has_expansion:
            self._expand_conv: nn.Module = SameConv2d(inner, wide, 1, bias=False)
            self._bn0: nn.Module = nn.BatchNorm2d(wide, eps=_EPS)
        self._depthwise_conv: nn.Module = SameConv2d(
            wide, wide, kernel, stride, groups=wide, bias=False
        )
        self._bn1: nn.Module = nn.BatchNorm2d(wide, eps=_EPS)
        self._project_conv: nn.Module = SameConv2d(wide, outer, 1, bias=False)
        self._bn2: nn.Module = nn.BatchNorm2d(outer, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, ceil(H / stride), ceil(W / stride))."""
        wide = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.has_expansion else x
        wide = F.relu6(self._bn1(self._depthwise_conv(wide)), inplace=True)
        narrow: Tensor = self._bn2(self._project_conv(wide))
        return narrow + x if self.has_shortcut else narrow


class EfficientNetLite0(nn.Module):
    """The network without what classifies."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem: nn.Module = SameConv2d(3, STAGES[0][4], 3, 2, bias=False)
        self._bn0: nn.Module = nn.BatchNorm2d(STAGES[0][4], eps=_EPS)
        self._blocks = nn.ModuleList(
            MBConv(kernel, 1 if i else stride, expansion, outer if i else inner, outer)
            for repeats, kernel, stride, expansion, inner, outer in STAGES
            for i in range(repeats)
        )

    def forward(self, images: Tensor, given: Sequence[int] = GIVEN) -> list[Tensor]:
        """Features at several strides.

        Args:
            images: (B, 3, H, W) float32, normalised by `MEAN` and `STD`.
            given: blocks whose outputs are wanted, in their order.

        Returns:
            Those outputs; by default (B, 40, H / 8, W / 8), (B, 112, H / 16, W / 16) and
            (B, 320, H / 32, W / 32), rounded up.
        """
        x = F.relu6(self._bn0(self._conv_stem(images)))
        found = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in given:
                found.append(x)
        return found

    @property
    def is_folded(self) -> bool:
        """Whether `fold` has been here."""
        return isinstance(self._bn0, nn.Identity)

    def cut(self, last: int) -> EfficientNetLite0:
        """Leave out what comes after a block."""
        self._blocks = self._blocks[: last + 1]
        return self

    def freeze(self, last: int) -> EfficientNetLite0:
        """Let training change the blocks after one, and neither it nor what comes before."""
        self.requires_grad_(True)
        for part in (self._conv_stem, self._bn0, *self._blocks[: last + 1]):
            part.requires_grad_(False)
        return self

    def fold(self) -> EfficientNetLite0:
        """Put every normalisation into the convolution before it: its statistics are then fixed.

        The outputs stay the same but for rounding, in about half the time where the memory format is
        `torch.channels_last`.
        """
        self.eval()
        pairs = (
            ("_conv_stem", "_bn0"),
            ("_expand_conv", "_bn0"),
            ("_depthwise_conv", "_bn1"),
            ("_project_conv", "_bn2"),
        )
        for module in (self, *self._blocks):
            for convolution, normalisation in pairs:
                if hasattr(module, convolution):
                    folded = fuse_conv_bn_eval(
                        getattr(module, convolution), getattr(module, normalisation)
                    )
                    setattr(module, convolution, folded)
                    setattr(module, normalisation, nn.Identity())
        return self
