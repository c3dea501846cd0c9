"""Scoring end to end against the bare forward pass, one whole iteration, and peak memory.

    python benchmarks/scoring.py --images 200 --threads 1 --repeat 3
    python benchmarks/scoring.py --memory 200 2000

Compare the ratio, not the times: both are measured in turn in the same process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unseen.dataset.throwaway import ThrowawayDatabase


def make_dataset(count: int, folder: Path, kind: str, size: int):
    """Synthetic wafers, ten of them labelled; a hundred different images at most, then copies."""
    import fiftyone as fo
    from PIL import Image

    from unseen.benchmark.synthetic.dataset import generate

    dataset = fo.Dataset()
    samples = []
    for i, image in enumerate(generate(kind, min(count + 10, 110), seed=7, size=size)):
        path = folder / f"{i:06d}.png"
        Image.fromarray(image.pixels).save(path)
        height, width = image.pixels.shape[:2]
        detections = [
            fo.Detection(
                label=label,
                bounding_box=[x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
            )
            for label, (x1, y1, x2, y2) in zip(image.labels, image.xyxy.tolist(), strict=True)
        ]
        labels = fo.Detections(detections=detections) if i < 10 else None
        samples.append(fo.Sample(filepath=str(path), ground_truth=labels))
    originals = sorted(folder.glob("*.png"))[10:]
    for i in range(len(samples), count + 10):
        path = folder / f"{i:06d}.png"
        path.write_bytes(originals[i % len(originals)].read_bytes())
        samples.append(fo.Sample(filepath=str(path)))
    dataset.add_samples(samples, progress=False)
    return dataset


def bare_forward(scorer, images: int, batch_size: int, precision: str) -> float:
    """Images per second of the network alone, on a batch that is in memory already."""
    import torch

    from unseen.arrays.devices import autocast

    model, device = scorer._model, scorer.device
    side = 256
    batch = torch.rand(batch_size, model.spec.in_channels, side, side, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(precision, device):
        for _ in range(2):
            model(batch)
        began = time.perf_counter()
        for _ in range(max(1, images // batch_size)):
            model(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return images // batch_size * batch_size / (time.perf_counter() - began)


def speed(args: argparse.Namespace) -> dict[str, float]:
    """Images per second, end to end and of the network alone."""
    import torch

    torch.set_num_threads(args.threads)
    import unseen
    from unseen.ranking.scorer import Scorer
    from unseen.steps.score_samples import ScoreConfig

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(args.images, Path(folder), args.kind, 256)
        began = time.perf_counter()
        trained = unseen.train_unet(dataset)
        first = unseen.score_samples(dataset)
        unseen.select_batch(dataset)
        iteration = time.perf_counter() - began
        print(
            f"one iteration ({args.threads} threads): {iteration:.1f} s (goal 60); training "
            f"{trained.seconds:.1f} s, scoring {first.seconds:.1f} s"
        )
        scorer = Scorer(trained.checkpoint, ScoreConfig(batch_size=args.batch_size))
        ratios, bare, whole = [], [], []
        for _ in range(args.repeat):
            bare.append(bare_forward(scorer, args.images, args.batch_size, "auto"))
            result = unseen.score_samples(dataset, rescore=True, batch_size=args.batch_size)
            whole.append(result.scored / result.seconds)
            ratios.append(whole[-1] / bare[-1])
            print(
                f"bare forward {bare[-1]:.1f} images/s, end to end {whole[-1]:.1f} images/s, "
                f"ratio {ratios[-1]:.2f} (goal 0.8)"
            )
    return {
        "threads": args.threads,
        "images": args.images,
        "iteration_seconds": round(iteration, 1),
        "bare_images_per_second": round(statistics.median(bare), 1),
        "images_per_second": round(statistics.median(whole), 1),
        "ratio": round(statistics.median(ratios), 3),
    }


def memory(counts: list[int]) -> dict[str, float]:
    """Peak memory of one process per pool size."""
    peaks = {}
    for count in counts:
        run = subprocess.run(
            [sys.executable, __file__, "--peak", str(count)], capture_output=True, text=True
        )
        if run.returncode:
            raise SystemExit(run.stderr)
        peaks[count] = float(run.stdout.strip().splitlines()[-1])
        print(f"pool of {count}: peak memory {peaks[count]:.0f} MB")
    growth = peaks[counts[-1]] / peaks[counts[0]] - 1
    print(f"{counts[-1] / counts[0]:g} x the images: {100 * growth:+.1f} % memory (goal under 10)")
    return {"peak_mb": list(peaks.values()), "growth": round(growth, 3)}


def peak(count: int) -> None:
    """Score a pool and print this process's peak memory in MB."""
    import unseen

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(count, Path(folder), "bare", 256)
        unseen.train_unet(dataset, steps=30)
        unseen.score_samples(dataset)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kind", choices=["bare", "device"], default="bare")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="+", help="pool sizes, instead of speeds")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        print(json.dumps(memory(args.memory)))
        return
    with ThrowawayDatabase():
        if args.peak:
            peak(args.peak)
        else:
            print(json.dumps(speed(args)))


if __name__ == "__main__":
    main()
