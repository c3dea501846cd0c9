"""The street between dies: straight, along both axes, and of one level over most of its length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]

#: Levels this close are the same, in standard deviations of the tile.
_SAME_LEVEL = 0.35
#: A street has one level over this share of its length; marks, test patterns and noise take the rest.
_COVERED = 0.6
#: The other lines have that level over a share smaller by this, where no other street crosses.
_CONTRAST = 0.5


class Street(NamedTuple):
    """The street of one axis, in cells of the tile."""

    centre: float  #: in [0, cells)
    width: float  #: 0 if there is no street; the centre is then that of the most even line


class _Band(NamedTuple):
    """Consecutive lines of a tile, around its border."""

    first: int
    lines: int
    covered: float  #: mean share of its lines that has the level
    contrast: float  #: by how much that exceeds the share of the other lines
    separation: float  #: Otsu's between-class variance


_NO_BAND = _Band(0, 0, 0.0, 0.0, 0.0)


def find_streets(tile: npt.NDArray[np.float32]) -> tuple[Street, Street]:
    """The vertical and the horizontal street of an (h, w) tile that repeats at its borders.

    A tile does not say where a die begins. But the streets between dies cross the whole tile and
    consist of one material, whereas a die has structure. So for each level the lines of the tile are
    divided by the share of each that has this level, as Otsu's threshold does, but into a band and
    the rest; both axes have to agree on the level. The edges of a band lie between cells by how far
    the next cell has the level of the street.
    """
    values = tile.astype(np.float64)
    values /= values.std() or 1.0
    levels = np.arange(values.min(), values.max() + _SAME_LEVEL / 2, _SAME_LEVEL / 2)
    best, chosen = -1.0, (0.0, _NO_BAND, _NO_BAND)
    for level in levels:
        same = np.abs(values - level) < _SAME_LEVEL
        down, across = _band(same.mean(axis=0)), _band(same.mean(axis=1))
        if down.separation + across.separation > best:
            best, chosen = down.separation + across.separation, (float(level), down, across)
    level, down, across = chosen
    # Where the other street crosses, all lines are alike: the contrast comes from the rest.
    height, width = values.shape
    return (
        _street(values.T, level, down, between=1 - across.lines / height),
        _street(values, level, across, between=1 - down.lines / width),
    )


def _band(shares: _Array) -> _Band:
    """The band whose shares stand out most."""
    lines = len(shares)
    if lines < 2:
        return _NO_BAND
    sums = np.concatenate([[0.0], np.cumsum(np.tile(shares, 2))])
    first = np.arange(lines)[:, None]
    count = np.arange(1, lines)[None, :]
    within = sums[first + count] - sums[first]  # (first, count)
    contrast = within / count - (sums[lines] - within) / (lines - count)
    separation = np.where(contrast > 0, contrast**2 * count * (lines - count) / lines**2, 0.0)
    row, column = np.unravel_index(int(separation.argmax()), separation.shape)
    return _Band(
        first=int(row),
        lines=int(column) + 1,
        covered=float(within[row, column] / (column + 1)),
        contrast=float(contrast[row, column]),
        separation=float(separation[row, column]),
    )


def _street(rows: _Array, level: float, band: _Band, between: float) -> Street:
    """The street along the rows of `band`, if it is one.

    `between` is the share of each row that lies between the streets of the other axis.
    """
    lines = len(rows)
    if band.covered < _COVERED or band.contrast < _CONTRAST * between:
        return Street(float(rows.std(axis=1).argmin()) + 0.5, 0.0)
    before = _reach(rows[band.first - 1], rows[band.first - 2], level)
    last = band.first + band.lines
    after = _reach(rows[last % lines], rows[(last + 1) % lines], level)
    width = min(band.lines + before + after, lines - 1.0)
    return Street(float((band.first - before + width / 2) % lines), float(width))


def _reach(edge: _Array, beyond: _Array, level: float) -> float:
    """How far the street reaches into the row `edge`, in [0, 1].

    A mixture of street and die is nearer to the street's level than the next row.
    """
    own, other = ((line - level) @ (line - level) for line in (edge, beyond))
    return float(np.clip(1 - np.sqrt(own / other), 0, 1)) if other > 0 else 0.0
