"""Scoring on a Ray cluster against one process, from files to the database, on the same images.

    python benchmarks/cluster.py --images 2000 --size 256 --workers 0 1 2
    python benchmarks/cluster.py --images 100000 --size 32 --workers 2
    python benchmarks/cluster.py --images 800 --size 256 --workers 1 2 1 2 1 2

0 workers are one process without Ray. Small images are cut out of larger ones, and after the first
2,000 come links to them. CPU seconds depend less on what else the machine does than seconds do:
`driver_ms` are those of the process that hands out, collects and writes, per image; `worker_ms` those
of the workers, `database_ms` of MongoDB. `ray_share` is what Ray's own processes take of a core, all
the time. Each worker is held on a core of its own. A first part of the images is scored before, so
that no start is counted. `same` tells whether what is stored equals the first row, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from shared import Clock, fitted_unet, grey, parser, print_json, print_row, write_images

from unseen.dataset.throwaway import ThrowawayDatabase

#: Images that are different; the smallest that can be generated, px; images before the clock starts.
DIFFERENT, SMALLEST, START = 2000, 128, 512


@contextmanager
def engine(workers: int) -> Iterator[dict[str, Any]]:
    """Parameters of the step for a cluster of nodes on this machine, a core each."""
    if not workers:
        yield {}
        return
    # Ray's default, 15, leaves the cores to other programs, this one among them.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(workers - 1):
        nodes.add_node(num_cpus=1)
    try:
        yield {"engine": "ray", "address": nodes.address}
    finally:
        ray.shutdown()
        nodes.shutdown()


def write_pool(folder: Path, count: int, size: int) -> tuple[Path, list[str]]:
    """A UNet that was trained for a moment, and the files of the pool."""
    from PIL import Image

    from unseen.unet.checkpoints import save_checkpoint

    images = write_images(folder, 100, kind="bare", size=max(size, SMALLEST), different=100)
    few = images[:10]
    arrays, boxes = [grey(i) for i in few], [i.xyxy for i in few]
    trained = fitted_unet(arrays, boxes, [i.labels for i in few], steps=30, crop_size=64)
    checkpoint, _ = save_checkpoint(folder, "unet", trained.model.state_dict(), trained.description)
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.png"
        path.parent.mkdir(exist_ok=True)
        if number < DIFFERENT:
            pixels = images[number % len(images)].pixels
            y, x = (int(rng.integers(0, side - size + 1)) for side in pixels.shape)
            Image.fromarray(pixels[y : y + size, x : x + size]).save(path)
        else:
            os.link(paths[number % DIFFERENT], path)
        paths.append(str(path))
    return checkpoint, paths


def pin() -> None:
    """Hold each worker on a core of its own."""
    cores = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else []
    workers = [c for c in psutil.Process().children(recursive=True) if is_worker(c)]
    for worker, core in zip(workers, cores, strict=False):
        worker.cpu_affinity([core])


def is_worker(process: psutil.Process) -> bool:
    """Whether it computes."""
    return process.name().startswith("ray::_Worker")


def cpu(database: psutil.Process) -> dict[str, float]:
    """CPU seconds so far of this process, of the database, of workers and of Ray's other processes."""
    own = psutil.Process()
    taken = {"driver": sum(own.cpu_times()[:2]), "database": 0.0, "worker": 0.0, "ray": 0.0}
    for child in own.children(recursive=True):
        try:
            computes = is_worker(child)
            who = "database" if child.pid == database.pid else "worker" if computes else "ray"
            taken[who] += sum(child.cpu_times()[:2])
        except psutil.Error:  # it has ended
            continue
    return taken


def score(
    paths: list[str], checkpoint: Path, where: dict[str, Any], server: psutil.Process
) -> dict[str, Any]:
    """What it takes to score the files as a new dataset."""
    import fiftyone as fo

    import unseen

    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=path) for path in paths], progress=False)
    clock, looks = Clock(), []

    def look(done: int, total: int, label: str = "") -> None:
        # Before the run ends: what workers took is lost with them.
        if done == total or (not looks and done >= START):
            pin()
            looks.append({"done": done, "wall": clock.lap(), **cpu(server)})

    unseen.score_samples(
        dataset,
        checkpoint=str(checkpoint),
        embeddings=False,
        device="cpu",
        progress=look,
        **where,
    )
    begun, ended = looks
    count = ended["done"] - begun["done"]
    names = ("driver", "worker", "database")
    return {
        "images_per_s": count / ended["wall"],
        **{f"{name}_ms": 1000 * (ended[name] - begun[name]) / count for name in names},
        "ray_share": (ended["ray"] - begun["ray"]) / ended["wall"],
        "stored": digest(dataset),
    }


def digest(dataset: Any) -> str:
    """Of the numbers that scoring stores, in the order of the files."""
    names = ("excess", "alpha", "threshold", "entropy", "foreground", "embedding", "heatmap.map")
    fields = [*(f"unseen_{name}" for name in names), "unseen_regions.detections.confidence"]
    found = hashlib.blake2b(digest_size=4)
    for stored in dataset._sample_collection.find({}, fields).sort("filepath", 1):
        stored.pop("_id")
        found.update(repr(sorted(stored.items())).encode())
    return found.hexdigest()


def measure(options: argparse.Namespace, database: ThrowawayDatabase) -> list[dict[str, Any]]:
    """One row per number of workers."""
    server = psutil.Process(database._process.pid)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        checkpoint, paths = write_pool(Path(name), options.images + START, options.size)
        for workers in options.workers:
            with engine(workers) as where:
                row = {"workers": workers, **score(paths, checkpoint, where, server)}
            rows.append(row)
            row["same"] = row["stored"] == rows[0]["stored"]
            print_row(row, rows)
    return rows


def main() -> None:
    """Read the arguments, print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=2000)
    arguments.add_argument("--size", type=int, default=256, help="px")
    arguments.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    options = arguments.parse_args()
    with ThrowawayDatabase() as database:
        print_json(options, measure(options, database))


if __name__ == "__main__":
    main()
