"""More kinds of unseen patches: known objects with a part missing, and changes of the whole picture.

`outlier_exposure` pastes compact patches anywhere. Two kinds of novelty are not among them: objects
that resemble the known ones but for a detail, and what has no border inside a crop - another
texture, or a mark from edge to edge. Both promise what the others do: the loss ignores what it
ignored before, and what hardly changes the picture is not drawn at all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from unseen.arrays.masks import BACKGROUND
from unseen.unet.outlier_exposure import IGNORE, SMALLEST_CHANGE, PatchSource

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Target = npt.NDArray[np.int64]

#: Share of the patches that are bites, where there is an object to bite; and that are sweeps.
BITE_SHARE = 0.3
SWEEP_SHARE = 0.12
#: Radius of a bite, px: half a small object, and a part of a large one.
BITE_RADIUS = (2.5, 9.0)
#: A bitten pixel differs from before by this much, and all of them by so much on average, in
#: standard deviations: less would call the noise inside of an object unseen.
_BITTEN = (0.25, 0.5)
#: Share of sweeps that change an area, not a line.
_AREAS = 0.6


class NearMissSource(PatchSource):
    """Pastes bites and sweeps among the compact patches."""

    def _paste_one(
        self, image: Array, target: Target, max_radius: float, rng: np.random.Generator
    ) -> bool:
        kind = rng.uniform()
        if kind < BITE_SHARE and ((target > BACKGROUND) & (target != self.unseen)).any():
            return bite(image, target, std=self.std, unseen=self.unseen, rng=rng)
        if BITE_SHARE <= kind < BITE_SHARE + SWEEP_SHARE:
            return sweep(image, target, std=self.std, unseen=self.unseen, ring=self.ring, rng=rng)
        return super()._paste_one(image, target, max_radius, rng)


def bite(
    image: Array, target: Target, *, std: Array, unseen: int, rng: np.random.Generator
) -> bool:
    """Take a part of a known object away, in place: a notch, a hole, or a piece that has moved.

    The bitten pixels become unseen. What is left of the object nearby is ignored by the loss: seen
    by itself it is no novelty, and as part of the whole it is none of the known class either.

    Args:
        image: (h, w, C) float32, about in [0, 1].
        target: (h, w) int64.
        std: (C,) standard deviation of the images' pixels.
        unseen: the target value of unseen pixels.
        rng: source of randomness.

    Returns:
        False, with nothing changed, where there is no known object, or the bite hardly shows.
    """
    is_object = (target > BACKGROUND) & (target != unseen)
    where = _on_an_object(image, target, is_object, rng)
    if where is None:
        return False
    soft, rows, columns = _bite_shape(where, target.shape, rng)
    labels, before = target[rows, columns], image[rows, columns]
    opacity = (np.float32(rng.uniform(0.8, 1.0)) * soft)[:, :, None]
    after = before + opacity * (_filling(image, target, rows, columns, rng) - before)
    change = (np.abs(after - before) / std).mean(axis=2)
    bitten = (soft >= 0.5) & (labels != IGNORE) & (change > _BITTEN[0])
    if bitten.sum() < 5 or change[bitten].mean() < _BITTEN[1]:
        return False
    image[rows, columns] = after
    around = ndimage.maximum_filter(soft > 0.1, 9)
    labels[around & (labels != unseen)] = IGNORE
    labels[bitten] = unseen
    return True


def sweep(
    image: Array, target: Target, *, std: Array, unseen: int, ring: int, rng: np.random.Generator
) -> bool:
    """Change the picture from edge to edge, in place: all of it, a half, or along a line.

    Areas get waves, another grain, or lose their sharpness; known objects in them are ignored by
    the loss. Lines, 2 to 12 px wide, are brighter or darker than what lies below.

    Args:
        image: (h, w, C) float32, about in [0, 1].
        target: (h, w) int64.
        std: (C,) standard deviation of the images' pixels.
        unseen: the target value of unseen pixels.
        ring: width of the ignored ring beside what changed, px; known objects keep their class there.
        rng: source of randomness.

    Returns:
        False, with nothing changed, where the change is too small.
    """
    height, width = target.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    away = (x - width / 2) * np.float32(np.cos(angle)) + (y - height / 2) * np.float32(
        np.sin(angle)
    )
    is_area = rng.uniform() < _AREAS
    if is_area:
        edge = -width if rng.uniform() < 2 / 3 else rng.uniform(-0.3, 0.3) * width
        soft = np.clip(away - edge + 0.5, 0, 1)
        fill = _other_texture(image, std, x, y, rng)
    else:
        half = _log_uniform(rng, 1.2, 6.0)
        soft = np.clip(half + 0.5 - np.abs(away - rng.uniform(-0.35, 0.35) * width), 0, 1)
        fill = image + np.float32(_log_uniform(rng, 0.4, 2.5) * rng.choice((-1, 1))) * std
    # Not the result is clipped but the fill: evened images may leave [0, 1] elsewhere.
    after = image + soft[:, :, None].astype(np.float32) * (fill.clip(0, 1) - image)
    changed = (soft > 0.5) & (target != IGNORE)
    if not changed.any() or (np.abs(after - image)[changed] / std).mean() < SMALLEST_CHANGE:
        return False
    image[...] = after
    is_object = (target > BACKGROUND) & (target != unseen)
    beside = (soft > 0) | ndimage.maximum_filter(soft > 0.5, 2 * ring + 1)
    target[beside & (target == BACKGROUND)] = IGNORE
    target[changed] = unseen
    if is_area:
        target[changed & is_object] = IGNORE
    return True


def _on_an_object(
    image: Array, target: Target, is_object: Mask, rng: np.random.Generator
) -> tuple[int, int] | None:
    """A pixel of an object: boxes hold background too, so what differs from it is likelier."""
    grey = image.mean(axis=2)
    is_background = target == BACKGROUND
    level = np.median(grey[is_background] if is_background.any() else grey)
    weight = (np.abs(grey - level) * is_object).astype(np.float64).ravel()
    total = weight.sum()
    if total <= 0:
        return None
    row, column = divmod(int(rng.choice(weight.size, p=weight / total)), image.shape[1])
    return row, column


def _bite_shape(
    where: tuple[int, int], shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[Array, slice, slice]:
    """A soft disc, ellipse or rectangle around a pixel: opacity, and its rows and columns."""
    radius = _log_uniform(rng, *BITE_RADIUS)
    reach = int(np.ceil(radius)) + 4
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    v = v / rng.uniform(0.4, 1.0)
    if rng.uniform() < 0.5:
        inside = np.hypot(u, v) <= radius
    else:
        inside = np.maximum(np.abs(u), np.abs(v)) <= 0.85 * radius
    soft = ndimage.gaussian_filter(inside.astype(np.float32), rng.uniform(0.4, 0.9))
    top, left = where[0] - reach, where[1] - reach
    rows = slice(max(0, top), min(shape[0], top + len(soft)))
    columns = slice(max(0, left), min(shape[1], left + len(soft)))
    cut = soft[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return np.asarray(cut), rows, columns


def _filling(
    image: Array, target: Target, rows: slice, columns: slice, rng: np.random.Generator
) -> Array:
    """What shows where the bite was: mostly background of this picture, else what lies close by."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    last = target.shape[0] - height, target.shape[1] - width
    if rng.uniform() < 0.7:
        tries = rng.integers((0, 0), (last[0] + 1, last[1] + 1), (6, 2))
        free = [(target[r : r + height, c : c + width] == BACKGROUND).mean() for r, c in tries]
        row, column = tries[int(np.argmax(free))]
    else:
        step = rng.integers(-9, 10, 2)
        row = int(np.clip(rows.start + step[0], 0, last[0]))
        column = int(np.clip(columns.start + step[1], 0, last[1]))
    return np.array(image[row : row + height, column : column + width])


def _other_texture(image: Array, std: Array, x: Array, y: Array, rng: np.random.Generator) -> Array:
    kind = rng.uniform()
    amplitude = np.float32(_log_uniform(rng, 0.35, 1.5)) * std
    if kind < 0.5:
        angle, period = rng.uniform(0, np.pi), _log_uniform(rng, 5.0, 30.0)
        along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
        wave = np.sin(2 * np.pi * along / period + rng.uniform(0, 2 * np.pi))
        return np.asarray(image + 1.2 * amplitude * wave[:, :, None].astype(np.float32))
    if kind < 0.8:
        sigma = _log_uniform(rng, 0.7, 6.0)
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        grain = ndimage.gaussian_filter(grain, (sigma, sigma, 0), truncate=2.5)
        return np.asarray(image + amplitude * grain / max(float(grain.std()), 1e-6))
    sigma = _log_uniform(rng, 0.8, 2.5)
    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=2.5))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
