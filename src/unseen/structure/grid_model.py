"""Find the grid of dies: learn one die from some images of a product, then locate it in any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from unseen.errors import StructureError
from unseen.structure.die_grid import Grid
from unseen.structure.folding import Folded, Match, Pair, fold, match
from unseen.structure.repetition import (
    BLUR,
    REQUIRED_STRENGTH,
    SHORTEST,
    flattened,
    fundamental,
    mean_autocorrelations,
    refined,
    repeats,
    softened,
    strength_at,
)
from unseen.structure.street import find_streets

_Image = npt.NDArray[np.float32]  # (H, W) grey levels


@dataclass(frozen=True, eq=False)
class GridModel:
    """What a product's dies look like, and how they repeat.

    The tile is one pitch of the pattern in standard deviations of an image. Its (h, w) cells are
    pitch_y / h by pitch_x / w px large, about a pixel; it begins anywhere in the die.
    """

    pitch: Pair  #: (x, y) distance from die to die, px
    street: Pair  #: (x, y) width of the gap between two dies, px; 0 if dies touch
    tile: npt.NDArray[np.float32]
    offset: Pair  #: (x, y) from the tile's corner to where a die begins, px in [0, pitch)
    strength: Pair  #: (x, y) autocorrelation at the pitch; 0 if the images are too small to tell


def learn_grid(
    images: Sequence[_Image], *, pitch: Pair | None = None, street: Pair | None = None
) -> GridModel:
    """Learn pitch, look and borders of a die from images of one product.

    The images show the same dies at the same magnification, not rotated, each at its own phase. Ten
    are plenty, one is enough; sizes may differ. A given (x, y) pitch, px, is used however weakly it
    repeats, and a given street is laid around the middle of the one that is seen.

    1. Pitch: the nearest of the strongest peaks of the images' mean autocorrelation along each axis,
       refined by its multiples.
    2. Tile: each image folded at the pitch, and aligned to the clearest of them by circular
       cross-correlation; their mean, weighted by how well they fit it.
    3. Street: where the tile has one level along its rows, and along its columns (`find_streets`).

    Raises `StructureError` if no image has contrast, nothing repeats along both axes, or a given
    value is out of range or larger than the images.
    """
    usable = [image for image in images if float(np.ptp(image)) > 0]
    if not usable:
        raise StructureError(
            f"none of {len(images)} images has any contrast; learning the grid takes at least one "
            "image that shows dies"
        )
    sides = [min(image.shape[axis] for image in usable) for axis in (1, 0)]
    _check_sides(sides, pitch, street)
    along = mean_autocorrelations(usable)
    pitch = pitch or _pitch(along, sides)
    tile = _mean_tile(usable, pitch)
    streets = find_streets(tile)
    scale = pitch[0] / tile.shape[1], pitch[1] / tile.shape[0]  # px per cell
    street = street or (streets[0].width * scale[0], streets[1].width * scale[1])
    Grid(pitch, (0.0, 0.0), street)  # checks the street
    return GridModel(
        pitch=pitch,
        street=street,
        tile=tile,
        offset=(
            (streets[0].centre * scale[0] + street[0] / 2) % pitch[0],
            (streets[1].centre * scale[1] + street[1] / 2) % pitch[1],
        ),
        strength=(strength_at(along[0], pitch[0]), strength_at(along[1], pitch[1])),
    )


def locate(image: _Image, model: GridModel) -> tuple[Grid, float]:
    """The grid in one image of the model's magnification, of any size, even smaller than a die.

    Returns the grid, its origin in [0, pitch), and how well it fits: the correlation in [-1, 1] of
    the image, without its slow illumination, with the repeated tile. Noise and large defects lower
    it; an image of something else or of nothing is near 0.
    """
    soft = softened(flattened(image, model.pitch))
    height, width = model.tile.shape
    place = _place(fold(soft, model.pitch, (height, width)), model.tile)
    origin = (
        (place.shift[0] + model.offset[0]) % model.pitch[0],
        (place.shift[1] + model.offset[1]) % model.pitch[1],
    )
    return Grid(model.pitch, origin, model.street), place.fit


def _check_sides(sides: Sequence[int], pitch: Pair | None, street: Pair | None) -> None:
    """Compare the (x, y) sides of the smallest image with a given pitch, or the smallest one."""
    smallest = f"the smallest image has {sides[0]} x {sides[1]} px"
    if pitch is not None:
        Grid(pitch, (0.0, 0.0), street or (0.0, 0.0))
        if pitch[0] > sides[0] or pitch[1] > sides[1]:
            raise StructureError(
                f"pitch={pitch} px, but {smallest}; learn from images that show at least one whole die"
            )
    elif min(sides) < 2 * SHORTEST:
        raise StructureError(
            f"{smallest}, too few to show a pitch of at least {SHORTEST:g} px twice; learn from larger "
            "images"
        )


def _pitch(along: Sequence[npt.NDArray[np.float64]], sides: Sequence[int]) -> Pair:
    """(x, y) px, or an error that says what was found instead."""
    pitch, report = [], []
    for name, correlation, side in zip(("across", "down"), along, sides, strict=True):
        longest = side / 2 + 1
        repeat = fundamental(correlation, longest)
        if repeat is not None:
            pitch.append(refined(correlation, repeat.lag))
            report.append(
                f"{name} it repeats every {pitch[-1]:.1f} px (strength {repeat.strength:.2f})"
            )
            continue
        others = [r for r in repeats(correlation, longest) if r.prominence >= 0.01]
        best = max(others, key=lambda r: r.strength, default=None)
        report.append(
            f"{name} the strongest repeat is {best.lag:.1f} px with strength {best.strength:.2f}"
            if best is not None and best.strength > 0
            else f"{name} nothing repeats"
        )
    if len(pitch) == 2:
        return pitch[0], pitch[1]
    what = "the pattern repeats along one axis only" if pitch else "no pattern repeats"
    raise StructureError(
        f"{what}: {report[0]}, {report[1]}. A grid of dies repeats both ways, with a strength of at "
        f"least {REQUIRED_STRENGTH} and again at twice the pitch, at a pitch from {SHORTEST:g} px to "
        "half the image. Give the pitch if you know it, or take the structure from another source, "
        "such as a mask"
    )


def _mean_tile(images: Sequence[_Image], pitch: Pair) -> npt.NDArray[np.float32]:
    """(h, w): one pitch of what the images share; those that fit better count more."""
    shape = (max(2, round(pitch[1])), max(2, round(pitch[0])))
    tiles, folded = [], []
    for image in images:
        flat = flattened(image, pitch)
        tiles.append(fold(flat, pitch, shape).mean)
        folded.append(fold(softened(flat), pitch, shape))
    # Images have unit deviation: what is left of it on the tile is the share that repeats.
    clearest = tiles[int(np.argmax([tile.std() for tile in tiles]))].astype(np.float32)
    places = [_place(one, clearest) for one in folded]
    weights = np.maximum([place.fit for place in places], 0)
    if not weights.any():  # a given pitch at which the images are even
        return clearest
    back = [
        _moved(tile, (-place.shift[0] / pitch[0], -place.shift[1] / pitch[1]))
        for tile, place in zip(tiles, places, strict=True)
    ]
    return np.asarray(np.average(back, axis=0, weights=weights), dtype=np.float32)


def _moved(tile: npt.NDArray[np.float64], share: Pair) -> npt.NDArray[np.float64]:
    """The tile moved to the right and down by shares (x, y) of its size, around its borders."""
    height, width = tile.shape
    cells = (share[1] * height, share[0] * width)
    moved = ndimage.fourier_shift(fft.rfft2(tile), cells, n=width)
    return np.asarray(fft.irfft2(moved, s=tile.shape))


def _place(folded: Folded, tile: npt.NDArray[np.float32]) -> Match:
    """Where the tile lies in a softened and folded image; the tile is softened as much."""
    return match(folded, ndimage.gaussian_filter(tile, BLUR, mode="wrap"))
