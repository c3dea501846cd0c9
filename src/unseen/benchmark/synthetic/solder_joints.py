"""A circuit board: many alike joints, and rarely one with a part missing."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import Window, one_or_two, ramp
from unseen.benchmark.synthetic.scene import Scene, Stage, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field, turned

#: Classes, the common ones first.
CLASSES = ("ball", "pad", "chipped", "void")
#: Classes that appear late in the pool.
RARE_CLASSES = ("chipped", "void")

#: Distance of neighbouring joints, px.
PITCH = 30
#: Share of the images that show bare board.
EMPTY_SHARE = 0.06


def draw(rng: np.random.Generator, stage: Stage) -> SyntheticImage:
    """20 to 60 joints on 256 px or none; on request one or two of each rare class among them."""
    size = stage.size
    scene = Scene(_board(rng, size, stage.drift))
    is_empty = not stage.rare and rng.random() < EMPTY_SHARE
    sites = rng.permutation(_sites(rng, size))
    count = 0 if is_empty else round(rng.uniform(20, 60) * (size / 256) ** 2)
    wanted = [label for label in sorted(stage.rare) for _ in one_or_two(rng, 0.4)]
    pads = rng.uniform(0.15, 0.5)  # their share differs from board to board
    for x, y in sites[: max(count, len(wanted))].tolist():
        label = wanted.pop(0) if wanted else "pad" if rng.random() < pads else "ball"
        _joint(scene, rng, label, x, y, radius=rng.uniform(6.5, 9.5) + stage.drift)
    return scene.render()


def _sites(rng: np.random.Generator, size: int) -> np.ndarray:
    """(N, 2) centres (x, y), px: a grid at a random phase, each site a little off."""
    shift = rng.uniform(0, 4, 2)
    line = np.arange(0.5 * PITCH, size - 0.5 * PITCH, PITCH)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return np.asarray(grid + shift + rng.uniform(-2, 2, grid.shape))


def _joint(
    scene: Scene, rng: np.random.Generator, label: str, x: float, y: float, *, radius: float
) -> None:
    """A ball, a pad, or a ball that is chipped or has a void."""
    dx, dy, top, left = Window.around(x, y, 1.2 * radius)
    u, v = turned(dx, dy, rng.uniform(0, 2 * np.pi))
    if label == "pad":
        inside = 0.82 * radius - np.maximum(np.abs(dx), np.abs(dy))
    else:
        inside = radius - np.hypot(u, v)
    if label == "chipped":  # cut off straight, a quarter to a half of the radius
        inside = np.minimum(inside, radius * rng.uniform(0.5, 0.75) - u)
    amplitude = rng.uniform(45, 75)
    body = amplitude * ramp(inside, 1.6)
    # The lamp is reflected: a spot near the middle of a ball, a bright frame on a pad.
    gx, gy = rng.uniform(-0.3, 0.3, 2) * radius
    if label == "pad":
        body = body * (1 - rng.uniform(0.1, 0.35) * ramp(inside - 2.5, 1.5))
    else:
        spot = ramp(rng.uniform(0.25, 0.4) * radius - np.hypot(dx - gx, dy - gy), 1.5)
        body = body * (1 + rng.uniform(0.2, 0.5) * spot)
    if label == "void":
        hole = ramp(rng.uniform(0.3, 0.42) * radius - np.hypot(u - 0.5 * radius, v), 1.2)
        body = body * (1 - rng.uniform(0.6, 0.85) * hole)
    scene.add(label, body, top, left)


def _board(rng: np.random.Generator, size: int, drift: float) -> np.ndarray:
    level = 92 - 8 * drift + rng.normal(0, 4)
    field = random_field(
        rng,
        size,
        [
            (3.6 + rng.normal(0, 0.2), 0.6, 0.6, 0.0),
            (3.0 + rng.uniform(-0.8, 0.8), 2.5, 2.5, 0.0),  # glass fibre
            (2.0, 26.0, 26.0, 0.0),
        ],
    )
    return np.asarray(level * illumination(rng, size, 0.2) + field)
