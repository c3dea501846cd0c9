"""Find the grid of dies: learn one die from some images of a product, then locate it in any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.errors import ShapeError, StructureError
from unseen.structure.die_grid import Grid
from unseen.structure.folding import Folded, Match, fold, match, moved
from unseen.structure.repetition import (
    BLUR,
    REQUIRED_STRENGTH,
    flattened,
    fundamental,
    mean_autocorrelations,
    refined,
    repeats,
    softened,
    strength_at,
)
from unseen.structure.street import find_streets


@dataclass(frozen=True, eq=False)
class GridModel:
    """What a product's dies look like, and how they repeat.

    Attributes:
        pitch: (x, y) distance from die to die, px.
        street: (x, y) width of the gap between two dies, px; 0 where dies touch.
        tile: (h, w) float32, one pitch of the pattern in standard deviations of an image; its cells
            are pitch_y / h by pitch_x / w px large, about a pixel. It begins anywhere in the die.
        offset: (x, y) from the tile's corner to where a die begins, px in [0, pitch).
        strength: (x, y) autocorrelation of the images at the pitch, in [-1, 1]; 0 where the images
            are too small to tell.
    """

    pitch: tuple[float, float]
    street: tuple[float, float]
    tile: npt.NDArray[np.float32]
    offset: tuple[float, float]
    strength: tuple[float, float]

    def __post_init__(self) -> None:
        Grid(self.pitch, self.offset, self.street)  # the same rules hold
        if self.tile.ndim != 2 or min(self.tile.shape) < 1 or not np.isfinite(self.tile).all():
            raise StructureError(
                f"the tile has shape {self.tile.shape}; expected (h, w) finite values. Learn the grid "
                "again"
            )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tile, ready for JSON; store the tile beside it."""
        return {
            "pitch": list(self.pitch),
            "street": list(self.street),
            "offset": list(self.offset),
            "strength": list(self.strength),
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any], tile: npt.ArrayLike) -> GridModel:
        """The model that `to_dict` described.

        Raises:
            StructureError: something is missing or out of its range.
        """
        try:
            pairs = {
                name: (float(description[name][0]), float(description[name][1]))
                for name in ("pitch", "street", "offset", "strength")
            }
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise StructureError(
                f"the stored grid lacks a part or has a wrong one ({error!r}); learn the grid again"
            ) from error
        return cls(tile=np.asarray(tile, dtype=np.float32), **pairs)


def learn_grid(
    images: Sequence[npt.NDArray[np.float32]],
    *,
    pitch: tuple[float, float] | None = None,
    street: tuple[float, float] | None = None,
    shortest: float = 8.0,
    longest: float | None = None,
) -> GridModel:
    """Learn pitch, look and borders of a die from images of one product.

    The images show the same dies at the same magnification, not rotated, each at its own phase. Ten
    images are plenty, one is enough.

    1. Pitch: the nearest of the strongest peaks of the images' mean autocorrelation along each axis,
       made precise by its multiples.
    2. Tile: each image folded at the pitch, and the folded images aligned to the clearest of them by
       circular cross-correlation. Their mean is weighted by how well they fit it.
    3. Street: where the tile has one level along its rows, and along its columns (`find_streets`).

    Args:
        images: each (H, W) float32 grey levels; sizes may differ.
        pitch: (x, y) px, where it is known; it is then taken as it is, however weakly it repeats.
        street: (x, y) px, where it is known; 0 where dies touch.
        shortest: smallest pitch to look for, px.
        longest: largest pitch to look for, px. Default: half the side of the smallest image.

    Raises:
        ShapeError: an image is not (H, W).
        StructureError: there is no image with any contrast; nothing repeats, or along one axis
            only; a given value is out of range, or larger than the images.
    """
    usable = _usable(images)
    sides = tuple(min(image.shape[axis] for image in usable) for axis in (1, 0))
    if pitch is not None:
        _check_given(pitch, street, sides)
    else:
        _check_range(shortest, longest, sides)
    along = mean_autocorrelations(usable)
    if pitch is None:
        pitch = _pitch(along, sides, shortest, longest)
    tile = _mean_tile(usable, pitch)
    cells = tile.shape[::-1]
    found = find_streets(tile)
    scale = tuple(pitch[axis] / cells[axis] for axis in (0, 1))
    if street is None:
        street = (found[0].width * scale[0], found[1].width * scale[1])
    Grid(pitch, (0.0, 0.0), street)
    return GridModel(
        pitch=pitch,
        street=street,
        tile=tile,
        offset=(
            (found[0].centre * scale[0] + street[0] / 2) % pitch[0],
            (found[1].centre * scale[1] + street[1] / 2) % pitch[1],
        ),
        strength=(strength_at(along[0], pitch[0]), strength_at(along[1], pitch[1])),
    )


def locate(image: npt.NDArray[np.float32], model: GridModel) -> tuple[Grid, float]:
    """Where the dies lie in one image.

    Args:
        image: (H, W) float32 grey levels, of the magnification the model was learned at; any size,
            also smaller than a die.
        model: from `learn_grid`.

    Returns:
        The grid, its origin in [0, pitch), and how well it fits: the correlation of the image, less
        its slow illumination, with the tile repeated at that place, in [-1, 1]. It is lower where
        there is noise or a large defect, and near 0 for an image of something else or of nothing.

    Raises:
        ShapeError: the image is not (H, W), or has no pixels.
    """
    _check_image(image)
    soft = softened(flattened(image, model.pitch))
    found = _place(fold(soft, model.pitch, _shape(model.tile)), model.tile)
    origin = (
        (found.shift[0] + model.offset[0]) % model.pitch[0],
        (found.shift[1] + model.offset[1]) % model.pitch[1],
    )
    return Grid(model.pitch, origin, model.street), found.fit


def _usable(images: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    """The images with any contrast."""
    for image in images:
        _check_image(image)
    usable = [image for image in images if float(np.ptp(image)) > 0]
    if not usable:
        raise StructureError(
            f"none of {len(images)} images has any contrast; the grid is learned from at least one "
            "image that shows dies"
        )
    return usable


def _check_image(image: npt.NDArray[np.float32]) -> None:
    if image.ndim != 2 or not image.size:
        raise ShapeError(f"the image has shape {image.shape}; expected (H, W) grey levels")


def _check_given(
    pitch: tuple[float, float], street: tuple[float, float] | None, sides: tuple[int, ...]
) -> None:
    Grid(pitch, (0.0, 0.0), street or (0.0, 0.0))
    if pitch[0] > sides[0] or pitch[1] > sides[1]:
        raise StructureError(
            f"pitch={pitch} px, but the smallest image has {sides[0]} x {sides[1]} px; learn from "
            "images that show at least one whole die"
        )


def _check_range(shortest: float, longest: float | None, sides: tuple[int, ...]) -> None:
    if not 2 <= shortest <= (longest if longest is not None else shortest):
        raise StructureError(
            f"shortest={shortest} px, longest={longest} px; expected 2 <= shortest <= longest"
        )
    if min(sides) < 2 * shortest:
        raise StructureError(
            f"the smallest image has {sides[0]} x {sides[1]} px, too few to show a pitch of at least "
            f"{shortest:g} px twice; learn from larger images, or lower the shortest pitch"
        )


def _pitch(
    along: Sequence[npt.NDArray[np.float64]],
    sides: tuple[int, ...],
    shortest: float,
    longest: float | None,
) -> tuple[float, float]:
    """(x, y) px, or an error that says what was found instead."""
    pitch, report = [], []
    for name, correlation, side in zip(("across", "down"), along, sides, strict=True):
        farthest = longest if longest is not None else side / 2 + 1
        repeat = fundamental(correlation, shortest, farthest)
        if repeat is not None:
            pitch.append(refined(correlation, repeat.lag))
            report.append(
                f"{name} it repeats every {pitch[-1]:.1f} px (strength {repeat.strength:.2f})"
            )
            continue
        others = repeats(correlation, shortest, farthest)
        stand_out = [other for other in others if other.prominence >= 0.01 and other.strength > 0]
        best = max(stand_out, key=lambda other: other.strength, default=None)
        report.append(
            f"{name} nothing repeats"
            if best is None
            else f"{name} the strongest repeat is {best.lag:.1f} px with strength {best.strength:.2f}"
        )
    if len(pitch) == 2:
        return pitch[0], pitch[1]
    what = (
        "the pattern repeats along one axis only" if pitch else "no pattern repeats in the images"
    )
    raise StructureError(
        f"{what}: {report[0]}, {report[1]}. A grid of dies repeats both ways, with a strength of at "
        f"least {REQUIRED_STRENGTH} and again at twice the pitch, at a pitch from {shortest:g} px to "
        f"{f'{longest:g} px' if longest is not None else 'half the image'}. Give the pitch if you know "
        "it, or take the structure from another source, such as a mask"
    )


def _mean_tile(
    images: Sequence[npt.NDArray[np.float32]], pitch: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """(h, w): one pitch of what the images share; those that fit better count more."""
    shape = (max(2, round(pitch[1])), max(2, round(pitch[0])))
    tiles, folded = [], []
    for image in images:
        flat = flattened(image, pitch)
        tiles.append(fold(flat, pitch, shape).mean)
        folded.append(fold(softened(flat), pitch, shape))
    # At unit deviation, what is left of an image on the tile is the share of it that repeats.
    clearest = tiles[int(np.argmax([tile.std() for tile in tiles]))].astype(np.float32)
    found = [_place(one, clearest) for one in folded]
    weights = np.maximum([one.fit for one in found], 0)
    if not weights.any():  # a given pitch, and images that are even at it
        return clearest
    back = [
        moved(tile, pitch, (-place.shift[0], -place.shift[1]))
        for tile, place in zip(tiles, found, strict=True)
    ]
    return np.asarray(np.average(back, axis=0, weights=weights), dtype=np.float32)


def _place(folded: Folded, tile: npt.NDArray[np.float32]) -> Match:
    """Where the tile lies in an image that was softened and folded; the tile is softened as much."""
    return match(folded, ndimage.gaussian_filter(tile, BLUR, mode="wrap"))


def _shape(tile: npt.NDArray[np.float32]) -> tuple[int, int]:
    height, width = tile.shape
    return height, width
