"""The trained network as it runs on CPUs: the same function in fewer and shorter passes.

Batch normalisation is folded into the convolutions, whose ReLU oneDNN applies as it writes. A
convolution of an up-sampled map is a transposed convolution of the map itself, with less than half of
the products, and that of the joined maps is the sum of both parts. Outputs differ by rounding alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unseen.arrays.convolution import fused_conv2d, is_fusible
from unseen.arrays.devices import full_precision, resolve_precision
from unseen.unet.network import UNet, UNetFeatures, UNetOutput, enlarged, of_enlarged

_SAME = (1, 1)


class _Conv(NamedTuple):
    weight: Tensor  #: (after, before, 3, 3)
    bias: Tensor  #: (after,)

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        return fused_conv2d(x, self.weight, self.bias, padding=_SAME, activation="relu", onto=onto)


class FoldedUNet:
    """A `UNet` in eval mode, for `infer_tiles`; later changes of the `UNet` do not reach it."""

    def __init__(self, model: UNet, dtype: torch.dtype) -> None:
        """Fold a network of the recommended mode that is on a CPU; it computes with `dtype`."""
        self.spec, self.stride, self.halo = model.spec, model.stride, model.halo
        self.shrink = model.shrink
        self.mean, self._std = model.mean, model.std
        self._dtype = dtype
        self._down = [self._convolutions(block) for block in model.down]
        self._up: list[Tensor] = []
        self._merge = []
        for below, block in zip(model.spec.channels[:0:-1], model.merge, strict=True):
            first, second = self._convolutions(block, torch.float32)
            upper, skipped = first.weight[:, :below], first.weight[:, below:]
            self._up.append(self._stored(of_enlarged(upper)))
            self._merge.append(
                [_Conv(*map(self._stored, c)) for c in (_Conv(skipped, first.bias), second)]
            )
        weight, bias = model.head.parameters()
        self._head = weight.detach()[:, :, 0, 0], bias.detach()[:, None]

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> UNetOutput:
        """As `UNet.forward`, without a check of the shape."""
        finest, deepest = self.features(x)
        return UNetOutput(self.logits(finest), deepest)

    @torch.inference_mode()
    def features(self, x: Tensor) -> UNetFeatures:
        """As `UNet.features`."""
        x = (x - self.mean[:, None, None]) / self._std[:, None, None]
        x = F.pixel_unshuffle(x.to(self._dtype), 2).contiguous(memory_format=torch.channels_last)
        with full_precision(x):
            skips = []
            for level, (first, second) in enumerate(self._down):
                x = second(first(_halved(x) if level else x))
                skips.append(x)
            deepest = skips.pop()
            for up, (first, second) in zip(self._up, self._merge, strict=True):
                enlarged = F.conv_transpose2d(x, up, stride=2, padding=1)
                x = second(first(skips.pop(), onto=enlarged))
        return UNetFeatures(x, deepest.float())

    @torch.inference_mode()
    def logits(self, finest: Tensor) -> Tensor:
        """As `UNet.logits`."""
        weight, bias = self._head
        with full_precision(finest):
            small = [
                torch.addmm(bias, weight, image.float().flatten(0, 1).T).view(-1, *image.shape[:2])
                for image in finest.permute(0, 2, 3, 1)
            ]
            return enlarged(torch.stack(small))

    def _convolutions(self, block: nn.Module, dtype: torch.dtype | None = None) -> list[_Conv]:
        convolution, norm, _, *second = block.children()
        pairs: Any = [(convolution, norm), second[:2]]
        folded = [fuse_conv_bn_eval(*pair) for pair in pairs]
        return [_Conv(self._stored(c.weight, dtype), self._stored(c.bias, dtype)) for c in folded]

    def _stored(self, values: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        values = values.detach().to(dtype or self._dtype)
        return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def folded(model: UNet, precision: str) -> UNet | FoldedUNet:
    """The faster form of a network in eval mode where there is one; it is given and gives the same."""
    device = model.mean.device
    dtype = resolve_precision(precision, device) or torch.float32
    with torch.inference_mode():
        is_possible = not model.spec.is_paper and is_fusible(device, dtype)
        return FoldedUNet(model, dtype) if is_possible else model


def _halved(x: Tensor) -> Tensor:
    """`max_pool2d(x, 2)` of a channels-last map with even sides, in long runs of memory."""
    x = x.permute(0, 2, 3, 1)
    rows = torch.maximum(x[:, ::2], x[:, 1::2])
    left, right = rows.reshape(*rows.shape[:2], -1, 2, rows.shape[3]).unbind(3)
    return torch.maximum(left, right).permute(0, 3, 1, 2)
