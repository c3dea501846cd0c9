"""The marks on a metal sheet: inclusions, chatter and streaks. They follow the sheet's direction."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import outline, place, ramp, window
from unseen.benchmark.synthetic.scene import Scene


def inclusion(scene: Scene, rng: np.random.Generator, *, along: float) -> None:
    """Slag rolled into the sheet: a dark or bright spindle, 14-40 px long and 3-6 px wide.

    Args:
        scene: what to draw on.
        rng: source of randomness.
        along: direction of rolling, radians.
    """
    half_length = float(rng.uniform(7, 20))
    half_width = float(rng.uniform(1.6, 3.0))
    where = place(scene, rng, half_length, margin=half_length)
    if where is None:
        return
    dx, dy, top, left = window(*where, half=1.2 * half_length)
    turn = along + rng.normal(0, 0.06)
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / half_length
    v = (-dx * np.sin(turn) + dy * np.cos(turn)) / half_width
    inside = outline(rng, np.arctan2(v, u), 0.1) - np.hypot(u, v)
    amplitude = rng.uniform(22, 55) * (1 if rng.random() < 0.3 else -1)
    scene.add("inclusion", amplitude * ramp(half_width * inside, 1.2), top, left)


def chatter(scene: Scene, rng: np.random.Generator, *, along: float) -> None:
    """The rolls vibrated: faint regular bands over the whole picture, across the rolling direction.

    Their distance is 8-18 px, their amplitude 4-7 grey levels, about that of the brushing.

    Args:
        scene: what to draw on.
        rng: source of randomness.
        along: direction of rolling, radians.
    """
    height, width = scene.shape
    y, x = np.mgrid[0:height, 0:width]
    turn = along + rng.normal(0, 0.08)
    phase = 2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / rng.uniform(8, 18)
    # The bands swell and fade a little, but nowhere go away.
    swell = 1.0 + 0.25 * np.sin(y / height * rng.uniform(3, 9) + rng.uniform(0, 2 * np.pi))
    amplitude = rng.uniform(4.0, 7.0)
    scene.add("chatter", amplitude * swell * np.sin(phase + rng.uniform(0, 2 * np.pi)))


def streak(scene: Scene, rng: np.random.Generator, *, along: float) -> None:
    """Something dragged along: a faint line 2-5 px wide from one side of the picture to the other.

    Args:
        scene: what to draw on.
        rng: source of randomness.
        along: direction of rolling, radians.
    """
    height, width = scene.shape
    y, x = np.mgrid[0:height, 0:width] + 0.5
    turn = along + rng.normal(0, 0.05)
    sway = rng.uniform(0, 2.0) * np.sin(x / width * rng.uniform(2, 7) + rng.uniform(0, 2 * np.pi))
    across = -(x - width / 2) * np.sin(turn) + (y - height / 2) * np.cos(turn)
    distance = np.abs(across - rng.uniform(-0.38, 0.38) * height + sway)
    depth = 0.75 + 0.25 * np.sin(x / width * rng.uniform(4, 14) + rng.uniform(0, 2 * np.pi))
    amplitude = rng.uniform(12, 24) * (1 if rng.random() < 0.5 else -1)
    scene.add("streak", amplitude * depth * ramp(rng.uniform(1.2, 2.6) + 0.5 - distance, 1.5))
