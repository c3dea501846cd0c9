"""Fold an image at its pitch, so that all its dies lie on one tile, and match it with a known tile."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse

_Array = npt.NDArray[np.float64]
Pair = tuple[float, float]


class Folded(NamedTuple):
    """The sums of an image's pixels by their position within one pitch.

    The (h, w) cells of a tile divide one pitch evenly; each pixel is shared by the four cells with
    the nearest centres.
    """

    total: _Array  #: (h, w) sum of the pixels of each cell
    pixels: _Array  #: (h, w) number of pixels of each cell; 0 if the image shows nothing of it
    squares: float  #: sum of the squares of all pixels
    pitch: Pair  #: (x, y) px

    @property
    def mean(self) -> _Array:
        """(h, w) mean of the pixels of each cell; 0 where there are none."""
        nothing = np.zeros_like(self.total)
        return np.asarray(np.divide(self.total, self.pixels, out=nothing, where=self.pixels > 0))


class Match(NamedTuple):
    """Where a tile lies in a folded image, and how well it fits."""

    shift: Pair  #: (x, y) from the image's corner to the tile's, px in [0, pitch)
    fit: float  #: correlation of the image's pixels with the repeated tile, in [-1, 1]


def fold(image: npt.NDArray[np.float32], pitch: Pair, shape: tuple[int, int]) -> Folded:
    """Fold an (H, W) float32 image of any size at its (x, y) pitch, px, to a tile of (h, w) cells."""
    down = _shares(image.shape[0], pitch[1], shape[0])  # (h, H)
    across = _shares(image.shape[1], pitch[0], shape[1])  # (w, W)
    return Folded(
        total=np.asarray((across @ (down @ image).T).T, dtype=np.float64),
        pixels=np.outer(down.sum(axis=1), across.sum(axis=1)),
        squares=float(np.square(image, dtype=np.float64).sum()),
        pitch=pitch,
    )


def match(folded: Folded, tile: npt.NDArray[np.float32]) -> Match:
    """The shift at which the repeated (h, w) tile correlates best with an image folded to its shape.

    Shift 0 and fit 0 if the image or the tile has no contrast.
    """
    correlation = _correlations(folded, np.asarray(tile, dtype=np.float64))
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    height, width = correlation.shape
    rows, columns = np.arange(row - 1, row + 2) % height, np.arange(column - 1, column + 2) % width
    dy, dx = _summit(correlation[np.ix_(rows, columns)])
    shift = (
        float((column + dx) / width % 1 * folded.pitch[0]),
        float((row + dy) / height % 1 * folded.pitch[1]),
    )
    return Match(shift, float(np.clip(correlation[row, column], -1, 1)))


def _correlations(folded: Folded, tile: _Array) -> _Array:
    """(h, w): Pearson correlation of all pixels with the tile repeated at each shift."""
    pixels = folded.pixels.sum()
    shifted = fft.rfft2(np.stack([tile, tile**2])).conj()
    count = fft.rfft2(folded.pixels)
    products, sums, squares = fft.irfft2(
        np.stack([fft.rfft2(folded.total) * shifted[0], count * shifted[0], count * shifted[1]]),
        s=tile.shape,
    )
    covariance = products - folded.total.sum() * sums / pixels
    spread = (folded.squares - folded.total.sum() ** 2 / pixels) * (squares - sums**2 / pixels)
    # Rounding leaves a little of what cancels.
    tiny = 1e-10 * folded.squares * float((tile**2).max(initial=0)) * pixels
    flat = np.zeros_like(covariance)
    return np.asarray(
        np.divide(covariance, np.sqrt(np.maximum(spread, 0)), out=flat, where=spread > tiny)
    )


def _shares(size: int, pitch: float, cells: int) -> sparse.csr_array:
    """(cells, size): how much each of `size` pixels adds to each cell; every column sums to 1."""
    position = (np.arange(size) + 0.5) / pitch * cells - 0.5
    first = np.floor(position)
    share = (position - first).astype(np.float32)
    cell = np.concatenate([first, first + 1]).astype(np.int64) % cells
    pixel = np.tile(np.arange(size), 2)
    return sparse.csr_array(
        (np.concatenate([1 - share, share]), (cell, pixel)), shape=(cells, size)
    )


def _summit(around: _Array) -> Pair:
    """(row, column) in [-0.5, 0.5] of the maximum of the quadratic through (3, 3) values around 0."""
    slope = 0.5 * np.asarray([around[2, 1] - around[0, 1], around[1, 2] - around[1, 0]])
    middle = around[1, 1]
    twist = 0.25 * (around[2, 2] + around[0, 0] - around[0, 2] - around[2, 0])
    down, across = (a + b - 2 * middle for a, b in (around[::2, 1], around[1, ::2]))
    if down >= 0 or down * across <= twist**2:  # no maximum
        return 0.0, 0.0
    bend = np.asarray([[down, twist], [twist, across]])
    row, column = np.clip(np.linalg.solve(bend, -slope), -0.5, 0.5)
    return float(row), float(column)
