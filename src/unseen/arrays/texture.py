"""The texture of an image without any network: energies of derivatives at several scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unseen.arrays.illumination import evened

#: Scales, each at half the resolution of the one before.
LEVELS = 5
#: Derivatives per scale: across, down, the two diagonals, and the Laplacian.
KINDS = 5
#: Side of the cells over which energies are averaged, px.
CELL = 32
#: Quantiles over the cells: the typical surface, and the strongest marks.
QUANTILES = (0.5, 0.95)
#: Smallest energy that differs from none: a hundredth of an 8-bit step, squared.
_FLOOR = 1e-7

_DERIVATIVES = torch.tensor(
    [
        [[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]],
        [[0, -0.5, 0], [0, 0, 0], [0, 0.5, 0]],
        [[-0.5, 0, 0], [0, 0, 0], [0, 0, 0.5]],
        [[0, 0, -0.5], [0, 0, 0], [0.5, 0, 0]],
        [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],
    ]
)[:, None]
_BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
_BLUR = torch.outer(_BINOMIAL, _BINOMIAL)[None, None]


def texture_features(images: Tensor) -> Tensor:
    """(B, 50) log energies, `QUANTILES` x `LEVELS` x `KINDS`, of (B, C, H, W) images in [0, 1].

    Channels are averaged and the light is evened out. Logarithms make twice the contrast the same
    step everywhere. The sides are at least 3 * 2 ** (LEVELS - 1) = 48 px.
    """
    grey = images.mean(dim=1, keepdim=True)
    grey = evened(grey, grey.new_zeros(1))
    rows, columns = (max(1, round(side / CELL)) for side in grey.shape[2:])
    cells = log_energies(grey, rows, columns, LEVELS).flatten(2)
    return torch.cat([cells.quantile(q, dim=2) for q in QUANTILES], dim=1)


def log_energies(grey: Tensor, rows: int, columns: int, levels: int) -> Tensor:
    """(B, levels * KINDS, rows, columns) log mean squared derivatives of (B, 1, H, W) images."""
    energies = []
    for level in range(levels):
        changes = F.conv2d(F.pad(grey, (1,) * 4, "reflect"), _DERIVATIVES.to(grey))
        energies.append(F.adaptive_avg_pool2d(changes.square(), (rows, columns)))
        if level < levels - 1:
            grey = F.conv2d(F.pad(grey, (2,) * 4, "reflect"), _BLUR.to(grey), stride=2)
    return torch.cat(energies, dim=1).clamp_min(_FLOOR).log()
