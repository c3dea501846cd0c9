"""Scoring end to end against the bare forward pass, one whole iteration, and peak memory.

    python benchmarks/scoring.py --images 200 --threads 1 --repeat 3
    python benchmarks/scoring.py --memory 200 2000

Compare the ratio, not the times: both are measured in turn in the same process.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared import Clock, parser, peak_mb, print_json, write_images

from unseen.dataset.throwaway import ThrowawayDatabase

LABELLED = 10


def make_dataset(count: int, folder: Path, kind: str) -> Any:
    """A pool of `count` synthetic wafers, a hundred of them different, and ten labelled ones."""
    import fiftyone as fo

    from unseen.arrays.boxes import xyxy_to_rel_xywh

    images = write_images(folder, count + LABELLED, kind=kind, size=256, different=100 + LABELLED)
    samples = [fo.Sample(filepath=str(path)) for path in sorted(folder.glob("*.png"))]
    for sample, image in zip(samples[:LABELLED], images, strict=False):
        boxes = xyxy_to_rel_xywh(image.xyxy, *image.pixels.shape[::-1]).tolist()
        detections = [
            fo.Detection(label=label, bounding_box=box)
            for label, box in zip(image.labels, boxes, strict=True)
        ]
        sample["ground_truth"] = fo.Detections(detections=detections)
    dataset = fo.Dataset()
    dataset.add_samples(samples, progress=False)
    return dataset


def bare_forward(scorer: Any, images: int, batch_size: int) -> float:
    """Images per second of the network alone, on a batch that is in memory already."""
    import torch

    from unseen.arrays.devices import autocast

    model, device = scorer._model, scorer.device
    batch = torch.rand(batch_size, model.spec.in_channels, 256, 256, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast("auto", device):
        for _ in range(2):
            model(batch)
        clock = Clock()
        for _ in range(max(1, images // batch_size)):
            model(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return images // batch_size * batch_size / clock.lap()


def speed(options: argparse.Namespace) -> dict[str, float]:
    """Images per second, end to end and of the network alone."""
    import torch

    import unseen
    from unseen.ranking.scorer import Scorer
    from unseen.steps.score_samples import ScoreConfig

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(options.images, Path(folder), options.kind)
        clock = Clock()
        trained = unseen.train_unet(dataset)
        first = unseen.score_samples(dataset)
        unseen.select_batch(dataset)
        iteration = clock.lap()
        print(
            f"one iteration ({options.threads} threads): {iteration:.1f} s (goal 60); training "
            f"{trained.seconds:.1f} s, scoring {first.seconds:.1f} s"
        )
        scorer = Scorer(trained.checkpoint, ScoreConfig(batch_size=options.batch_size))
        bare, whole = [], []
        for _ in range(options.repeat):
            bare.append(bare_forward(scorer, options.images, options.batch_size))
            result = unseen.score_samples(dataset, rescore=True, batch_size=options.batch_size)
            whole.append(result.scored / result.seconds)
            print(
                f"bare forward {bare[-1]:.1f} images/s, end to end {whole[-1]:.1f} images/s, "
                f"ratio {whole[-1] / bare[-1]:.2f} (goal 0.8)"
            )
    return {
        "iteration_seconds": round(iteration, 1),
        "bare_images_per_second": round(statistics.median(bare), 1),
        "images_per_second": round(statistics.median(whole), 1),
        "ratio": round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3),
    }


def memory(counts: list[int]) -> dict[str, Any]:
    """Peak memory of one process per pool size."""
    peaks = []
    for count in counts:
        command = [sys.executable, __file__, "--peak", str(count)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks.append(float(run.stdout.strip().splitlines()[-1]))
        print(f"pool of {count}: peak memory {peaks[-1]:.0f} MB")
    growth = peaks[-1] / peaks[0] - 1
    print(f"{counts[-1] / counts[0]:g} x the images: {100 * growth:+.1f} % memory (goal under 10)")
    return {"peak_mb": peaks, "growth": round(growth, 3)}


def peak(count: int) -> None:
    """Score a pool and print this process's peak memory in MB."""
    import unseen

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(count, Path(folder), "bare")
        unseen.train_unet(dataset, steps=30)
        unseen.score_samples(dataset)
    print(peak_mb())


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=200)
    arguments.add_argument("--kind", choices=["bare", "device"], default="bare")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--batch-size", type=int, default=8)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--memory", type=int, nargs="+", help="pool sizes, instead of speeds")
    arguments.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.memory:
        print_json(options, memory(options.memory))
        return
    with ThrowawayDatabase():
        if options.peak:
            peak(options.peak)
        else:
            print_json(options, speed(options))


if __name__ == "__main__":
    main()
