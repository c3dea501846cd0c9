"""The unseen score as a picture: a small heatmap for the App, and drawn over its image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

#: Scores below this share of full scale become 0, which the App draws transparent. Otherwise the faint
#: score that every pixel has would veil the whole image.
NOISE_FLOOR = 0.1
#: Colour of full heat. Of the hues tried on grey wafers, thin films, copper and black-on-white boards
#: only magenta stood out on all: orange is lost on copper, cyan on white.
TINT = (255, 0, 200)
#: The contour runs at half of full scale.
CONTOUR_LEVEL = 128
#: Lines are 1 px wide, and one px wider per this many px of the image's shorter side.
CONTOUR_SPACING = 600
#: Colour of known structure, far from the tint, and how much of it a line shows.
LINE_COLOUR = (0, 150, 255)
LINE_OPACITY = 0.6
#: Colour of the outlines of the parts that are to be labelled.
SCOPE_COLOUR = (255, 220, 0)


def heatmap(score: npt.NDArray[np.floating[Any]], full_scale: float, longest_side: int) -> Picture:
    """Shrink a score and quantise it to uint8: 0 = nothing unseen, 255 = `full_scale` or above.

    Cells take the maximum of their (h, w) scores >= 0, so that a defect of a few pixels survives. The
    longest side becomes `longest_side` px unless it is shorter. A full scale of 0 gives all zeros.
    """
    height, width = score.shape
    factor = min(1.0, longest_side / max(height, width))
    kind = score.dtype
    if kind == np.float16:  # what is >= 0 has the order of its bits, which NumPy compares faster
        score = score.view(np.int16)
    for axis, size in enumerate((height, width)):
        target = max(1, math.floor(size * factor + 0.5))
        if target < size:
            edges = np.arange(target + 1, dtype=np.int64) * size // target
            starts, last = edges[:-1], edges[1:] - 1
            # Cell by cell at once: their first scores, their second ones, ...
            largest = score.take(starts, axis)
            for step in range(1, int((last - starts).max()) + 1):
                np.maximum(largest, score.take(np.minimum(starts + step, last), axis), out=largest)
            score = largest
    score = score.view(kind)
    if not full_scale > 0:
        return np.zeros(score.shape, dtype=np.uint8)
    relative = np.clip(score.astype(np.float32) / full_scale, 0, 1)
    relative = np.where(relative < NOISE_FLOOR, 0, relative)
    return np.asarray(np.rint(relative * 255), dtype=np.uint8)


def overlay(image: Picture, heat: Picture, *, opacity: float) -> Picture:
    """Tint an (H, W, 3) uint8 image by its (h, w) uint8 heatmap, and outline the hot regions.

    A pixel moves towards the tint by `opacity * heat / 255`, so that pixels without heat stay
    unchanged and the texture shows through the others. The line runs just outside what is at least
    half hot, so that it hides nothing of a small defect, with the square root of the opacity.
    """
    height, width = image.shape[:2]
    warmth = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    hot = (warmth >= CONTOUR_LEVEL).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    grown = cv2.dilate(hot, cross, iterations=_line_width(image))
    weight = np.asarray(warmth * np.float32(opacity / 255))
    weight[(grown > hot) & (warmth > 0)] = np.sqrt(np.float32(opacity))
    return _blended(image, TINT, weight)


def draw_lines(
    image: Picture,
    lines: Sequence[npt.NDArray[np.float32]],
    *,
    colour: tuple[int, int, int] = LINE_COLOUR,
) -> Picture:
    """Draw thin translucent polylines, each (N, 2) corners (x, y) relative to the image's size."""
    height, width = image.shape[:2]
    # A corner at the right or lower edge belongs to the last pixel.
    last = (width - 1, height - 1)
    corners = [
        np.clip(np.floor(line.astype(np.float64) * (width, height)), 0, last).astype(np.int32)
        for line in lines
    ]
    drawn = cv2.polylines(
        np.zeros((height, width), np.uint8), corners, False, 1, thickness=_line_width(image)
    )
    return _blended(image, colour, drawn * np.float32(LINE_OPACITY))


def _line_width(image: Picture) -> int:
    return 1 + int(min(image.shape[:2])) // CONTOUR_SPACING


def _blended(
    image: Picture, colour: tuple[int, int, int], weight: npt.NDArray[np.float32]
) -> Picture:
    """A copy in which each pixel moved towards the colour by its (H, W) weight in [0, 1]."""
    result = np.array(image)
    on = weight > 0
    below = image[on].astype(np.float32)
    mixed = below + weight[on, None] * (np.asarray(colour, np.float32) - below)
    result[on] = np.rint(mixed).astype(np.uint8)
    return result
