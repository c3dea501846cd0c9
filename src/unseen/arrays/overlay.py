"""The heatmap drawn over its image: shows an annotator where to look, without hiding what is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from unseen.errors import ShapeError

#: Colour of full heat. Of the hues tried on grey wafers, thin films, copper and black-on-white boards,
#: only magenta stood out on all: orange is lost on copper, cyan on white.
TINT = (255, 0, 200)
#: Heat at which the contour runs: half of full scale.
CONTOUR_LEVEL = 128
#: Images below this side have a contour of 1 px, larger ones of one px more per this many px.
CONTOUR_SPACING = 600
#: Colour of known structure, far from the tint, and how much of it a line shows.
LINE_COLOUR = (0, 150, 255)
LINE_OPACITY = 0.6
#: Colour of the outlines of the parts that are to be labelled.
SCOPE_COLOUR = (255, 220, 0)


def overlay(
    image: npt.NDArray[np.uint8], heat: npt.NDArray[np.uint8], *, opacity: float
) -> npt.NDArray[np.uint8]:
    """Tint the image by the heat, and draw a thin line around the hot regions.

    A pixel moves towards the tint by `opacity * heat / 255`, so that pixels without heat stay as
    they are, bit by bit, and the texture shows through the others. The line runs just outside what
    is at least half hot, so that it hides nothing of a small defect; it is drawn with the square
    root of the opacity, so that a region stands out where its tint is faint.

    Args:
        image: (H, W, 3) uint8.
        heat: (h, w) uint8 of the same aspect, any size: 0 = nothing, 255 = full scale.
        opacity: share of the tint at full heat, in (0, 1].

    Returns:
        (H, W, 3) uint8.

    Raises:
        ShapeError: an array has another shape or type, or no pixels.
        ValueError: opacity is out of its range.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"image is {_kind(image)}; expected (H, W, 3) uint8 with H * W > 0")
    if heat.ndim != 2 or heat.dtype != np.uint8 or not heat.size:
        raise ShapeError(f"heat is {_kind(heat)}; expected (h, w) uint8 with h * w > 0")
    if not 0 < opacity <= 1:
        raise ValueError(f"opacity={opacity}; expected a number in (0, 1]")
    height, width, _ = image.shape
    warmth = enlarge(heat, height, width)  # (H, W)
    weight = warmth * np.float32(opacity / 255)
    weight[contour(warmth)] = np.sqrt(np.float32(opacity))
    result: npt.NDArray[np.uint8] = image.copy()
    rows = np.flatnonzero(weight.any(axis=1))  # most images are cold nearly everywhere
    if rows.size:
        part = slice(rows[0], rows[-1] + 1)
        below = image[part].astype(np.float32)
        mixed = below + weight[part, :, None] * (np.asarray(TINT, np.float32) - below)
        result[part] = np.rint(mixed).astype(np.uint8)
    return result


def draw_lines(
    image: npt.NDArray[np.uint8],
    lines: Sequence[npt.NDArray[np.float32]],
    *,
    colour: tuple[int, int, int] = LINE_COLOUR,
) -> npt.NDArray[np.uint8]:
    """Draw thin lines through which the image can still be seen.

    Args:
        image: (H, W, 3) uint8.
        lines: each (N, 2) float32, corners (x, y) relative to the image's size.
        colour: red, green, blue.

    Returns:
        (H, W, 3) uint8; lines are `1 + min(H, W) // CONTOUR_SPACING` px wide.

    Raises:
        ShapeError: the image has another shape or type, or no pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"image is {_kind(image)}; expected (H, W, 3) uint8 with H * W > 0")
    height, width, _ = image.shape
    drawn = Image.new("1", (width, height))
    pen = ImageDraw.Draw(drawn)
    for line in lines:
        corners = np.asarray(line, np.float64) * (width, height)
        # A corner at the right or lower edge belongs to the last pixel.
        inside = np.clip(np.floor(corners), 0, (width - 1, height - 1))
        pen.line(
            [(x, y) for x, y in inside], fill=1, width=1 + min(width, height) // CONTOUR_SPACING
        )
    on = np.asarray(drawn)
    result: npt.NDArray[np.uint8] = image.copy()
    below = result[on].astype(np.float32)
    above = np.asarray(colour, np.float32)
    result[on] = np.rint(below + LINE_OPACITY * (above - below)).astype(np.uint8)
    return result


def enlarge(heat: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float32]:
    """The heat at another size: bilinear between the centres of its cells, level beyond the outer ones.

    Args:
        heat: (h, w) uint8.
        height: of the result, px.
        width: of the result, px.

    Returns:
        (height, width) float32 in [0, 255].
    """
    grown = heat.astype(np.float32)
    for axis, size in enumerate((height, width)):
        cells = grown.shape[axis]
        centre = (np.arange(size, dtype=np.float64) + 0.5) * cells / size - 0.5
        centre = np.clip(centre, 0, cells - 1)
        first = np.floor(centre).astype(np.int64)
        second = np.minimum(first + 1, cells - 1)
        share = (centre - first).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        low = np.take(grown, first, axis=axis)
        grown = low + share * (np.take(grown, second, axis=axis) - low)
    return grown


def contour(warmth: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The line just outside what is at least half hot, never where there is no heat at all.

    Args:
        warmth: (H, W) float32 in [0, 255].

    Returns:
        (H, W) bool; the line is `1 + min(H, W) // CONTOUR_SPACING` px wide.
    """
    hot = warmth >= CONTOUR_LEVEL
    grown = hot
    for _ in range(1 + min(warmth.shape) // CONTOUR_SPACING):
        padded = np.pad(grown, 1)
        grown = grown | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return np.asarray(grown & ~hot & (warmth > 0))


def _kind(array: npt.NDArray[np.generic]) -> str:
    return f"{array.shape} {array.dtype}"
