"""A grid of dies: where they lie in an image, and the lines between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError, StructureError


@dataclass(frozen=True)
class Grid:
    """Equal dies at equal distances, not rotated against the image.

    x runs to the right, y down; pixel (row i, column j) covers [j, j + 1) x [i, i + 1). Dies cover
    x in [origin_x + k pitch_x, origin_x + (k + 1) pitch_x - street_x) for all whole k, and y likewise;
    the rest is street.

    Attributes:
        pitch: (x, y) distance from die to die, px; > 0.
        origin: (x, y) of the upper left corner of one of the dies, px.
        street: (x, y) width of the gap between two dies, px; in [0, pitch), 0 where dies touch.
    """

    pitch: tuple[float, float]
    origin: tuple[float, float]
    street: tuple[float, float]

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
                    "px: the pitch goes from die to die and includes the street"
                )


def dies(grid: Grid, width: float, height: float) -> npt.NDArray[np.float32]:
    """The dies that an image shows, also in part.

    Args:
        grid: where dies are.
        width: of the image, px.
        height: of the image, px.

    Returns:
        (N, 4) float32 xyxy px, clipped to the image; row by row, from left to right.

    Raises:
        ShapeError: the image has no area.
    """
    across, down = _intervals(grid, 0, width), _intervals(grid, 1, height)
    left, top = np.meshgrid(across[:, 0], down[:, 0])
    right, bottom = np.meshgrid(across[:, 1], down[:, 1])
    boxes = np.stack([left, top, right, bottom], axis=-1).reshape(-1, 4)
    return boxes.astype(np.float32)


def lines(grid: Grid, width: float, height: float) -> npt.NDArray[np.float32]:
    """The borders of the dies, as straight lines from edge to edge of the image.

    Args:
        grid: where dies are.
        width: of the image, px.
        height: of the image, px.

    Returns:
        (N, 2, 2) float32: start and end (x, y) in px; first those that run down, from left to right,
        then those that run across. One line per border where dies touch, else both sides of each
        street.

    Raises:
        ShapeError: the image has no area.
    """
    xs, ys = _borders(grid, 0, width), _borders(grid, 1, height)
    found = np.zeros((len(xs) + len(ys), 2, 2), dtype=np.float32)
    found[: len(xs), :, 0] = xs[:, None]
    found[: len(xs), 1, 1] = height
    found[len(xs) :, :, 1] = ys[:, None]
    found[len(xs) :, 1, 0] = width
    return found


def _intervals(grid: Grid, axis: int, size: float) -> npt.NDArray[np.float64]:
    """(N, 2): first and last coordinate of the dies along one axis, clipped to [0, size]."""
    starts = _starts(grid, axis, size)
    ends = starts + grid.pitch[axis] - grid.street[axis]
    clipped = np.clip(np.stack([starts, ends], axis=1), 0, size)
    return np.asarray(clipped[clipped[:, 1] > clipped[:, 0]])


def _borders(grid: Grid, axis: int, size: float) -> npt.NDArray[np.float64]:
    """(N,): where dies begin and end along one axis, within [0, size]."""
    starts = _starts(grid, axis, size)
    if grid.street[axis]:
        starts = np.sort(np.concatenate([starts, starts - grid.street[axis]]))
    return np.asarray(starts[(starts >= 0) & (starts <= size)])


def _starts(grid: Grid, axis: int, size: float) -> npt.NDArray[np.float64]:
    """Where dies begin along one axis: from the last one before the image to the first after it."""
    if not size > 0:
        raise ShapeError(f"the image is {size} px long; expected a size above 0 px")
    pitch, origin = grid.pitch[axis], grid.origin[axis]
    first, last = math.floor(-origin / pitch), math.ceil((size - origin) / pitch)
    return origin + pitch * np.arange(first, last + 1, dtype=np.float64)
