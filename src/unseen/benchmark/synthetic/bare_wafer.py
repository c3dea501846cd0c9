"""An unpatterned wafer: grey polished grain that drifts from image to image."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import particle, scratch, stain
from unseen.benchmark.synthetic.scene import Scene, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field

#: Classes, the common ones first.
CLASSES = ("particle", "scratch", "stain")
#: Classes that the first images of a pool do not show.
RARE_CLASSES = ("stain",)

#: Share of the images with scratches.
SCRATCH_SHARE = 0.28


def bare_wafer(
    rng: np.random.Generator, *, size: int, drift: float, rare: frozenset[str], is_late: bool
) -> SyntheticImage:
    """One image.

    Args:
        rng: source of randomness.
        size: side, px.
        drift: where the polishing process stands, in [0, 1] along the pool.
        rare: rare classes this image shows.
        is_late: unused here; the device wafer has a late variant.

    Returns:
        About 6 particles, scratches in `SCRATCH_SHARE` of the images, stains where asked for.
    """
    scene = Scene(_surface(rng, size, drift))
    if "stain" in rare:
        for _ in range(1 + int(rng.random() < 0.3)):
            stain(scene, rng)
    if rng.random() < SCRATCH_SHARE:
        for _ in range(1 + int(rng.random() < 0.35)):
            scratch(scene, rng)
    for _ in range(max(1, rng.poisson(6 * (size / 256) ** 2))):
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
    wafer: np.ndarray = level * illumination(rng, size, 0.24) + field
    return wafer
