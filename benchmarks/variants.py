"""Do novel-looking examples of a known class count as unseen?

    python benchmarks/variants.py --seeds 203 204 205 206

On the synthetic device wafer some particles are ring-shaped, but none in the first images. A UNet is
trained on the first ten, which show ordinary particles alone. The AUROC says how well its unseen score
tells pixels of ring-shaped particles from pixels of ordinary ones, and from pixels outside all boxes,
over the images that are not labelled.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
import torch
from shared import grey, maps_of, parser, print_json, print_row, train_unet

from unseen.arrays.auroc import StreamingAuroc
from unseen.arrays.masks import foreground_mask
from unseen.benchmark.synthetic import device_wafer
from unseen.benchmark.synthetic.dataset import generate
from unseen.benchmark.synthetic.scene import SyntheticImage

INITIAL, MARGIN = 10, 10.0
RING = "ring-shaped particle"


def main() -> None:
    """Print a line per seed, the means, and a JSON line."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--count", type=int, default=200)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, float]] = []
    for seed in options.seeds:
        rows.append(measure(seed, options.count))
        print_row(rows[-1], rows)
    for name in ("against particles", "against background"):
        values = [row[name] for row in rows]
        print(f"{name:<20} {np.mean(values):.3f} +- {np.std(values):.3f}")
    print_json(options, rows)


def measure(seed: int, count: int) -> dict[str, float]:
    """Train on the first images of one pool and score the rest."""
    images = marked_pool(seed, count)
    first = images[:INITIAL]
    assert not any(RING in image.labels for image in first)
    model = train_unet(
        [grey(image) for image in first],
        [image.xyxy for image in first],
        [image.labels for image in first],
        seed=seed,
        box_margin=MARGIN,
    )
    of_particles, of_background = StreamingAuroc(), StreamingAuroc()
    for image in images[INITIAL:]:
        score = maps_of(model, grey(image)).unseen[0].half().numpy()
        ring = inside(image, RING)
        particle = inside(image, "particle") & ~ring
        height, width = score.shape
        near = foreground_mask(image.xyxy, margin=MARGIN, height=height, width=width)
        for areas, other in ((of_particles, particle), (of_background, ~near)):
            areas.add(score[ring | other], ring[ring | other])
    return {
        "seed": seed,
        "rings": sum(image.labels.count(RING) for image in images),
        "against particles": of_particles.area(),
        "against background": of_background.area(),
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

    with mock.patch.object(device_wafer, "ring_particle", draw_and_mark):
        return list(generate("device", count, seed=seed))


if __name__ == "__main__":
    main()
