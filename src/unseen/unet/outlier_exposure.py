"""Synthetic unseen patches: what makes the unseen output mean something.

A network that never met "neither background nor a seen object" cannot recognise it. So patches of
many shapes and fills are pasted into the training crops and labelled unseen (outlier exposure:
Hendrycks, Mazeika & Dietterich 2019, here per pixel).

Promises: the image changes only where the target becomes unseen and in the ring around it; ring
pixels are ignored by the loss, except those of seen objects, which keep their class; pixels the
loss ignored before stay ignored; a patch that hardly changes the image is not pasted at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.arrays.masks import BACKGROUND

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Target = npt.NDArray[np.int64]

#: Target of pixels that the loss leaves out (torch's default `ignore_index`).
IGNORE = -100
MIN_RADIUS = 5.0
#: A patch must change its pixels by this much on average, in standard deviations.
SMALLEST_CHANGE = 0.12
_ATTEMPTS = 4
#: Shifts and noise, in standard deviations of the images.
_AMPLITUDE = (0.25, 2.5)


@dataclass(frozen=True)
class PatchSource:
    """What patches are made of.

    Attributes:
        images: (h, w, C) float32, about in [0, 1], the labelled images; cut-outs come from them.
        std: (C,) standard deviation of their pixels.
        unseen: the target value of unseen pixels.
        ring: width of the ignored ring around a patch, px.
    """

    images: Sequence[Array]
    std: Array
    unseen: int
    ring: int

    def paste(
        self, image: Array, target: Target, *, max_radius: float, rng: np.random.Generator
    ) -> None:
        """Paste one to three patches into a crop, in place.

        Args:
            image: (h, w, C) float32, about in [0, 1].
            target: (h, w) int64.
            max_radius: of a patch, px.
            rng: source of randomness.
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
        stencil = _padded(shape(radius, rng), 6 + self.ring)
        soft = ndimage.gaussian_filter(stencil.astype(np.float32), rng.uniform(0.4, 1.5))
        # Where the stencil lies in the crop; its centre is anywhere within.
        height, width = target.shape
        top = int(rng.integers(height)) - stencil.shape[0] // 2
        left = int(rng.integers(width)) - stencil.shape[1] // 2
        rows = slice(max(0, top), min(height, top + stencil.shape[0]))
        columns = slice(max(0, left), min(width, left + stencil.shape[1]))
        cut = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        soft = soft[cut]
        labels = target[rows, columns]
        patch = (soft >= 0.5) & (labels != IGNORE)
        if patch.sum() < MIN_RADIUS:
            return False
        reach = ndimage.maximum_filter(patch, 2 * self.ring + 1) if self.ring else patch
        before = image[rows, columns]
        opacity = (rng.uniform(0.5, 1.0) * soft * reach)[:, :, None]
        # Not the result is clipped but the fill: evened images may leave [0, 1] elsewhere.
        after = before + opacity * (self._fill(before, rng).clip(0, 1) - before)
        change = np.abs(after - before)[patch] / self.std
        if change.mean() < SMALLEST_CHANGE:
            return False
        image[rows, columns] = after
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
        return _blurred(before, rng) if rng.uniform() < 0.5 else _shuffled(before, rng)

    def _shifted(self, before: Array, rng: np.random.Generator) -> Array:
        """Brighter or darker, for colour images half the time by channel."""
        shift = self.std * np.float32(_signed_amplitude(rng))
        if len(self.std) > 1 and rng.uniform() < 0.5:
            shift = shift * rng.uniform(-1, 1, len(self.std)).astype(np.float32)
        return np.asarray(before + shift)

    def _cut_out(self, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        """A piece of a labelled image: rescaled, mirrored, sometimes negated."""
        donor = self.images[int(rng.integers(len(self.images)))]
        step = 1 / _log_uniform(rng, 0.4, 2.5)
        axes = []
        for size, limit in zip(shape[:2], donor.shape[:2], strict=True):
            start = rng.uniform(0, max(limit - size * step, 1e-3))
            positions = (start + np.arange(size) * step).astype(np.int64) % limit
            axes.append(positions[:: 1 if rng.uniform() < 0.5 else -1])
        piece = donor[axes[0][:, None], axes[1]]
        if rng.uniform() < 0.4:
            piece = piece.min() + piece.max() - piece
        if shape[2] == 3 and rng.uniform() < 0.5:
            piece = piece[:, :, rng.permutation(3)]
        return np.asarray(piece)

    def _noise(self, before: Array, rng: np.random.Generator) -> Array:
        """Texture of another grain around the local mean."""
        grain = rng.standard_normal(before.shape, dtype=np.float32)
        sigma = _log_uniform(rng, 0.5, 8.0)
        grain = ndimage.gaussian_filter(grain, (sigma, sigma, 0), truncate=2.5)
        grain /= max(float(grain.std()), 1e-6)
        if before.shape[2] > 1 and rng.uniform() < 0.5:
            grain = np.repeat(grain[:, :, :1], before.shape[2], axis=2)
        amplitude = np.float32(_log_uniform(rng, *_AMPLITUDE))
        return np.asarray(before.mean(axis=(0, 1)) + amplitude * self.std * grain)


def _blurred(before: Array, rng: np.random.Generator) -> Array:
    sigma = _log_uniform(rng, 1.0, 4.0)
    return np.asarray(ndimage.gaussian_filter(before, (sigma, sigma, 0), truncate=2.5))


def _shuffled(before: Array, rng: np.random.Generator) -> Array:
    axis = int(rng.integers(2))
    return np.asarray(np.take(before, rng.permutation(before.shape[axis]), axis=axis))


def _disc(radius: float, rng: np.random.Generator) -> Mask:
    """A disc whose outline wavers."""
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
    """A bent line (a quadratic Bezier curve), 3 to 5 px wide."""
    radius = max(radius, 2 * MIN_RADIUS)
    half = math.ceil(radius) + 3
    away = np.ones((2 * half + 1, 2 * half + 1), dtype=bool)
    angle = rng.uniform(0, 2 * math.pi)
    end = np.asarray([math.cos(angle), math.sin(angle)]) * radius
    bend = rng.uniform(-0.6, 0.6, 2) * radius
    t = np.linspace(0, 1, 4 * half)[:, None]
    points = (1 - t) ** 2 * -end + 2 * t * (1 - t) * bend + t**2 * end
    rows, columns = np.rint(points).astype(np.int64).T + half
    away[rows, columns] = False
    return np.asarray(ndimage.distance_transform_edt(away) <= rng.uniform(1.5, 2.5))


_SHAPES: tuple[Callable[[float, np.random.Generator], Mask], ...] = (
    _disc,
    _ellipse,
    _rectangle,
    _curve,
)


def _grid(radius: float) -> tuple[Array, Array]:
    half = math.ceil(radius)
    axis = np.arange(-half, half + 1, dtype=np.float32)
    return np.repeat(axis[:, None], len(axis), axis=1), np.repeat(axis[None], len(axis), axis=0)


def _rotated(grid: tuple[Array, Array], angle: float) -> tuple[Array, Array]:
    y, x = grid
    sine, cosine = np.float32(math.sin(angle)), np.float32(math.cos(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def _padded(stencil: Mask, border: int) -> Mask:
    return np.pad(stencil, border)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _signed_amplitude(rng: np.random.Generator) -> float:
    return _log_uniform(rng, *_AMPLITUDE) * (1 if rng.uniform() < 0.5 else -1)
