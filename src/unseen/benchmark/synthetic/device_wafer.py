"""A patterned wafer: one die of 64 px, repeated at a random phase in each image."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from unseen.benchmark.synthetic.marks import one_or_two, particle, ring_particle, scratch, stain
from unseen.benchmark.synthetic.scene import Scene, Stage, SyntheticImage
from unseen.benchmark.synthetic.surface import illumination, random_field

#: Classes, the common one first.
CLASSES = ("particle", "scratch", "stain")
#: Classes that appear late in the pool.
RARE_CLASSES = ("scratch", "stain")

#: Side of the repeating die, px.
DIE = 64
#: Share of ring-shaped particles among those of a late image; early images have none.
RING_SHARE = 0.06


def draw(rng: np.random.Generator, stage: Stage) -> SyntheticImage:
    """About 5 particles on 256 px, scratches and stains on request."""
    scene = Scene(_surface(rng, stage.size, stage.drift, stage.design))
    if "stain" in stage.rare:
        for _ in one_or_two(rng, 0.3):
            stain(scene, rng, contrast=(20.0, 32.0))
    if "scratch" in stage.rare:
        for _ in one_or_two(rng, 0.3):
            scratch(scene, rng, contrast=(28.0, 60.0))
    for _ in range(max(1, rng.poisson(5 * (stage.size / 256) ** 2))):
        if stage.is_late and rng.random() < RING_SHARE:
            ring_particle(scene, rng)
        else:
            particle(scene, rng, contrast=(45.0, 95.0))
    return scene.render()


def _surface(rng: np.random.Generator, size: int, drift: float, design: int) -> np.ndarray:
    # One die shifted by the sub-pixel part of the phase, then tiled from its whole part.
    phase = rng.uniform(0, DIE, 2)
    whole = phase.astype(int)
    die = shift(_die(design), phase - whole, order=1, mode="grid-wrap")
    tiles = -(-size // DIE) + 1
    pattern = np.tile(np.roll(die, tuple(whole), axis=(0, 1)), (tiles, tiles))[:size, :size]
    contrast = 1.0 + rng.normal(0, 0.03)
    level = 112 + 4 * drift + rng.normal(0, 3)
    field = random_field(rng, size, [(3.2, 0.6, 0.6, 0.0), (1.8, 24.0, 24.0, 0.0)])
    return np.asarray((level + contrast * pattern) * illumination(rng, size, 0.14) + field)


@lru_cache(maxsize=8)
def _die(design: int) -> np.ndarray:
    """(DIE, DIE) grey levels around 0: scribe lines, memory arrays, logic, pads and wires."""
    rng = np.random.default_rng([design, DIE])
    die = np.zeros((DIE, DIE))
    die[4:, 4:] = 6
    die[4:26, 4:36] += _memory(22, 32, period=4)
    die[30:60, 4:22] += _memory(18, 30, period=6).T
    die[4:26, 40:62] += _logic(rng, 22, 22)
    die[30:48, 26:62] += _logic(rng, 18, 36)
    for x in range(28, 62, 7):  # pads
        die[52:57, x : x + 4] = 42
    for y in (28, 50):  # wires between the blocks
        die[y, 6:62] = 30
    die[6:60, 38] = 24
    die[:4, :] = -26  # scribe lines
    die[:, :4] = -26
    die[1:3, 8::12] = 10  # alignment marks in them
    die[0:3, 0:3] = 34
    smooth = gaussian_filter(die, 0.6, mode="wrap")
    return np.asarray(smooth - smooth.mean())


def _memory(height: int, width: int, period: int) -> np.ndarray:
    """Parallel lines with breaks."""
    block = np.where(np.arange(height)[:, None] % period < period // 2, 16.0, -14.0)
    block = np.repeat(block, width, axis=1)
    block[:, 7::8] = -4.0
    return block


def _logic(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Random cells of 2 x 4 px."""
    cells = rng.uniform(-20, 20, (-(-height // 2), -(-width // 4)))
    return np.kron(cells, np.ones((2, 4)))[:height, :width]
