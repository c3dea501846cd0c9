"""Scoring on a Ray cluster against scoring in one process, on the same images.

    python benchmarks/cluster.py --images 2000 --workers 1 2 --repeat 3

Compare the ratios: everything is measured in turn. `start` is the time to the first result, once
per run; the speeds are of what follows. `same` tells whether all numbers are equal, bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from shared import Clock, fitted_unet, grey, parser, print_json, print_row, write_images

SETTINGS = {"quantile": 0.97, "region_quantile": 0.97}


@contextmanager
def ray_of(workers: int) -> Iterator[str]:
    """A cluster of nodes on this machine, a core each; yields its address."""
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(workers - 1):
        nodes.add_node(num_cpus=1)
    try:
        yield nodes.address
    finally:
        ray.shutdown()
        nodes.shutdown()


def timed(scoring: Any, paths: list[str]) -> tuple[float, float, dict[int, Any]]:
    """Seconds to the first result, images per second after it, and the scores."""
    clock = Clock()
    scores: dict[int, Any] = {}
    start = 0.0
    for scored in scoring.score(paths):
        start = start or clock.lap()
        scores[scored.index] = scored.score
    return start, (len(paths) - 1) / clock.lap(), scores


def same(one: dict[int, Any], two: dict[int, Any]) -> bool:
    """Whether the scores of all images are equal, bit for bit."""
    try:
        for index in one:
            np.testing.assert_equal(vars(one[index]), vars(two[index]))
    except AssertionError:
        return False
    return one.keys() == two.keys()


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per number of workers."""
    import torch

    from unseen.ranking.cluster import Cluster
    from unseen.ranking.local import LocalScoring
    from unseen.ranking.ray_scoring import RayScoring
    from unseen.ranking.scorer import Scorer, Thresholds
    from unseen.steps.score_samples import ScoreConfig
    from unseen.unet.checkpoints import save_checkpoint

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_images(folder, options.images, kind="bare", size=options.size, different=100)
        few = images[:10]
        arrays, boxes = [grey(i) for i in few], [i.xyxy for i in few]
        trained = fitted_unet(arrays, boxes, [i.labels for i in few], steps=60)
        weights = trained.model.state_dict()
        checkpoint, _ = save_checkpoint(folder, "unet", weights, trained.description)
        paths = sorted(str(path) for path in folder.glob("*.png"))
        config = ScoreConfig(device="cpu")
        scorer = Scorer(checkpoint, config)
        thresholds = Thresholds(0.1, 0.1, 0.9)  # else the sample is scored before the workers start
        for workers in options.workers:
            speeds, starts, ratios, equal = [], [], [], True
            with ray_of(workers) as address:
                for _ in range(options.repeat):
                    local = LocalScoring(scorer, **SETTINGS, thresholds=thresholds)
                    _, alone, expected = timed(local, paths)
                    start, speed, scores = timed(RayScoring(local, Cluster(address), config), paths)
                    speeds.append(speed)
                    starts.append(start)
                    ratios.append(speed / alone)
                    equal &= same(expected, scores)
            row = {
                "workers": workers,
                "start_s": statistics.median(starts),
                "images_per_s": statistics.median(speeds),
                "to_one_process": statistics.median(ratios),
                "same": equal,
            }
            rows.append(row)
            print_row(row, rows)
    return rows


def main() -> None:
    """Read the arguments, print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=2000)
    arguments.add_argument("--size", type=int, default=256, help="px")
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--repeat", type=int, default=3)
    options = arguments.parse_args()
    print_json(options, measure(options))


if __name__ == "__main__":
    main()
