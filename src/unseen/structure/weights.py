"""How much each pixel counts, given the grid of dies or the outlines and lines of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unseen.errors import StructureError
from unseen.structure.die_grid import Grid
from unseen.structure.outlines import Outline, Points, inside, near_lines

_Raster = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shapes:
    """Structure in relative coordinates: [0, 1] is the image."""

    outlines: Sequence[Outline] = field(default_factory=list)  #: closed: each has an inside
    lines: Sequence[Points] = field(default_factory=list)  #: open polylines, without an inside


def zone_weights(
    structure: Grid | Shapes,
    width: float,
    height: float,
    shape: tuple[int, int],
    *,
    zone: str,
    margin: float,
    weight: float,
) -> npt.NDArray[np.float32]:
    """(h, w) float32 in [0, 1]: how much each pixel of a raster over the image counts.

    Pixels of the zone ("inside" of dies and outlines, "outside", or "everywhere") weigh 1 unless
    they are nearer than `margin` to a line, and all others `weight`. The image is `width` x `height`
    px, and the margin px of the image. Lines are the borders of dies, across the whole image as they
    are drawn, the outlines, and open lines. Raises `StructureError` if there is no such zone.
    """
    if isinstance(structure, Grid):
        if zone == "outside" and not any(structure.street):
            raise StructureError(
                "zone='outside' of dies that touch (street=0 px): nothing lies between them. Give the "
                "street's width, or take another zone"
            )
        within = inside_grid(structure, width, height, shape)
        down, across = (
            _to_border(structure, axis, size, shape[1 - axis]) < margin
            for axis, size in ((1, height), (0, width))
        )
        near = down[:, None] | across
    else:
        if zone == "inside" and not structure.outlines:
            raise StructureError(
                f"zone='inside' of a structure with {len(structure.lines)} open lines and no closed "
                "outline: lines have no inside. Close them, or take zone='everywhere' with a margin"
            )
        within = inside(structure.outlines, shape)
        rings = [np.concatenate([r, r[:1]]) for outline in structure.outlines for r in outline]
        near = near_lines([*rings, *structure.lines], shape, distance=margin, size=(width, height))
    in_zone = {"everywhere": np.ones(shape, dtype=bool), "inside": within, "outside": ~within}
    counts = in_zone[zone] & ~near
    return np.asarray(np.where(counts, np.float32(1), np.float32(weight)))


def inside_grid(grid: Grid, width: float, height: float, shape: tuple[int, int]) -> _Raster:
    """(h, w) bool: the pixels of a raster over the image whose centres lie in a die."""
    down, across = (
        _phase(grid, axis, size, shape[1 - axis]) < grid.pitch[axis] - grid.street[axis]
        for axis, size in ((1, height), (0, width))
    )
    return np.asarray(down[:, None] & across)


def _phase(grid: Grid, axis: int, size: float, count: int) -> npt.NDArray[np.float64]:
    """(count,) distance of each pixel's centre from the beginning of its die, px in [0, pitch)."""
    centres = (np.arange(count) + 0.5) * (size / count)
    return np.asarray(np.mod(centres - grid.origin[axis], grid.pitch[axis]))


def _to_border(grid: Grid, axis: int, size: float, count: int) -> npt.NDArray[np.float64]:
    """(count,) distance of each pixel's centre from the nearest beginning or end of a die, px."""
    phase = _phase(grid, axis, size, count)
    pitch, street = grid.pitch[axis], grid.street[axis]
    nearest = np.minimum(phase, pitch - phase)
    return np.asarray(np.minimum(nearest, np.abs(phase - (pitch - street))))
