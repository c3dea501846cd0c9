"""The marks on a wafer: particles, rings, scratches and stains.

Each function draws one mark of its kind onto a `Scene`. Profiles end at a definite edge, so that
the box of a mark is where a person would draw it, not where a Gaussian fades out.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from unseen.benchmark.synthetic.scene import Scene

_TRIES = 20


def ramp(distance: np.ndarray, softness: float) -> np.ndarray:
    """0 outside (distance <= 0), 1 from `softness` px inside on, smooth between."""
    t = np.clip(distance / softness, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def outline(rng: np.random.Generator, angle: np.ndarray, roughness: float) -> np.ndarray:
    """Relative radius of a closed random outline at each angle, about 1."""
    radius = np.ones_like(angle)
    for harmonic in range(2, 7):
        amplitude = roughness * rng.standard_normal() / harmonic
        radius += amplitude * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.clip(radius, 0.4, 1.8))


def place(
    scene: Scene, rng: np.random.Generator, half: float, margin: float
) -> tuple[float, float] | None:
    """A centre (x, y) in px whose box of half side `half` is free, or None in a crowded picture."""
    height, width = scene.shape
    for _ in range(_TRIES):
        x, y = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
        if scene.is_free((x - half, y - half, x + half, y + half)):
            return float(x), float(y)
    return None


def window(x: float, y: float, half: float) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Offsets from (x, y) at the pixel centres of a window, and its top and left in px."""
    reach = int(np.ceil(half)) + 2
    left, top = int(np.floor(x)) - reach, int(np.floor(y)) - reach
    dx = np.arange(left, left + 2 * reach + 1)[None, :] + 0.5 - x
    dy = np.arange(top, top + 2 * reach + 1)[:, None] + 0.5 - y
    return dx, dy, top, left


def particle(
    scene: Scene,
    rng: np.random.Generator,
    *,
    contrast: tuple[float, float] = (32.0, 85.0),
    label: str = "particle",
) -> None:
    """A compact bright or dark dot of about 4-12 px; the larger ones have a glint or a core."""
    radius = float(np.exp(rng.uniform(np.log(2.1), np.log(5.6))))
    where = place(scene, rng, radius, margin=radius + 1)
    if where is None:
        return
    dx, dy, top, left = window(*where, half=1.4 * radius)
    stretch = float(np.exp(rng.uniform(-0.18, 0.18)))
    turn = rng.uniform(0, np.pi)
    u = (dx * np.cos(turn) + dy * np.sin(turn)) * stretch
    v = (-dx * np.sin(turn) + dy * np.cos(turn)) / stretch
    edge = radius * outline(rng, np.arctan2(v, u), 0.12)
    inside = edge - np.hypot(u, v)
    amplitude = rng.uniform(*contrast) * (1 if rng.random() < 0.45 else -1)
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
    where = place(scene, rng, radius, margin=radius + 1)
    if where is None:
        return
    dx, dy, top, left = window(*where, half=1.3 * radius)
    edge = radius * outline(rng, np.arctan2(dy, dx), 0.06)
    distance = np.hypot(dx, dy)
    wall = rng.uniform(2.4, 3.4)
    body = ramp(edge - distance, 1.4) * ramp(distance - (edge - wall), 1.4)
    amplitude = rng.uniform(30, 65) * (1 if rng.random() < 0.5 else -1)
    scene.add("particle", amplitude * body, top, left)


def scratch(
    scene: Scene, rng: np.random.Generator, *, contrast: tuple[float, float] = (32.0, 70.0)
) -> None:
    """A thin straight or bent line, 30-110 px long, of uneven depth."""
    height, width = scene.shape
    side = min(height, width)
    length = side * float(np.exp(rng.uniform(np.log(0.12), np.log(0.42))))
    angle = rng.uniform(0, 2 * np.pi)
    bend = float(np.clip(rng.normal(0, 0.14), -0.3, 0.3)) * length if rng.random() < 0.7 else 0.0
    centre = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height])
    along = np.array([np.cos(angle), np.sin(angle)])
    normal = np.array([-along[1], along[0]])
    # A quadratic Bezier curve, sampled far below a pixel.
    t = np.linspace(0, 1, int(4 * length) + 2)
    shape = np.stack([(t - 0.5) * length, 2 * t * (1 - t) * bend])
    curve = centre[:, None] + along[:, None] * shape[0] + normal[:, None] * shape[1]  # (2, T)
    depth = _uneven(rng, t.size, knots=max(4, int(length / 14)))
    depth *= np.clip(np.minimum(t, 1 - t) * length / 9.0, 0.25, 1.0)  # shallow ends

    half_width = rng.uniform(0.7, 1.5)
    left, top = np.floor(curve.min(axis=1)).astype(int) - 4
    right, bottom = np.ceil(curve.max(axis=1)).astype(int) + 4
    near = np.zeros((bottom - top, right - left), dtype=bool)
    column = np.rint(curve[0] - left).astype(int)
    row = np.rint(curve[1] - top).astype(int)
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            near[row + dy, column + dx] = True
    ys, xs = np.nonzero(near)
    distance, nearest = cKDTree(curve.T).query(np.stack([xs + left + 0.5, ys + top + 0.5], axis=1))
    change = np.zeros(near.shape)
    amplitude = rng.uniform(*contrast) * (1 if rng.random() < 0.6 else -1)
    change[ys, xs] = amplitude * depth[nearest] * ramp(half_width + 0.6 - distance, 1.3)
    if rng.random() < 0.4:  # the burr that a hard tip raises beside the groove
        side_of = np.sign(_side(curve, nearest, xs + left + 0.5, ys + top + 0.5))
        burr = ramp(1.3 - np.abs(distance - half_width - 1.0), 1.3) * (side_of > 0)
        change[ys, xs] -= 0.45 * amplitude * depth[nearest] * burr
    scene.add("scratch", change, int(top), int(left))


def stain(
    scene: Scene, rng: np.random.Generator, *, contrast: tuple[float, float] = (15.0, 26.0)
) -> None:
    """A faint blob of 24-70 px with an irregular outline; some have the rim of a dried drop."""
    size = float(rng.uniform(24, 70))
    elongation = float(np.exp(rng.uniform(0, 0.45)))
    turn = rng.uniform(0, np.pi)
    where = place(scene, rng, size / 2, margin=0.55 * size)
    if where is None:
        return
    dx, dy, top, left = window(*where, half=0.9 * size)
    u = dx * np.cos(turn) + dy * np.sin(turn)
    v = (-dx * np.sin(turn) + dy * np.cos(turn)) * elongation
    edge_shape = outline(rng, np.arctan2(v, u), 0.28)
    softness = rng.uniform(2.5, 6.0)
    # The size is that of the longer side of the box: measure the outline, then scale it.
    reach = _extent(edge_shape, u, v, elongation, turn)
    edge = size / reach * edge_shape
    inside = edge - np.hypot(u, v)
    body = ramp(inside, softness)
    if rng.random() < 0.45:
        rim = ramp(inside, 2.5) * ramp(5.0 - inside, 4.0)
        body = 0.75 * body + 0.55 * rim
    amplitude = rng.uniform(*contrast) * (1 if rng.random() < 0.35 else -1)
    scene.add("stain", amplitude * body, top, left)


def _uneven(rng: np.random.Generator, count: int, knots: int) -> np.ndarray:
    """(count,) depth along a scratch in [0.3, 1], changing smoothly between random knots."""
    values = rng.uniform(0.3, 1.0, knots)
    depth: np.ndarray = np.interp(np.linspace(0, knots - 1, count), np.arange(knots), values)
    return depth


def _side(curve: np.ndarray, nearest: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positive on one side of the curve, negative on the other."""
    tangent = np.gradient(curve, axis=1)[:, nearest]
    side: np.ndarray = tangent[0] * (y - curve[1, nearest]) - tangent[1] * (x - curve[0, nearest])
    return side


def _extent(
    outline: np.ndarray, u: np.ndarray, v: np.ndarray, elongation: float, turn: float
) -> float:
    """Longer side of the box around the outline of radius 1, in units of that radius."""
    angle = np.arctan2(v, u)
    a = outline * np.cos(angle)
    b = outline * np.sin(angle) / elongation
    x = a * np.cos(turn) - b * np.sin(turn)
    y = a * np.sin(turn) + b * np.cos(turn)
    return float(max(np.ptp(x), np.ptp(y)))
