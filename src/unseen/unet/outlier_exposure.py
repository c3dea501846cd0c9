"""Synthetic unseen patches: they give the unseen output its meaning.

A network that never met "neither background nor a seen object" cannot recognise it. So patches of
many shapes and fills are pasted into the training crops and labelled unseen (outlier exposure:
Hendrycks, Mazeika & Dietterich 2019, here per pixel).

The image changes only where the target becomes unseen and in the ring around it. The loss ignores
ring pixels except those of seen objects, which keep their class; pixels that it ignored before stay
ignored. A patch that hardly changes the image is not pasted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from unseen.arrays.masks import BACKGROUND

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Target = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.int64]

#: Target of pixels that the loss leaves out (torch's default `ignore_index`).
IGNORE = -100
MIN_RADIUS = 5.0
#: Least mean change of a patch's pixels, in standard deviations.
SMALLEST_CHANGE = 0.12
_ATTEMPTS = 4
#: Shifts and noise, in standard deviations of the images.
_AMPLITUDE = (0.25, 2.5)


class Donors(Protocol):
    """Images to cut from."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """(h, w) of each."""

    def image(self, i: int, rows: IntArray, columns: IntArray) -> Array:
        """These rows and columns of one, (h, w, C) float32, about in [0, 1]."""


@dataclass(frozen=True)
class PatchSource:
    """Makes patches and pastes them."""

    donors: Donors  #: cut-outs come from them
    std: Array  #: (C,) standard deviation of their pixels
    unseen: int  #: the target value of unseen pixels
    ring: int  #: width of the ignored ring around a patch, px

    def paste(
        self, image: Array, target: Target, *, max_radius: float, rng: np.random.Generator
    ) -> None:
        """Paste one to three patches of up to `max_radius` px into a crop, in place.

        `image` is (h, w, C) float32, about in [0, 1]; `target` is (h, w) int64.
        """
        for _ in range(int(rng.integers(1, 4))):
            for _ in range(_ATTEMPTS):
                if self._paste_one(image, target, max_radius, rng):
                    break

    def _paste_one(
        self, image: Array, target: Target, max_radius: float, rng: np.random.Generator
    ) -> bool:
        radius = _log_uniform(rng, MIN_RADIUS, max(max_radius, MIN_RADIUS + 1))
        shape = _SHAPES[int(rng.integers(len(_SHAPES)))]
        around = (6 + self.ring,) * 4
        drawn = shape(radius, rng).astype(np.float32)
        stencil: Array = np.asarray(
            cv2.copyMakeBorder(drawn, *around, cv2.BORDER_CONSTANT), np.float32
        )
        soft = _smoothed(stencil, rng.uniform(0.4, 1.5), truncate=4.0)
        # The stencil's centre lies anywhere within the crop.
        places = [
            int(rng.integers(side)) - length // 2
            for side, length in zip(target.shape, stencil.shape, strict=True)
        ]
        window, cut = [], []
        for first, length, side in zip(places, stencil.shape, target.shape, strict=True):
            start, stop = max(0, first), min(side, first + length)
            window.append(slice(start, stop))
            cut.append(slice(start - first, stop - first))
        soft = soft[tuple(cut)]
        labels, before = target[tuple(window)], image[tuple(window)]
        patch = (soft >= 0.5) & (labels != IGNORE)
        if patch.sum() < MIN_RADIUS:
            return False
        square = np.ones((2 * self.ring + 1,) * 2, np.uint8)
        reach = cv2.dilate(patch.astype(np.uint8), square).astype(bool)
        opacity = (rng.uniform(0.5, 1.0) * soft * reach)[:, :, None]
        # The fill is clipped, not the result: evened images may leave [0, 1] elsewhere.
        after = before + opacity * (self._fill(before, rng).clip(0, 1) - before)
        change = np.abs(after - before)[patch] / self.std
        if change.mean() < SMALLEST_CHANGE:
            return False
        before[...] = after
        labels[reach & (labels == BACKGROUND)] = IGNORE
        labels[patch] = self.unseen
        return True

    def _fill(self, before: Array, rng: np.random.Generator) -> Array:
        """What the patch shows, (h, w, C)."""
        kind = rng.uniform()
        if kind < 1 / 3:
            return self._shifted(before, rng)
        if kind < 2 / 3:
            return self._cut_out(before.shape, rng)
        if kind < 5 / 6:
            return self._noise(before, rng)
        if rng.uniform() < 0.5:
            return _smoothed(before, _log_uniform(rng, 1.0, 4.0))
        axis = int(rng.integers(2))
        return np.asarray(np.take(before, rng.permutation(before.shape[axis]), axis=axis))

    def _shifted(self, before: Array, rng: np.random.Generator) -> Array:
        """Brighter or darker, half the time by channel."""
        amplitude = _log_uniform(rng, *_AMPLITUDE) * (1 if rng.uniform() < 0.5 else -1)
        shift = self.std * np.float32(amplitude)
        if len(self.std) > 1 and rng.uniform() < 0.5:
            shift = shift * rng.uniform(-1, 1, len(self.std)).astype(np.float32)
        return np.asarray(before + shift)

    def _cut_out(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """A piece of a labelled image: rescaled, mirrored, sometimes negated or recoloured."""
        donor = int(rng.integers(len(self.donors.sizes)))
        step = 1 / _log_uniform(rng, 0.4, 2.5)
        axes = []
        for size, limit in zip(shape[:2], self.donors.sizes[donor], strict=True):
            start = rng.uniform(0, max(limit - size * step, 1e-3))
            positions = (start + np.arange(size) * step).astype(np.int64) % limit
            axes.append(positions[:: 1 if rng.uniform() < 0.5 else -1])
        piece = self.donors.image(donor, *axes)
        if rng.uniform() < 0.4:
            piece = piece.min() + piece.max() - piece
        if shape[2] == 3 and rng.uniform() < 0.5:
            piece = piece[:, :, rng.permutation(3)]
        return np.asarray(piece)

    def _noise(self, before: Array, rng: np.random.Generator) -> Array:
        """Texture of another grain around the local mean."""
        grain = rng.standard_normal(before.shape, dtype=np.float32)
        grain = _smoothed(grain, _log_uniform(rng, 0.5, 8.0))
        grain /= max(float(grain.std()), 1e-6)
        if before.shape[2] > 1 and rng.uniform() < 0.5:
            grain = np.repeat(grain[:, :, :1], before.shape[2], axis=2)
        amplitude = np.float32(_log_uniform(rng, *_AMPLITUDE))
        return np.asarray(before.mean(axis=(0, 1)) + amplitude * self.std * grain)


def _disc(radius: float, rng: np.random.Generator) -> Mask:
    """A disc with a wavy outline."""
    y, x = _grid(1.5 * radius)
    angle = np.arctan2(y, x)
    outline = np.ones_like(angle)
    for wave in range(2, 7):
        swing = rng.uniform(0, 0.35) / (wave - 1)
        outline += swing * np.cos(wave * angle + rng.uniform(0, 2 * math.pi))
    return np.asarray(np.hypot(x, y) <= radius * outline)


def _ellipse(radius: float, rng: np.random.Generator) -> Mask:
    """An ellipse; a quarter of them rings."""
    along, across = _rotated(_grid(radius), rng.uniform(0, math.pi))
    distance = np.hypot(along, across / rng.uniform(0.35, 1.0)) / radius
    inside = distance <= 1
    if rng.uniform() < 0.25:
        inside &= distance >= rng.uniform(0.4, 0.75)
    return np.asarray(inside)


def _rectangle(radius: float, rng: np.random.Generator) -> Mask:
    """A rectangle; half of them rotated."""
    angle = rng.uniform(0, math.pi) if rng.uniform() < 0.5 else rng.choice([0, math.pi / 2])
    along, across = _rotated(_grid(1.2 * radius), float(angle))
    sides = radius * rng.uniform(0.75, 1.0), radius * rng.uniform(0.2, 0.85)
    return np.asarray((np.abs(along) <= sides[0]) & (np.abs(across) <= sides[1]))


def _curve(radius: float, rng: np.random.Generator) -> Mask:
    """A quadratic Bezier curve, 3 to 5 px wide."""
    radius = max(radius, 2 * MIN_RADIUS)
    half = math.ceil(radius) + 3
    away = np.ones((2 * half + 1, 2 * half + 1), dtype=np.uint8)
    angle = rng.uniform(0, 2 * math.pi)
    end = np.asarray([math.cos(angle), math.sin(angle)]) * radius
    bend = rng.uniform(-0.6, 0.6, 2) * radius
    t = np.linspace(0, 1, 4 * half)[:, None]
    points = (1 - t) ** 2 * -end + 2 * t * (1 - t) * bend + t**2 * end
    rows, columns = np.rint(points).astype(np.int64).T + half
    away[rows, columns] = 0
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= rng.uniform(1.5, 2.5))


_SHAPES = (_disc, _ellipse, _rectangle, _curve)


def _grid(radius: float) -> Array:
    """Coordinates y and x, px from the middle, (2, side, side)."""
    half = math.ceil(radius)
    return np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)


def _rotated(grid: Array, angle: float) -> tuple[Array, Array]:
    y, x = grid
    sine, cosine = np.float32(math.sin(angle)), np.float32(math.cos(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def _smoothed(image: Array, sigma: float, truncate: float = 2.5) -> Array:
    side = 2 * int(truncate * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(
        image.shape
    )  # OpenCV leaves out a single channel


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))
