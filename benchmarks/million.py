"""One dataset of a million images: seconds and memory of every step that looks at all of it.

    python benchmarks/million.py --images 20000 100000 1000000

The samples go straight into a throw-away database; their images do not exist. Each operation runs in
a process of its own: `seconds` are of the clock, `cpu` those that the process and the database
worked, `memory` is the most it ever had, `grown` how far that is above what the imports take. What
stands for the measured images: screening decides from made-up contrasts, and scoring starts without
its network. `mixed` needs features, of which the store is filled up to `--features` images; in larger
datasets it is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from panel import make_dataset
from shared import Clock, parser, print_json, print_row

from unseen.dataset.throwaway import ThrowawayDatabase

#: The loop that the panel's benchmark makes, of which the pool is copied.
SEED_IMAGES, TEST, CLASSES = 2048, 1000, 3
BUDGET = 100
#: Documents written together.
BLOCK = 2000
STRATEGIES = ("random", "sequential", "plain", "entropy", "foreground", "diverse", "balanced")
#: As many are made one by one; of larger datasets the rest are copies of them.
COPIED = 20_000
#: Rows and columns of the patches of an image, few because a disk has to hold them.
PATCHES = (2, 2)
#: A file system has a limit on the links to one file, often 65,000.
LINKS = 1000


def fill(images: int) -> Any:
    """A dataset in the middle of its loop whose pool is as large as asked for."""
    import fiftyone as fo
    from bson import ObjectId

    dataset = make_dataset(SimpleNamespace(images=SEED_IMAGES, test=TEST, classes=CLASSES))
    samples = dataset._sample_collection
    templates = [pickle.dumps(document) for document in samples.find({"tags": []})]
    rng = np.random.default_rng(1)
    folder = Path(fo.config.default_dataset_dir) / "images"
    made = min(images, COPIED)
    for begin in range(SEED_IMAGES, made, BLOCK):
        documents = []
        for i in range(begin, min(begin + BLOCK, made)):
            document = pickle.loads(templates[i % len(templates)])
            document["_id"] = ObjectId()
            document["filepath"] = str(folder / f"{i // LINKS:04d}" / f"{i:08d}.png")
            for name in ("excess", "alpha", "entropy", "foreground"):
                document[f"unseen_{name}"] = float(rng.gamma(2))
            for region in document["unseen_regions"]["detections"]:
                region |= {"_id": ObjectId(), "confidence": float(rng.random())}
            documents.append(document)
        samples.insert_many(documents, ordered=False)
    while (missing := images - samples.estimated_document_count()) > 0:
        _copy(samples, documents[-1]["_id"], min(missing, made - SEED_IMAGES))
    return dataset


def _copy(samples: Any, last: Any, count: int) -> None:
    """Copy the first `count` made samples up to `last` within the server, with other numbers."""
    number = samples.estimated_document_count()
    random = {"$multiply": [-2, {"$ln": {"$add": [{"$rand": {}}, 1e-9]}}]}
    regions = "$unseen_regions.detections"
    scored = {"$mergeObjects": ["$$this", {"confidence": {"$rand": {}}}]}
    new = {
        "filepath": {"$concat": ["$filepath", f".{number}.png"]},
        **{f"unseen_{name}": random for name in ("excess", "alpha", "entropy", "foreground")},
        "unseen_regions.detections": {"$map": {"input": regions, "in": scored}},
    }
    pipeline = [
        {"$match": {"_id": {"$lte": last}, "filepath": {"$not": {"$regex": "^/images/"}}}},
        {"$limit": count},
        {"$set": new},
        {"$unset": "_id"},
        {"$merge": {"into": samples.name, "whenMatched": "fail"}},
    ]
    samples.aggregate(pipeline)


def fill_features(dataset: Any) -> None:
    """Files for the images, links to a few, and stored features as if they had been computed."""
    import fiftyone as fo

    from unseen.dataset.loop import features_folder
    from unseen.ranking.features.backbones import find_backbone
    from unseen.ranking.features.compute import Features
    from unseen.ranking.features.image_features import ImageFeatures, patch_size, vector_size
    from unseen.ranking.features.store import row

    features = Features(find_backbone()[0], features_folder(None))
    sizes = vector_size(features.backbone), patch_size(features.backbone)
    rng = np.random.default_rng(2)
    # Kinds of images that differ in a few directions, as real ones do.
    axes, centres = rng.normal(size=(12, sizes[0])), 2 * rng.normal(size=(30, 12))
    patches = rng.normal(size=(64, *PATCHES, sizes[1])).astype(np.float32)
    folder = str(Path(fo.config.default_dataset_dir) / "images")
    move = {"$replaceOne": {"input": "$filepath", "find": "/images", "replacement": folder}}
    samples = dataset._sample_collection
    size = {"_cls": "ImageMetadata", "width": 96, "height": 96}
    changes = [{"$set": {"filepath": move, "metadata": size}}]
    samples.update_many({"filepath": {"$regex": "^/images/"}}, changes)
    rows = (document["filepath"] for document in samples.find({}, {"filepath": 1}))
    while paths := list(itertools.islice(rows, BLOCK)):
        states = {}
        for path in map(Path, paths):
            source = path.parent / "source"
            if not source.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                source.write_bytes(b"an image")
            os.link(source, path)
            states[str(path)] = (path.stat().st_size, path.stat().st_mtime_ns)
        digests = {path: hashlib.md5(path.encode()).hexdigest() for path in paths}
        at = centres[rng.integers(len(centres), size=len(paths))] + rng.normal(
            size=(len(paths), 12)
        )
        vectors = (at @ axes + rng.normal(size=(len(paths), sizes[0]))).astype(np.float32)
        features.store.remember({path: (states[path], digests[path]) for path in paths})
        described = zip(vectors, itertools.cycle(patches), strict=False)
        images = dict(
            zip(digests.values(), itertools.starmap(ImageFeatures, described), strict=False)
        )
        features.store.put({digest: row(image) for digest, image in images.items()})


# --- operations, each in a process of its own ------------------------------------------------------
def start_scoring(dataset: Any) -> None:
    """What `score_samples` does before the network sees the first image."""
    from unseen.dataset.loop import Loop
    from unseen.dataset.reading import raw_values
    from unseen.steps.score_samples.run import _target

    raw_values(_target(Loop(dataset), "another")[0], ["filepath"])


def screen(dataset: Any) -> None:
    """The decision of `prepare_dataset` about images that are measured already."""
    from unseen.steps.screen_images import run

    run._measure = lambda path, *, value_range: (float(path[-5:-4] != "7"), 0.0)  # type: ignore[assignment]  # stands for reading the file
    run.screen_images(dataset, dry_run=True)


def panel(dataset: Any) -> None:
    """What the panel asks when it opens, with nothing kept."""
    from unseen.loop import overview

    overview.now(dataset)


def ranking(dataset: Any) -> None:
    """What the panel's section on the ranking asks besides."""
    from unseen.loop import overview

    overview.ranking(dataset)


def progress(dataset: Any) -> None:
    """What the panel's section on progress asks besides."""
    from unseen.loop import overview

    overview.progress(dataset)


def step(name: str, **settings: Any) -> Callable[[Any], Any]:
    """A step as users call it."""

    def run(dataset: Any) -> None:
        import unseen

        getattr(unseen, name)(dataset, **settings)

    return run


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "panel: now": panel,
    "panel: ranking": ranking,
    "panel: progress": progress,
    **{
        f"select: {s}": step("select_batch", budget=BUDGET, strategy=s, replace=True)
        for s in STRATEGIES
    },
    "select: mixed": step("select_batch", budget=BUDGET, strategy="mixed", replace=True),
    "next_iteration": step("next_iteration", send=False),
    "score: start": start_scoring,
    "rank_regions": step("rank_regions"),
    "screening": screen,
    "compare": step("compare_iterations", pictures=False),
    "clean_dataset": step("clean_dataset"),
}


def operate(name: str) -> None:
    """Run one operation on the dataset that is there, and print what it took."""
    import fiftyone as fo

    import unseen

    dataset = fo.load_dataset("panel-benchmark")
    _ = unseen.select_batch, unseen.next_iteration, unseen.rank_regions  # imports count for nobody
    from unseen.loop import overview  # noqa: F401 - the same

    before, worked = resident_mb(), cpu_seconds(dataset)
    clock = Clock()
    OPERATIONS[name](dataset)
    row = {"seconds": clock.lap(), "cpu": cpu_seconds(dataset) - worked}
    peak = resident_mb("VmHWM")
    print(json.dumps({**row, "memory": peak, "grown": peak - before}))


def cpu_seconds(dataset: Any) -> float:
    """Seconds that this process and the database worked so far."""
    server = dataset._sample_collection.database.client.admin.command("serverStatus")["extra_info"]
    return time.process_time() + (server["user_time_us"] + server["system_time_us"]) / 1e6


def resident_mb(name: str = "VmRSS") -> float:
    """Memory of this process now, or at most; `getrusage` would tell that of the parent if larger."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(f"{name}:"))


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row per operation and size."""
    for images in options.images:
        with ThrowawayDatabase() as database:
            clock = Clock()
            dataset = fill(images)
            print(f"{images} samples written in {clock.lap():.0f} s", flush=True)
            has_features = images <= options.features
            if has_features:
                fill_features(dataset)
            yield from sizes(dataset, images)
            for name in options.only or OPERATIONS:
                if name == "select: mixed" and not has_features:
                    continue
                command = [sys.executable, __file__, "--operation", name]
                run = subprocess.run(
                    command,
                    env={**os.environ, **database.environment()},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if run.returncode:
                    print(run.stderr[-2000:], file=sys.stderr)
                    raise SystemExit(f"{name} failed")
                yield {
                    "images": images,
                    "operation": name,
                    **json.loads(run.stdout.splitlines()[-1]),
                }
            disconnect()


def sizes(dataset: Any, images: int) -> Iterator[dict[str, Any]]:
    """Bytes per image in the database: of a document, on disk, of the indexes."""
    database = dataset._sample_collection.database
    database.client.admin.command("fsync")
    stats = database.command("collStats", dataset._sample_collection.name)
    for name, size in (
        ("bytes: document", stats["avgObjSize"]),
        ("bytes: disk", stats["storageSize"] / images),
        ("bytes: indexes", stats["totalIndexSize"] / images),
    ):
        yield {
            "images": images,
            "operation": name,
            "seconds": 0.0,
            "cpu": 0.0,
            "memory": 0.0,
            "grown": float(size),
        }


def disconnect() -> None:
    """Forget the connection, so that the next database is another one."""
    import fiftyone.core.odm as foo

    foo.database._disconnect()


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, nargs="+", default=[20_000])
    arguments.add_argument("--features", type=int, default=100_000, help="images with features")
    arguments.add_argument("--only", nargs="+", choices=OPERATIONS)
    arguments.add_argument("--operation", choices=OPERATIONS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.operation:
        operate(options.operation)
        return
    rows: list[dict[str, Any]] = []
    for row in measure(options):
        rows.append(row)
        print_row(row, rows)
    print_json(options, rows)


if __name__ == "__main__":
    main()
