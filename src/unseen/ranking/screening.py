"""Blank and partial images: artefacts of the imaging system (Ivanov et al. 2021, IV)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

#: Side of the tiles whose texture is measured: the shorter image side / 32, at least 4 px.
_SMALLEST_TILE = 4
_TILES_PER_SIDE = 32
#: A tile is flat below this share of the texture of the textured tiles, which this quantile of all
#: tiles represents: up to 75 % of an image may be missing.
_FLAT_TEXTURE = 0.3
_TEXTURED_QUANTILE = 0.9
#: Less texture than one 8-bit step is flat in any case.
_QUANTISATION = 0.5 / 255
#: The usual spread of flat shares in a dataset, in standard deviations.
_USUAL_SPREAD = 4.0
#: Pixels whose texture is measured together.
_PIXELS = 50_000


def brightness(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W, C) float32 -> (H, W) float32: the mean of the channels."""
    # Plane by plane: `mean(axis=2)` gives the same numbers in ten times the time.
    return np.asarray(sum(np.moveaxis(image, 2, 0)) / image.shape[2])


def contrast(image: npt.NDArray[np.float32]) -> float:
    """Standard deviation of the brightness of an image (H, W, C) in [0, 1]; near 0 means blank."""
    return float(brightness(image).std(dtype=np.float64))


def flat_border_share(image: npt.NDArray[np.float32]) -> float:
    """The share of the area in one flat region that touches the border, of an image in [0, 1].

    Texture is the standard deviation of the brightness within a tile around its own plane, so that
    an illumination gradient is not texture. Flat tiles have under 30 % of the texture of the image's
    own textured tiles. The largest 4-connected region of flat tiles at the border counts. Images of
    fewer than 4 x 4 tiles have 0.
    """
    grey = brightness(image)
    side = max(_SMALLEST_TILE, min(grey.shape) // _TILES_PER_SIDE)
    rows, columns = grey.shape[0] // side, grey.shape[1] // side
    if rows < 4 or columns < 4:
        return 0.0
    # Some rows of tiles at a time: in threads, large arrays cost more to get than to fill.
    some = side * max(1, _PIXELS // (side * columns * side))
    parts = range(0, rows * side, some)
    used = grey[: rows * side, : columns * side]
    texture = np.concatenate([_texture(used[top : top + some], side) for top in parts])
    limit = max(_FLAT_TEXTURE * float(np.quantile(texture, _TEXTURED_QUANTILE)), _QUANTISATION)
    labels, _ = ndimage.label(texture < limit)
    at_border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    sizes = np.bincount(labels.reshape(-1))
    return float(sizes[at_border[at_border > 0]].max(initial=0) / labels.size)


def partial_images(shares: npt.ArrayLike, max_flat_share: float) -> npt.NDArray[np.bool_]:
    """Which images of a dataset are partial, judged by what is usual in it.

    An image is partial if its flat share (N,) is above the dataset's median by at least
    `max_flat_share` and by more than 4 standard deviations of the usual spread (1.4826 x the median
    absolute deviation). So a dataset whose images are flat by nature, such as binary pictures of
    circuit boards, loses none. NaN (unreadable) is never partial.
    """
    values = np.asarray(shares, dtype=np.float64).reshape(-1)
    known = values[~np.isnan(values)]
    if not known.size:
        return np.zeros(len(values), dtype=bool)
    usual = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - usual)))
    excess = np.nan_to_num(values, nan=-np.inf) - usual
    return np.asarray((excess >= max_flat_share) & (excess > _USUAL_SPREAD * spread))


def _texture(grey: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float64]:
    """(rows, columns): standard deviation within each tile around its own plane."""
    rows, columns = grey.shape[0] // side, grey.shape[1] // side
    tiles = grey.astype(np.float64).reshape(rows, side, columns, side).transpose(0, 2, 1, 3)
    tiles = tiles - tiles.mean(axis=(2, 3), keepdims=True)
    slope = np.arange(side) - (side - 1) / 2
    slope = slope / np.sqrt((slope**2).sum() * side)
    along_rows = np.einsum("abij,i->ab", tiles, slope)
    along_columns = np.einsum("abij,j->ab", tiles, slope)
    variance = (tiles**2).sum(axis=(2, 3)) - along_rows**2 - along_columns**2
    return np.asarray(np.sqrt(np.clip(variance, 0, None) / side**2))
