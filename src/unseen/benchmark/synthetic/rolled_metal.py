"""A rolled or brushed metal sheet: its rare marks change the whole image or cross it."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import (
    amplitude_of,
    free_window,
    one_or_two,
    outline,
    particle,
    ramp,
)
from unseen.benchmark.synthetic.scene import Scene, Stage, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field, turned

#: Classes, the common ones first.
CLASSES = ("pit", "inclusion", "chatter", "streak")
#: Classes that appear late in the pool.
RARE_CLASSES = ("chatter", "streak")

#: Share of the images with inclusions.
INCLUSION_SHARE = 0.35


def draw(rng: np.random.Generator, stage: Stage) -> SyntheticImage:
    """About 4 pits on 256 px, inclusions in some images, one mark of each rare class on request.

    The rolling direction drifts and differs a little from image to image; all marks follow it.
    """
    along = 0.12 * stage.drift + rng.normal(0, 0.05)
    scene = Scene(_surface(rng, stage.size, stage.drift, along))
    if rng.random() < INCLUSION_SHARE:
        for _ in one_or_two(rng, 0.35):
            inclusion(scene, rng, along=along)
    for _ in range(max(1, rng.poisson(4 * (stage.size / 256) ** 2))):
        particle(scene, rng, label="pit")
    # Last, because pits and inclusions need a free place, and chatter leaves none.
    if "chatter" in stage.rare:
        chatter(scene, rng, along=along)
    if "streak" in stage.rare:
        streak(scene, rng, along=along)
    return scene.render()


def inclusion(scene: Scene, rng: np.random.Generator, *, along: float) -> None:
    """Slag rolled into the sheet: a dark or bright spindle, 14-40 px long and 3-6 px wide."""
    half_length = float(rng.uniform(7, 20))
    half_width = float(rng.uniform(1.6, 3.0))
    window = free_window(scene, rng, half_length, margin=half_length, reach=1.2 * half_length)
    if window is None:
        return
    u, v = turned(window.dx, window.dy, along + rng.normal(0, 0.06))
    u, v = u / half_length, v / half_width
    inside = outline(rng, np.arctan2(v, u), 0.1) - np.hypot(u, v)
    amplitude = amplitude_of(rng, (22, 55), bright=0.3)
    scene.add("inclusion", amplitude * ramp(half_width * inside, 1.2), window.top, window.left)


def chatter(scene: Scene, rng: np.random.Generator, *, along: float) -> None:
    """Vibration of the rolls: faint bands over the whole image, across the rolling direction.

    Their distance is 8-18 px and their amplitude 4-7 grey levels, about that of the brushing.
    """
    height, width = scene.shape
    y, x = np.mgrid[0:height, 0:width]
    turn = along + rng.normal(0, 0.08)
    phase = 2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / rng.uniform(8, 18)
    # The bands swell and fade a little, but vanish nowhere.
    swell = 1.0 + 0.25 * np.sin(y / height * rng.uniform(3, 9) + rng.uniform(0, 2 * np.pi))
    amplitude = rng.uniform(4.0, 7.0)
    scene.add("chatter", amplitude * swell * np.sin(phase + rng.uniform(0, 2 * np.pi)))


def streak(scene: Scene, rng: np.random.Generator, *, along: float) -> None:
    """A drag mark: a faint line 2-5 px wide from one side of the image to the other."""
    height, width = scene.shape
    y, x = np.mgrid[0:height, 0:width] + 0.5
    turn = along + rng.normal(0, 0.05)
    sway = rng.uniform(0, 2.0) * np.sin(x / width * rng.uniform(2, 7) + rng.uniform(0, 2 * np.pi))
    _, across = turned(x - width / 2, y - height / 2, turn)
    distance = np.abs(across - rng.uniform(-0.38, 0.38) * height + sway)
    depth = 0.75 + 0.25 * np.sin(x / width * rng.uniform(4, 14) + rng.uniform(0, 2 * np.pi))
    amplitude = amplitude_of(rng, (12, 24), bright=0.5)
    scene.add("streak", amplitude * depth * ramp(rng.uniform(1.2, 2.6) + 0.5 - distance, 1.5))


def _surface(rng: np.random.Generator, size: int, drift: float, along: float) -> np.ndarray:
    level = 128 + 5 * np.sin(1.7 * np.pi * drift) + rng.normal(0, 4)
    coarse = 1.0 + 0.35 * drift
    field = random_field(
        rng,
        size,
        [
            (3.4 + rng.normal(0, 0.2), 0.6, 0.6, 0.0),  # camera noise
            (5.0 + rng.uniform(-1.2, 1.2), 26.0, 0.8 * coarse, along),  # brushing
            (3.0 + rng.uniform(-0.8, 0.8), 70.0, 3.2 * coarse, along),  # wide bands of it
            (2.0 + rng.uniform(-0.6, 0.6), 28.0, 28.0, 0.0),  # mottling
        ],
    )
    return np.asarray(level * illumination(rng, size, 0.2) + field)
