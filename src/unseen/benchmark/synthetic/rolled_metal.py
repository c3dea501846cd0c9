"""A rolled or brushed metal sheet: what is rare there changes the whole picture or crosses it."""

from __future__ import annotations

import numpy as np

from unseen.benchmark.synthetic.marks import particle
from unseen.benchmark.synthetic.metal_marks import chatter, inclusion, streak
from unseen.benchmark.synthetic.scene import Scene, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field

#: Classes, the common ones first.
CLASSES = ("pit", "inclusion", "chatter", "streak")
#: Classes that the first images of a pool do not show.
RARE_CLASSES = ("chatter", "streak")

#: Share of the images with inclusions.
INCLUSION_SHARE = 0.35


def rolled_metal(
    rng: np.random.Generator, *, size: int, drift: float, rare: frozenset[str]
) -> SyntheticImage:
    """One image.

    Args:
        rng: source of randomness.
        size: side, px.
        drift: where the rolling process stands, in [0, 1] along the pool: the brushing gets coarser
            and turns.
        rare: rare classes this image shows.

    Returns:
        About 4 pits, inclusions in `INCLUSION_SHARE` of the images, one mark of each rare class
        where asked for.
    """
    # The sheet's direction differs a little from image to image; its marks follow it.
    along = 0.12 * drift + rng.normal(0, 0.05)
    scene = Scene(_surface(rng, size, drift, along))
    if rng.random() < INCLUSION_SHARE:
        for _ in range(1 + int(rng.random() < 0.35)):
            inclusion(scene, rng, along=along)
    for _ in range(max(1, rng.poisson(4 * (size / 256) ** 2))):
        particle(scene, rng, label="pit")
    # Last, because pits and inclusions look for a free place, and chatter leaves none.
    if "chatter" in rare:
        chatter(scene, rng, along=along)
    if "streak" in rare:
        streak(scene, rng, along=along)
    return scene.render()


def _surface(rng: np.random.Generator, size: int, drift: float, along: float) -> np.ndarray:
    level = 128 + 5 * np.sin(1.7 * np.pi * drift) + rng.normal(0, 4)
    coarse = 1.0 + 0.35 * drift
    field = random_field(
        rng,
        size,
        [
            (3.4 + rng.normal(0, 0.2), 0.6, 0.6, 0.0),  # noise of the camera
            (5.0 + rng.uniform(-1.2, 1.2), 26.0, 0.8 * coarse, along),  # brushing
            (3.0 + rng.uniform(-0.8, 0.8), 70.0, 3.2 * coarse, along),  # wide bands of it
            (2.0 + rng.uniform(-0.6, 0.6), 28.0, 28.0, 0.0),  # mottling
        ],
    )
    sheet: np.ndarray = level * illumination(rng, size, 0.2) + field
    return sheet
