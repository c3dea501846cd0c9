"""Time to find and to use the known structure of images, on synthetic patterned wafers.

    python benchmarks/structure.py --sizes 256 512 2048 --images 8 --repeat 5

prints per size: learning the grid from `--images` images, locating it in one, the weights of a grid,
and those of a mask's outlines with a margin; then one line of JSON. Each figure is the best of
`--repeat` runs in one thread, learning only runs once.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from unseen.benchmark.synthetic.dataset import generate
from unseen.structure.grid_model import learn_grid, locate
from unseen.structure.outlines import mask_outlines
from unseen.structure.weights import Shapes, inside_grid, zone_weights


def best(call: Callable[[], object], repeat: int) -> float:
    """Milliseconds of the quickest of `repeat` calls."""
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return 1000 * min(seconds)


def measure(size: int, count: int, repeat: int) -> dict[str, float]:
    """All times for square images of one size, ms."""
    images = [
        image.pixels.astype(np.float32) for image in generate("device", count, seed=3, size=size)
    ]
    began = time.perf_counter()
    model = learn_grid(images)
    learning = 1000 * (time.perf_counter() - began)
    grid, fit = locate(images[0], model)
    shape = (size, size)
    # A larger mask of dies would have more points than outlines may have.
    part = min(size, 512)
    shapes = Shapes(outlines=mask_outlines(inside_grid(grid, part, part, (part, part))))
    options = {"zone": "inside", "margin": 2.0, "weight": 0.0}
    return {
        "learn_ms": learning,
        "locate_ms": best(lambda: locate(images[0], model), repeat),
        "grid_weights_ms": best(lambda: zone_weights(grid, size, size, shape, **options), repeat),
        "outline_points": sum(len(ring) for outline in shapes.outlines for ring in outline),
        "outline_weights_ms": best(
            lambda: zone_weights(shapes, size, size, shape, **options), repeat
        ),
        "fit": fit,
    }


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 2048])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    results = {}
    for size in args.sizes:
        found = results[size] = measure(size, args.images, args.repeat)
        print(
            f"{size} px: learn from {args.images} images {found['learn_ms']:.0f} ms, locate "
            f"{found['locate_ms']:.1f} ms (fit {found['fit']:.2f}), weights of the grid "
            f"{found['grid_weights_ms']:.1f} ms, of outlines with {found['outline_points']} points "
            f"{found['outline_weights_ms']:.1f} ms"
        )
    print(json.dumps({size: {k: round(v, 2) for k, v in r.items()} for size, r in results.items()}))


if __name__ == "__main__":
    main()
