"""A grid of dies and the lines between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.errors import StructureError


@dataclass(frozen=True)
class Grid:
    """Equal dies at equal distances, aligned with the image.

    x runs to the right, y down; pixel (row i, column j) covers [j, j + 1) x [i, i + 1). For every
    integer k dies cover x in [origin_x + k pitch_x, origin_x + (k + 1) pitch_x - street_x), and y
    likewise; the rest is street.
    """

    pitch: tuple[float, float]  #: (x, y) distance from die to die, px; > 0
    origin: tuple[float, float]  #: (x, y) of the upper left corner of one of the dies, px
    street: tuple[float, float]  #: (x, y) gap between two dies, px; in [0, pitch), 0 if dies touch

    def __post_init__(self) -> None:
        for name, pair in (("pitch", self.pitch), ("origin", self.origin), ("street", self.street)):
            if len(pair) != 2 or not all(math.isfinite(value) for value in pair):
                raise StructureError(f"{name}={pair}; expected two finite numbers (x, y) in px")
        for pitch, street in zip(self.pitch, self.street, strict=True):
            if pitch <= 0:
                raise StructureError(f"pitch={self.pitch}; expected two numbers > 0, in px")
            if not 0 <= street < pitch:
                raise StructureError(
                    f"street={self.street} with pitch={self.pitch}; expected 0 <= street < pitch, in "
                    "px: the pitch is measured from die to die and includes the street"
                )


def lines(grid: Grid, width: float, height: float) -> npt.NDArray[np.float32]:
    """The borders of the dies as straight lines across an image of `width` x `height` px.

    Returns (N, 2, 2) float32 start and end (x, y) in px, first the vertical lines from left to right,
    then the horizontal ones: one line per border if dies touch, else both sides of each street.
    """
    xs, ys = _borders(grid, 0, width), _borders(grid, 1, height)
    down = np.stack([xs, 0 * xs, xs, np.full_like(xs, height)], axis=1)
    across = np.stack([0 * ys, ys, np.full_like(ys, width), ys], axis=1)
    return np.concatenate([down, across]).reshape(-1, 2, 2).astype(np.float32)


def _borders(grid: Grid, axis: int, size: float) -> npt.NDArray[np.float64]:
    """(N,): where dies begin and end along one axis, within [0, size]."""
    pitch, origin, street = grid.pitch[axis], grid.origin[axis], grid.street[axis]
    first, last = math.floor(-origin / pitch), math.ceil((size - origin) / pitch)
    starts = origin + pitch * np.arange(first, last + 1, dtype=np.float64)
    if street:
        starts = np.sort(np.concatenate([starts, starts - street]))
    return np.asarray(starts[(starts >= 0) & (starts <= size)])
