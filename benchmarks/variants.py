"""Do novel-looking examples of a known class count as unseen?

    python benchmarks/variants.py --seeds 203 204 205 206

On the synthetic device wafer some particles are ring-shaped, but none in the first images. A UNet is
trained on the first ten, which show ordinary particles alone. The area under the ROC curve says
how well its unseen score tells pixels of ring-shaped particles from pixels of ordinary ones, and from
pixels outside all boxes, over the images that are not labelled.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from unseen.arrays.auroc import StreamingAuroc
from unseen.arrays.masks import foreground_mask
from unseen.arrays.scale import working_scale
from unseen.benchmark.synthetic import device_wafer
from unseen.benchmark.synthetic.dataset import generate
from unseen.benchmark.synthetic.scene import SyntheticImage
from unseen.steps.train_unet import TrainUnetConfig
from unseen.unet.inference import infer
from unseen.unet.network import UNetSpec
from unseen.unet.training import fit_unet

INITIAL, MARGIN = 10, 10.0
RING = "ring-shaped particle"


def main() -> None:
    """Print a line per seed, the means, and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--near-misses", action="store_true", help="in the training, 400 steps")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    near = arguments.near_misses
    rows = [measure(seed, arguments.count, near_misses=near) for seed in arguments.seeds]
    for row in rows:
        print(", ".join(f"{name} {value:.3f}" for name, value in row.items()))
    for name in ("against_particles", "against_background"):
        values = [row[name] for row in rows]
        print(f"{name:<20} {np.mean(values):.3f} +- {np.std(values):.3f}")
    print(json.dumps({"options": vars(arguments), "rows": rows}))


def measure(seed: int, count: int, *, near_misses: bool) -> dict[str, float]:
    """Train on the first images of one pool and score the rest."""
    images = marked_pool(seed, count)
    pixels = [(i.pixels.astype(np.float32) / 255)[:, :, None] for i in images]
    first = images[:INITIAL]
    classes = tuple(sorted({label for image in first for label in image.labels}))
    sides = [min(x2 - x1, y2 - y1) for image in first for x1, y1, x2, y2 in image.xyxy]
    assert RING not in classes
    assert working_scale(sides, [max(image.pixels.shape) for image in first]) == 1
    trained = fit_unet(
        pixels[:INITIAL],
        [image.xyxy for image in first],
        [[classes.index(label) for label in image.labels] for image in first],
        spec=UNetSpec("recommended", "mse", TrainUnetConfig().channels, classes, 1),
        config=TrainUnetConfig(seed=seed, box_margin=MARGIN, near_misses=near_misses),
    )
    of_particles, of_background = StreamingAuroc(), StreamingAuroc()
    rings = 0
    for image, array in zip(images[INITIAL:], pixels[INITIAL:], strict=True):
        found = infer(trained.model, torch.from_numpy(array.transpose(2, 0, 1))[None])
        score = found.maps.unseen[0].half().numpy()
        ring = inside(image, RING)
        particle = inside(image, "particle") & ~ring
        height, width = score.shape
        near = foreground_mask(image.xyxy, margin=MARGIN, height=height, width=width)
        for areas, other in ((of_particles, particle), (of_background, ~near)):
            areas.add(score[ring | other], ring[ring | other])
        rings += image.labels.count(RING)
    return {
        "seed": seed,
        "rings": rings,
        "against_particles": of_particles.area(),
        "against_background": of_background.area(),
    }


def inside(image: SyntheticImage, label: str) -> np.ndarray:
    """(h, w) bool: pixels in boxes of one label."""
    boxes = image.xyxy[np.asarray([of_box == label for of_box in image.labels], bool)]
    height, width = image.pixels.shape
    return foreground_mask(boxes, margin=0, height=height, width=width)


def marked_pool(seed: int, count: int) -> list[SyntheticImage]:
    """The images of `generate`, with a label of their own for what labellers call a particle too."""
    draw = device_wafer.ring_particle

    def draw_and_mark(scene, rng):
        before = len(scene._labels)
        draw(scene, rng)
        scene._labels[before:] = [RING] * (len(scene._labels) - before)

    device_wafer.ring_particle = draw_and_mark
    try:
        return list(generate("device", count, seed=seed))
    finally:
        device_wafer.ring_particle = draw


if __name__ == "__main__":
    main()
