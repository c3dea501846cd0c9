"""The marks on a wafer - particles, rings, scratches, stains - and the means to draw marks.

Each function draws one mark onto a `Scene`. Profiles end at a definite edge, so that the box of a mark
is where a person would draw it, not where a Gaussian fades out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from unseen.benchmark.synthetic.scene import Scene
from unseen.benchmark.synthetic.surface import turned

_TRIES = 20


def ramp(distance: np.ndarray, softness: float) -> np.ndarray:
    """0 outside (distance <= 0), 1 from `softness` px inside on, smooth in between."""
    t = np.clip(distance / softness, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def outline(rng: np.random.Generator, angle: np.ndarray, roughness: float) -> np.ndarray:
    """Relative radius, about 1, of a closed random outline at each angle."""
    radius = np.ones_like(angle)
    for harmonic in range(2, 7):
        amplitude = roughness * rng.standard_normal() / harmonic
        radius += amplitude * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(radius, 0.4, 1.8))


def amplitude_of(rng: np.random.Generator, contrast: tuple[float, float], bright: float) -> float:
    """A contrast in grey levels, positive with probability `bright`, else negative."""
    return float(rng.uniform(*contrast) * (1 if rng.random() < bright else -1))


def one_or_two(rng: np.random.Generator, share: float) -> range:
    """Two marks with probability `share`, else one."""
    return range(1 + int(rng.random() < share))


class Window(NamedTuple):
    """Part of an image around a point: offsets from it at the pixel centres, and its corner in px."""

    dx: np.ndarray
    dy: np.ndarray
    top: int
    left: int

    @classmethod
    def around(cls, x: float, y: float, half: float) -> Window:
        """The window that reaches a little beyond `half` px from the point."""
        reach = int(np.ceil(half)) + 2
        left, top = int(np.floor(x)) - reach, int(np.floor(y)) - reach
        dx = np.arange(left, left + 2 * reach + 1)[None, :] + 0.5 - x
        dy = np.arange(top, top + 2 * reach + 1)[:, None] + 0.5 - y
        return cls(dx, dy, top, left)


def free_window(
    scene: Scene, rng: np.random.Generator, half: float, *, margin: float, reach: float
) -> Window | None:
    """The surroundings of a random place whose box of half side `half` is free.

    Places keep `margin` px from the border; the window reaches `reach` px. None if the image is
    crowded.
    """
    height, width = scene.shape
    for _ in range(_TRIES):
        x, y = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
        if scene.is_free((x - half, y - half, x + half, y + half)):
            return Window.around(float(x), float(y), reach)
    return None


def particle(
    scene: Scene,
    rng: np.random.Generator,
    *,
    contrast: tuple[float, float] = (32.0, 85.0),
    label: str = "particle",
) -> None:
    """A compact bright or dark dot of about 4-12 px; the larger ones have a glint or a core."""
    radius = float(np.exp(rng.uniform(np.log(2.1), np.log(5.6))))
    window = free_window(scene, rng, radius, margin=radius + 1, reach=1.4 * radius)
    if window is None:
        return
    dx, dy, top, left = window
    stretch = float(np.exp(rng.uniform(-0.18, 0.18)))
    u, v = turned(dx, dy, rng.uniform(0, np.pi))
    u, v = u * stretch, v / stretch
    inside = radius * outline(rng, np.arctan2(v, u), 0.12) - np.hypot(u, v)
    amplitude = amplitude_of(rng, contrast, bright=0.45)
    body = ramp(inside, 1.8)
    if radius > 3.2:
        # Light from one side: a glint on a dark particle, a shadow on a bright one.
        gx, gy = rng.uniform(-0.4, 0.4, 2) * radius
        glint = ramp(0.55 * radius - np.hypot(dx - gx, dy - gy), 2.0)
        body = body * (1.0 - rng.uniform(0.2, 0.9) * glint)
    scene.add(label, amplitude * body, top, left)


def ring_particle(scene: Scene, rng: np.random.Generator) -> None:
    """A droplet residue: a ring of about 9-18 px whose middle looks like the surface."""
    radius = float(rng.uniform(4.5, 9.0))
    window = free_window(scene, rng, radius, margin=radius + 1, reach=1.3 * radius)
    if window is None:
        return
    dx, dy, top, left = window
    edge = radius * outline(rng, np.arctan2(dy, dx), 0.06)
    distance = np.hypot(dx, dy)
    wall = rng.uniform(2.4, 3.4)
    body = ramp(edge - distance, 1.4) * ramp(distance - (edge - wall), 1.4)
    scene.add("particle", amplitude_of(rng, (30, 65), bright=0.5) * body, top, left)


def scratch(
    scene: Scene, rng: np.random.Generator, *, contrast: tuple[float, float] = (32.0, 70.0)
) -> None:
    """A thin straight or bent line, 30-110 px long, of uneven depth."""
    height, width = scene.shape
    length = min(height, width) * float(np.exp(rng.uniform(np.log(0.12), np.log(0.42))))
    angle = rng.uniform(0, 2 * np.pi)
    bend = float(np.clip(rng.normal(0, 0.14), -0.3, 0.3)) * length if rng.random() < 0.7 else 0.0
    centre = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height])
    along = np.array([np.cos(angle), np.sin(angle)])
    normal = np.array([-along[1], along[0]])
    # A quadratic Bezier curve, sampled far below a pixel.
    t = np.linspace(0, 1, int(4 * length) + 2)
    shape = np.stack([(t - 0.5) * length, 2 * t * (1 - t) * bend])
    curve = centre[:, None] + along[:, None] * shape[0] + normal[:, None] * shape[1]  # (2, T)
    # The depth changes smoothly between random knots; the ends are shallow.
    knots = max(4, int(length / 14))
    depth = np.interp(
        np.linspace(0, knots - 1, t.size), np.arange(knots), rng.uniform(0.3, 1.0, knots)
    )
    depth *= np.clip(np.minimum(t, 1 - t) * length / 9.0, 0.25, 1.0)

    half_width = rng.uniform(0.7, 1.5)
    left, top = np.floor(curve.min(axis=1)).astype(int) - 4
    right, bottom = np.ceil(curve.max(axis=1)).astype(int) + 4
    near = np.zeros((bottom - top, right - left), dtype=bool)
    near[np.rint(curve[1] - top).astype(int), np.rint(curve[0] - left).astype(int)] = True
    ys, xs = np.nonzero(binary_dilation(near, np.ones((7, 7))))
    x, y = xs + left + 0.5, ys + top + 0.5
    distance, nearest = cKDTree(curve.T).query(np.stack([x, y], axis=1))
    change = np.zeros(near.shape)
    amplitude = amplitude_of(rng, contrast, bright=0.6)
    change[ys, xs] = amplitude * depth[nearest] * ramp(half_width + 0.6 - distance, 1.3)
    if rng.random() < 0.4:  # the burr that a hard tip raises on one side of the groove
        tangent = np.gradient(curve, axis=1)[:, nearest]
        side = tangent[0] * (y - curve[1, nearest]) - tangent[1] * (x - curve[0, nearest])
        burr = ramp(1.3 - np.abs(distance - half_width - 1.0), 1.3) * (np.sign(side) > 0)
        change[ys, xs] -= 0.45 * amplitude * depth[nearest] * burr
    scene.add("scratch", change, int(top), int(left))


def stain(
    scene: Scene, rng: np.random.Generator, *, contrast: tuple[float, float] = (15.0, 26.0)
) -> None:
    """A faint blob of 24-70 px with an irregular outline; some have the rim of a dried drop."""
    size = float(rng.uniform(24, 70))
    elongation = float(np.exp(rng.uniform(0, 0.45)))
    turn = rng.uniform(0, np.pi)
    window = free_window(scene, rng, size / 2, margin=0.55 * size, reach=0.9 * size)
    if window is None:
        return
    u, v = turned(window.dx, window.dy, turn)
    v = v * elongation
    angle = np.arctan2(v, u)
    edge = outline(rng, angle, 0.28)
    softness = rng.uniform(2.5, 6.0)
    # `size` is the longer side of the box, so the outline is measured and then scaled.
    x, y = turned(edge * np.cos(angle), edge * np.sin(angle) / elongation, -turn)
    edge = size / float(max(np.ptp(x), np.ptp(y))) * edge
    inside = edge - np.hypot(u, v)
    body = ramp(inside, softness)
    if rng.random() < 0.45:
        rim = ramp(inside, 2.5) * ramp(5.0 - inside, 4.0)
        body = 0.75 * body + 0.55 * rim
    scene.add("stain", amplitude_of(rng, contrast, bright=0.35) * body, window.top, window.left)
