"""How long the database takes: writing scores, selecting a batch, evaluating a detector.

    python benchmarks/database.py --write 10000 --pool 100000
    python benchmarks/database.py --evaluate 5000   # images with about seven boxes each

Every scored sample holds what real scoring leaves. The database is a throw-away one.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import psutil
from shared import Clock, fake_scores, parser, print_json, save_fake_scores

from unseen.arrays.packed import packed
from unseen.dataset.throwaway import ThrowawayDatabase

STRATEGIES = ("diverse", "mixed", "plain", "balanced", "entropy", "random", "sequential")


def label_some(dataset: Any, names: Any, labelled: int = 30) -> None:
    """Add labelled images outside the pool; those of the second half show a new and rare class."""
    import fiftyone as fo

    samples = []
    for i in range(labelled):
        is_initial = i < labelled // 2
        boxes = 10 * [fo.Detection(label="a", bounding_box=[0.1, 0.1, 0.1, 0.1])]
        if not is_initial:
            boxes[0] = fo.Detection(label="c", bounding_box=[0.4, 0.4, 0.1, 0.1])
        tags = [names.initial_tag] if is_initial else []
        sample = fo.Sample(filepath=f"/images/labelled-{i:03d}.png", tags=tags)
        sample[names.label_field] = fo.Detections(detections=boxes)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)


def cpu_seconds() -> tuple[float, float]:
    """Of this process and of its server."""
    (server,) = psutil.Process().children()
    return time.process_time(), sum(server.cpu_times()[:2])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Seconds per operation."""
    import fiftyone as fo

    import unseen
    from unseen.dataset import writing
    from unseen.dataset.loop import Loop

    rng = np.random.default_rng(0)
    dataset = fo.Dataset("benchmark")
    samples = [fo.Sample(filepath=f"/images/{i:07d}.png") for i in range(options.pool)]
    dataset.add_samples(samples, progress=False)
    del samples  # reloading a dataset reads every sample again that is still held
    ids = dataset.values("id")
    loop = Loop(dataset)
    label_some(dataset, loop.names)
    mark = "0" * 12
    writing.declare_score_fields(loop)
    excess, texture = rng.gamma(2, size=options.pool), rng.lognormal(2, 0.5, size=options.pool)
    texture[:: max(1, options.pool // 200)] *= 20  # outliers
    scores = fake_scores(options.heatmap_size, mark)
    if options.packed:  # as they come from the workers of a cluster
        for score in scores:
            score |= {name: packed(score[name]) for name in ("heatmap", "embedding")}
    result: dict[str, float] = {}
    for part in (slice(options.write), slice(options.write, None)):
        clock, before = Clock(), cpu_seconds()
        numbers = {"excess": excess[part], "texture": texture[part]}
        save_fake_scores(loop, ids[part], scores, numbers)
        worked = [after - start for after, start in zip(cpu_seconds(), before, strict=True)]
        if "write_seconds" not in result:
            result |= {"write_seconds": round(clock.lap(), 2)}
            result |= {"write_cpu": round(worked[0], 2), "write_mongodb_cpu": round(worked[1], 2)}
    print(
        f"writing {options.write} samples: {result['write_seconds']:.1f} s (goal 15), of CPU "
        f"{result['write_cpu']:.2f} s, MongoDB's {result['write_mongodb_cpu']:.2f} s"
    )
    classes = ["a", "b", "c"]
    entry = {"digest": mark, "classes": classes, "parameters": {}, "thresholds": {"metric": 0.0}}
    loop.write_entry(0, "score_samples", entry)
    loop.write_entry(0, "train_unet", {"digest": mark})
    for strategy in STRATEGIES:
        clock = Clock()
        unseen.select_batch(dataset, budget=100, strategy=strategy, replace=True)
        seconds = result[f"select_{strategy}_seconds"] = round(clock.lap(), 2)
        print(f"select_batch ({strategy}) over {options.pool} samples: {seconds:.2f} s (goal 3)")
    return result


def evaluate(images: int) -> dict[str, float]:
    """Processor seconds, with the server's, of an evaluation, its reading and matching, and FiftyOne's."""
    import fiftyone as fo

    import unseen
    from unseen.dataset import writing
    from unseen.dataset.loop import Loop
    from unseen.dataset.matching import match
    from unseen.steps.evaluate_detector.run import evaluate_detector  # noqa: F401 - loaded before

    rng = np.random.default_rng(0)
    loop = Loop(fo.Dataset("evaluated"))
    truths, predictions = {}, {}
    samples = [
        fo.Sample(filepath=f"/images/{i:07d}.png", tags=[loop.names.test_tag])
        for i in range(images)
    ]
    for i in loop.dataset.add_samples(samples, progress=False):
        count = int(rng.poisson(7.2))
        boxes = np.hstack([rng.uniform(0, 0.8, (count, 2)), rng.uniform(0.05, 0.2, (count, 2))])
        found = (boxes + rng.normal(0, 0.01, boxes.shape)).clip(0.001, 1)
        labels = rng.choice([*"abcdef"], count).tolist()
        truths[i] = [(label, box, None) for label, box in zip(labels, boxes, strict=True)]
        scores = rng.random(count)
        predictions[i] = list(zip(labels, found, scores, strict=True))
    del samples  # reloading a dataset reads every sample again that is still held
    field = loop.names.predictions(0)
    for name, values in ((loop.names.label_field, truths), (field, predictions)):
        writing.declare_detections(loop, name, "made up")
        writing.save_detections(loop.dataset, name, values)
    for step in ("train_detector", "apply_detector"):
        loop.write_entry(0, step, {"classes": [*"abcdef"], "parameters": {}})
    result: dict[str, float] = {"images": images, "boxes": sum(map(len, truths.values()))}
    options = {"gt_field": loop.names.label_field, "eval_key": "fiftyone", "progress": False}
    for name, call in (
        ("match", lambda: match(loop, field, [], iou=0.5)),
        ("evaluate_detector", lambda: unseen.evaluate_detector(loop.dataset)),
        ("fiftyone", lambda: loop.dataset.evaluate_detections(field, **options)),
    ):
        before = cpu_seconds()
        call()
        own, server = (now - start for now, start in zip(cpu_seconds(), before, strict=True))
        result |= {f"{name}_cpu": round(own, 2), f"{name}_mongodb_cpu": round(server, 2)}
        print(f"{name}: {own:.2f} s of CPU, MongoDB's {server:.2f} s")
    return result


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--write", type=int, default=10_000, help="samples to write scores for")
    arguments.add_argument("--pool", type=int, default=100_000, help="samples to select from")
    text = "arrays are packed already, as by the workers of a cluster"
    arguments.add_argument("--packed", action="store_true", help=text)
    arguments.add_argument("--heatmap-size", type=int, default=96, help="px")
    arguments.add_argument("--evaluate", type=int, help="images to evaluate, instead")
    options = arguments.parse_args()
    with ThrowawayDatabase():
        print_json(options, evaluate(options.evaluate) if options.evaluate else measure(options))


if __name__ == "__main__":
    main()
