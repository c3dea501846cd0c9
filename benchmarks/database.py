"""How long the database takes: writing scores, selecting a batch.

    python benchmarks/database.py --write 10000 --pool 100000

Every scored sample holds what real scoring leaves: numbers, a vector, a heatmap of blobs on zero
and its regions. The database is a throw-away one.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from unseen.dataset.loop import Loop
from unseen.dataset.throwaway import ThrowawayDatabase
from unseen.ranking import METRICS


def fake_score(rng: np.random.Generator, size: int, mark: str) -> dict[str, object]:
    """One score as `score_samples` stores it."""
    heat = np.zeros((size, size), dtype=np.uint8)
    regions = []
    for _ in range(int(rng.integers(3, 20))):
        x, y = rng.integers(0, size - 8, 2)
        w, h = rng.integers(3, 8, 2)
        heat[y : y + h, x : x + w] = rng.integers(13, 255, (h, w))
        regions.append((x / size, y / size, w / size, h / size, float(rng.random())))
    names = (*METRICS, "entropy", "foreground", "texture")
    metrics = {name: float(rng.gamma(2)) for name in names}
    return {
        **metrics,
        "model": mark,
        "expected_counts": rng.gamma(1, size=4).tolist(),
        "embedding": rng.normal(size=128).astype(np.float32),
        "heatmap": heat,
        "regions": regions,
    }


def label_some(dataset, names, labelled: int = 30) -> None:
    """Add labelled images outside the pool; those of the second half show a new and rare class."""
    import fiftyone as fo

    samples = []
    for i in range(labelled):
        is_initial = i < labelled // 2
        boxes = 10 * [fo.Detection(label="a", bounding_box=[0.1, 0.1, 0.1, 0.1])]
        if not is_initial:
            boxes[0] = fo.Detection(label="c", bounding_box=[0.4, 0.4, 0.1, 0.1])
        sample = fo.Sample(
            filepath=f"/images/labelled-{i:03d}.png",
            tags=[names.initial_tag] if is_initial else [],
        )
        sample[names.label_field] = fo.Detections(detections=boxes)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=int, default=10_000, help="samples to write scores for")
    parser.add_argument("--pool", type=int, default=100_000, help="scored samples to select from")
    parser.add_argument("--heatmap-size", type=int, default=96, help="px")
    args = parser.parse_args()
    with ThrowawayDatabase():
        result = measure(args)
    print(json.dumps(result))


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds per operation."""
    import fiftyone as fo

    import unseen
    from unseen.dataset import writing
    from unseen.dataset.fields import Names

    rng = np.random.default_rng(0)
    dataset = fo.Dataset("benchmark")
    dataset.add_samples(
        [fo.Sample(filepath=f"/images/{i:07d}.png") for i in range(args.pool)], progress=False
    )
    ids = dataset.values("id")
    names = Names()
    label_some(dataset, names)
    mark = "0" * 12
    writing.declare_score_fields(Loop(dataset, names))
    # Scores repeat after some hundred: making them must not take longer than writing them.
    scores = [fake_score(rng, args.heatmap_size, mark) for _ in range(512)]
    excess, texture = rng.gamma(2, size=args.pool), rng.lognormal(2, 0.5, size=args.pool)
    texture[:: args.pool // 200] *= 20  # what stands out

    def write(start: int, stop: int) -> None:
        for begin in range(start, stop, 256):
            chunk = {
                ids[i]: {
                    **scores[i % 512],
                    "excess": float(excess[i]),
                    "texture": float(texture[i]),
                }
                for i in range(begin, min(begin + 256, stop))
            }
            writing.save_scores(Loop(dataset, names), chunk)

    result: dict[str, float] = {}
    began = time.perf_counter()
    write(0, args.write)
    result["write_seconds"] = round(time.perf_counter() - began, 2)
    result["write_samples"] = args.write
    print(f"writing {args.write} samples with heatmaps: {result['write_seconds']:.1f} s (goal 15)")
    write(args.write, args.pool)
    entry = {
        "digest": mark,
        "classes": ["a", "b", "c"],
        "parameters": {},
        "thresholds": {"metric": 0.0},
    }
    Loop(dataset, names).write_entry(0, "score_samples", entry)
    Loop(dataset, names).write_entry(0, "train_unet", {"digest": mark})

    for strategy in ("diverse", "mixed", "plain", "balanced", "entropy", "random", "sequential"):
        began = time.perf_counter()
        unseen.select_batch(dataset, budget=100, strategy=strategy, replace=True)
        seconds = round(time.perf_counter() - began, 2)
        result[f"select_{strategy}_seconds"] = seconds
        print(f"select_batch ({strategy}) over {args.pool} samples: {seconds:.2f} s (goal 3)")
    return result


if __name__ == "__main__":
    main()
