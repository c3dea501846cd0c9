"""Which pixels count, given the known structure of an image: the grid of dies, or outlines and lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from unseen.errors import ShapeError, StructureError
from unseen.structure.die_grid import Grid
from unseen.structure.outlines import Outline, Points, inside, near_lines

#: Where pixels count in full.
ZONES = ("everywhere", "inside", "outside")


@dataclass(frozen=True)
class Shapes:
    """Structure that was drawn or given, in relative coordinates: [0, 1] is the image.

    Attributes:
        outlines: closed shapes; what lies in any of them is inside.
        lines: open polylines, each (N, 2) points (x, y); they have no inside.
    """

    outlines: Sequence[Outline] = field(default_factory=list)
    lines: Sequence[Points] = field(default_factory=list)


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
    """How much each pixel counts.

    Pixels of the zone weigh 1 unless they are nearer than the margin to a line; all others weigh
    `weight`. Lines are the borders of dies and of outlines as well as open lines. The borders of
    dies run across the whole image, as they are drawn, also through the crossings of streets.

    Args:
        structure: the grid of dies, px of the image; or outlines and lines.
        width: of the image, px.
        height: of the image, px.
        shape: (h, w) of the raster that covers the image.
        zone: "inside" of dies and outlines, "outside" of them, or "everywhere".
        margin: px of the image, >= 0.
        weight: in [0, 1].

    Returns:
        (h, w) float32 in [0, 1].

    Raises:
        ShapeError: the image or the raster has no pixels, or points have a wrong shape.
        StructureError: a parameter is out of its range, or the structure has no such zone.
    """
    _check(width, height, shape, zone, margin, weight)
    if isinstance(structure, Grid):
        within, near = _of_grid(structure, width, height, shape, zone, margin)
    else:
        within, near = _of_shapes(structure, width, height, shape, zone, margin)
    counts = ~near
    if zone != "everywhere":
        counts &= within if zone == "inside" else ~within
    weights: npt.NDArray[np.float32] = np.where(counts, np.float32(1), np.float32(weight))
    return weights


def inside_grid(
    grid: Grid, width: float, height: float, shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """The pixels whose centres lie in a die.

    Args:
        grid: px of the image.
        width: of the image, px.
        height: of the image, px.
        shape: (h, w) of the raster that covers the image.

    Returns:
        (h, w) bool.
    """
    across, down = (
        _phase(grid, axis, size, shape[1 - axis]) < grid.pitch[axis] - grid.street[axis]
        for axis, size in ((0, width), (1, height))
    )
    return np.asarray(down[:, None] & across[None, :])


def _of_grid(
    grid: Grid, width: float, height: float, shape: tuple[int, int], zone: str, margin: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(h, w) each: in a die; nearer than the margin to a border of dies."""
    if zone == "outside" and not any(grid.street):
        raise StructureError(
            "zone='outside' of dies that touch (street=0 px): nothing lies between them. Give the "
            "street's width, or take another zone"
        )
    near_across, near_down = (
        _to_border(grid, axis, size, shape[1 - axis]) < margin
        for axis, size in ((0, width), (1, height))
    )
    return inside_grid(grid, width, height, shape), near_down[:, None] | near_across[None, :]


def _of_shapes(
    shapes: Shapes, width: float, height: float, shape: tuple[int, int], zone: str, margin: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """(h, w) each: in an outline; nearer than the margin to an outline or a line."""
    if zone == "inside" and not shapes.outlines:
        raise StructureError(
            f"zone='inside' of a structure with {len(shapes.lines)} open lines and no closed outline: "
            "lines have no inside. Close the lines, or take zone='everywhere' with a margin"
        )
    rings = [np.concatenate([r, r[:1]]) for outline in shapes.outlines for r in outline]
    near = near_lines([*rings, *shapes.lines], *shape, distance=margin, size=(width, height))
    return inside(shapes.outlines, *shape), near


def _phase(grid: Grid, axis: int, size: float, count: int) -> npt.NDArray[np.float64]:
    """(count,) how far behind the beginning of a die each pixel's centre lies, px in [0, pitch)."""
    centres = (np.arange(count) + 0.5) * (size / count)
    return np.asarray(np.mod(centres - grid.origin[axis], grid.pitch[axis]))


def _to_border(grid: Grid, axis: int, size: float, count: int) -> npt.NDArray[np.float64]:
    """(count,) distance of each pixel's centre from the nearest beginning or end of a die, px."""
    phase = _phase(grid, axis, size, count)
    pitch, street = grid.pitch[axis], grid.street[axis]
    nearest = np.minimum(phase, pitch - phase)
    return np.asarray(np.minimum(nearest, np.abs(phase - (pitch - street))) if street else nearest)


def _check(
    width: float, height: float, shape: tuple[int, int], zone: str, margin: float, weight: float
) -> None:
    if not (width > 0 and height > 0) or len(shape) != 2 or min(shape) < 1:
        raise ShapeError(
            f"an image of {width} x {height} px on a raster {shape}; expected sizes above 0"
        )
    if zone not in ZONES:
        raise StructureError(f"zone={zone!r}; expected one of {', '.join(ZONES)}")
    if not (math.isfinite(margin) and margin >= 0):
        raise StructureError(f"margin={margin}; expected a number >= 0, in px of the image")
    if not 0 <= weight <= 1:
        raise StructureError(f"weight={weight}; expected a number in [0, 1]")
