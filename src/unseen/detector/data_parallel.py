"""Several processes that train one network, each on its share of every batch.

A single process is left as it is, bit for bit.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn


def rank_and_size() -> tuple[int, int]:
    """The number of this process among those that train together, from 0, and how many they are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def over_all(value: Tensor, *, largest: bool = False) -> Tensor:
    """The sum of a tensor over the processes, or its largest values; without a gradient."""
    if rank_and_size()[1] == 1:
        return value
    reduced = value.detach().clone()
    operation = distributed.ReduceOp.MAX if largest else distributed.ReduceOp.SUM
    distributed.all_reduce(reduced, operation)
    return reduced


def divisor(count: Tensor) -> Tensor:
    """What to divide a sum over the share of a process by, () at least 1 for the whole batch.

    Gradients are averaged over the processes; with this they are those of the sum over the whole
    batch, divided by the whole `count`.
    """
    return over_all(count).clamp(min=1) / rank_and_size()[1]


def data_parallel(model: nn.Module) -> nn.Module:
    """The model to call in training, whose gradients and statistics are those of the whole batch."""
    if rank_and_size()[1] == 1:
        return model
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm
    return nn.parallel.DistributedDataParallel(model)


class _Sum(torch.autograd.Function):
    """`over_all`, with a gradient."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return over_all(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return over_all(gradient)


class WholeBatchNorm(nn.BatchNorm2d):
    """Takes its statistics over all processes; torch's `SyncBatchNorm` needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), normalised."""
        if not self.training:
            return super().forward(x)
        values, axes = x.float(), (0, 2, 3)
        count = over_all(values.new_tensor(values[:, 0].numel()))
        mean = _Sum.apply(values.sum(axes)) / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            rate = cast("float", self.momentum)
            self.get_buffer("num_batches_tracked").add_(1)
            self.get_buffer("running_mean").lerp_(mean, rate)
            self.get_buffer("running_var").lerp_(variance * count / (count - 1), rate)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return normalised.to(x.dtype)
