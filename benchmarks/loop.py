"""The whole product loop over several seeds: is the detector better for the ranking?

    python benchmarks/loop.py --kind bare --seeds 0 1 2 --strategies diverse sequential random
    python benchmarks/loop.py --data FOLDER --seeds 51

Runs `simulate` on a throw-away database, then trains and evaluates one detector on the 30 images of
each strategy: every image is a file, every label goes through FiftyOne. With --data the seed changes the
training only; synthetic wafers are generated anew for each seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from unseen.results import EvaluateResult
from unseen.throwaway import ThrowawayDatabase


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["bare", "device"], default="bare")
    parser.add_argument("--data", type=Path, help="COCO folder, instead of synthetic wafers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--strategies", nargs="+", default=["diverse", "sequential"])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--detector-steps", type=int)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with ThrowawayDatabase():
        print(json.dumps(measure(args)))


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Final mean F1 and labelled boxes per class, per strategy and seed."""
    import torch

    torch.set_num_threads(args.threads)
    import unseen
    from unseen.dataset.coco_folder import import_coco_folder
    from unseen.synthetic.dataset import write_coco_folder

    f1: dict[str, list[float]] = defaultdict(list)
    per_class: dict[str, list[dict[str, float]]] = defaultdict(list)
    boxes: dict[str, list[dict[str, int]]] = defaultdict(list)
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            data = args.data
            if data is None:
                data = Path(folder) / "wafers"
                write_coco_folder(data, args.kind, seed=seed)
            name = import_coco_folder(data, f"loop-{seed}").dataset
            models = f"{folder}/models"
            result = unseen.simulate(
                name,
                strategies=tuple(args.strategies),
                detector=False,
                seed=seed,
                model_dir=models,
            )
            for row in result.iterations:
                if row.iteration < 2:
                    continue
                found = detector_on(name, row.series, row.strategy, args, seed, models)
                f1[row.strategy].append(found.macro_f1)
                per_class[row.strategy].append({k: m.f1 for k, m in found.per_class.items()})
                boxes[row.strategy].append(row.class_counts)
                classes = ", ".join(f"{k} {m.f1:.2f}" for k, m in found.per_class.items())
                counts = ", ".join(f"{k} {n}" for k, n in row.class_counts.items())
                print(
                    f"seed {seed} {row.strategy:<11} mean F1 {found.macro_f1:.3f} ({classes}); "
                    f"labelled: {counts}",
                    flush=True,
                )
    print(f"{'strategy':<12} mean F1 with 30 images, mean +- sd over {len(args.seeds)} seeds")
    for strategy, values in f1.items():
        print(f"{strategy:<12} {np.mean(values):.3f} +- {np.std(values):.3f}")
    return {"f1": dict(f1), "per_class": dict(per_class), "boxes": dict(boxes)}


def detector_on(
    name: str, series: str, strategy: str, args: argparse.Namespace, seed: int, models: str
) -> EvaluateResult:
    """Train and evaluate a detector on what one strategy had labelled at the end."""
    import fiftyone as fo

    import unseen
    from unseen.dataset import iterations
    from unseen.dataset.fields import Names

    dataset = fo.load_dataset(name)
    record = iterations.read_records(dataset, Names(series=series))[2]
    place = {"series": f"final_{strategy}", "label_field": "hidden_truth", "model_dir": models}
    unseen.train_detector(
        dataset.select(record["labelled_ids"]),
        epochs=args.epochs,
        steps=args.detector_steps,
        seed=seed,
        **place,
    )
    unseen.apply_detector(dataset, **place)
    return unseen.evaluate_detector(dataset, **place)


if __name__ == "__main__":
    main()
