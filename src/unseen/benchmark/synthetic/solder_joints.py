"""A board under inspection: many alike joints, and rarely one with a part missing."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import ramp, window
from unseen.benchmark.synthetic.scene import Scene, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field

#: Classes, the common ones first.
CLASSES = ("ball", "pad", "chipped", "void")
#: Classes that the first images of a pool do not show.
RARE_CLASSES = ("chipped", "void")

#: Distance of neighbouring joints, px.
PITCH = 30
#: Share of the images that show bare board.
EMPTY_SHARE = 0.06


def solder_joints(
    rng: np.random.Generator, *, size: int, drift: float, rare: frozenset[str]
) -> SyntheticImage:
    """One image.

    Args:
        rng: source of randomness.
        size: side, px.
        drift: where the process stands, in [0, 1] along the pool: the joints get a little larger
            and the board darker.
        rare: rare classes this image shows.

    Returns:
        20 to 60 balls and pads on 256 px, or none in `EMPTY_SHARE` of the images; of each rare
        class asked for one or two joints among them.
    """
    scene = Scene(_board(rng, size, drift))
    is_empty = not rare and rng.random() < EMPTY_SHARE
    sites = rng.permutation(_sites(rng, size))
    count = 0 if is_empty else round(rng.uniform(20, 60) * (size / 256) ** 2)
    wanted = [label for label in sorted(rare) for _ in range(1 + int(rng.random() < 0.4))]
    pads = rng.uniform(0.15, 0.5)  # their share differs from board to board
    for number, (x, y) in enumerate(sites[: max(count, len(wanted))]):
        label = wanted[number] if number < len(wanted) else _common(rng, pads)
        _joint(scene, rng, label, float(x), float(y), radius=rng.uniform(6.5, 9.5) + drift)
    return scene.render()


def _common(rng: np.random.Generator, pads: float) -> str:
    """A pad with probability `pads`, else a ball."""
    return "pad" if rng.random() < pads else "ball"


def _sites(rng: np.random.Generator, size: int) -> np.ndarray:
    """(N, 2) centres (x, y), px: a grid at a random phase, each site a little off."""
    shift = rng.uniform(0, 4, 2)
    line = np.arange(0.5 * PITCH, size - 0.5 * PITCH, PITCH)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return np.asarray(grid + shift + rng.uniform(-2, 2, grid.shape))


def _joint(
    scene: Scene, rng: np.random.Generator, label: str, x: float, y: float, *, radius: float
) -> None:
    """Draw one joint: a ball, a pad, or a ball that is chipped or has a void."""
    dx, dy, top, left = window(x, y, half=1.2 * radius)
    turn = rng.uniform(0, 2 * np.pi)
    u, v = dx * np.cos(turn) + dy * np.sin(turn), -dx * np.sin(turn) + dy * np.cos(turn)
    distance = np.hypot(u, v)
    if label == "pad":
        inside = 0.82 * radius - np.maximum(np.abs(dx), np.abs(dy))
    else:
        inside = radius - distance
    if label == "chipped":  # cut off straight, so that a quarter to a half of the radius is missing
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
    board: np.ndarray = level * illumination(rng, size, 0.2) + field
    return board
