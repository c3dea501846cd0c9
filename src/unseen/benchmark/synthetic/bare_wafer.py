"""An unpatterned wafer: grey polished grain that drifts from image to image."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import one_or_two, particle, scratch, stain
from unseen.benchmark.synthetic.scene import Scene, Stage, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field

#: Classes, the common ones first.
CLASSES = ("particle", "scratch", "stain")
#: Classes that appear late in the pool.
RARE_CLASSES = ("stain",)

#: Share of the images with scratches.
SCRATCH_SHARE = 0.28


def draw(rng: np.random.Generator, stage: Stage) -> SyntheticImage:
    """About 6 particles on 256 px, scratches in some images, stains on request."""
    scene = Scene(_surface(rng, stage.size, stage.drift))
    if "stain" in stage.rare:
        for _ in one_or_two(rng, 0.3):
            stain(scene, rng)
    if rng.random() < SCRATCH_SHARE:
        for _ in one_or_two(rng, 0.35):
            scratch(scene, rng)
    for _ in range(max(1, rng.poisson(6 * (stage.size / 256) ** 2))):
        particle(scene, rng)
    return scene.render()


def _surface(rng: np.random.Generator, size: int, drift: float) -> np.ndarray:
    slow = 0.5 - 0.5 * np.cos(np.pi * drift)
    level = 122 + 6 * np.sin(2.2 * np.pi * drift) + rng.normal(0, 4)
    streaks = 0.6 + 0.5 * drift + rng.normal(0, 0.05)
    field = random_field(
        rng,
        size,
        [
            (5.3 + rng.normal(0, 0.2), 0.58 + 0.16 * slow, 0.58 + 0.16 * slow, 0.0),
            (2.0, 2.2, 2.2, 0.0),  # grain
            (2.2 + rng.uniform(-0.5, 0.9), 16.0, 0.7, streaks),  # polishing marks
            (0.8 + rng.uniform(0, 1.0), 24.0, 24.0, 0.0),  # mottling as wide as a stain
        ],
    )
    return np.asarray(level * illumination(rng, size, 0.24) + field)
