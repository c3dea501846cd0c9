"""Scoring end to end against the bare forward pass, one whole iteration, peak memory, busy machines.

    python benchmarks/scoring.py --images 200 --threads 1 --repeat 3
    python benchmarks/scoring.py --memory 200 2000
    python benchmarks/scoring.py --images 100 --busy 0 1 2   # beside so many busy processes
    python benchmarks/scoring.py --former ../former/src      # in turns with another version
    python benchmarks/scoring.py --avx2   # in turns with what a processor without AVX-512 would do

Compare the ratios, not the times: what is compared is measured in turn. CPU seconds are those of all
threads, so that they tell the work, and not how much of it a second core hides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from shared import Clock, parser, peak_mb, print_json, print_row, write_images

from unseen.dataset.throwaway import ThrowawayDatabase

LABELLED = 10

CORES = str(os.cpu_count())
#: How threads are chosen and wait: as the user says, or as `unseen.arrays.cores` does.
WAYS = {
    "one": {"OMP_NUM_THREADS": "1"},
    "all": {"OMP_NUM_THREADS": CORES},
    "asleep": {"OMP_NUM_THREADS": CORES, "OMP_WAIT_POLICY": "PASSIVE"},
    "free": {},
}


def make_dataset(count: int, folder: Path, kind: str, *, jpeg: bool = False) -> Any:
    """A pool of `count` synthetic wafers, a hundred of them different, and ten labelled ones.

    Grey PNG, or JPEG in colour.
    """
    import fiftyone as fo

    from unseen.arrays.boxes import xyxy_to_rel_xywh

    images = write_images(folder, count + LABELLED, kind=kind, size=256, different=100 + LABELLED)
    paths = sorted(folder.glob("*.png"))
    if jpeg:
        paths = [_as_jpeg(path) for path in paths]
    samples = [fo.Sample(filepath=str(path)) for path in paths]
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


def _as_jpeg(path: Path) -> Path:
    with Image.open(path) as image:
        image.convert("RGB").save(path.with_suffix(".jpg"), quality=90)
    return path.with_suffix(".jpg")


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
        _wait_for(device)
        clock = Clock()
        count = max(1, images // batch_size)
        for _ in range(count):
            model(batch)
        _wait_for(device)
    return count * batch_size / clock.lap()


def _wait_for(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def speed(options: argparse.Namespace) -> dict[str, float]:
    """Images per second, end to end and of the network alone."""
    import torch

    import unseen
    from unseen.ranking.scorer import Scorer
    from unseen.steps.score_samples import ScoreConfig

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(options.images, Path(folder), options.kind, jpeg=options.jpeg)
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
        bare, whole, work = [], [], []
        for _ in range(options.repeat):
            start = time.process_time()
            bare.append(bare_forward(scorer, options.images, options.batch_size))
            middle = time.process_time()
            result = unseen.score_samples(dataset, rescore=True, batch_size=options.batch_size)
            whole.append(result.scored / result.seconds)
            work.append((middle - start) / (time.process_time() - middle))
            print(
                f"bare forward {bare[-1]:.1f} images/s, end to end {whole[-1]:.1f} images/s, "
                f"ratio {whole[-1] / bare[-1]:.2f} (goal 0.95); of CPU seconds {work[-1]:.2f}"
            )
    return {
        "iteration_seconds": round(iteration, 1),
        "bare_images_per_second": round(statistics.median(bare), 1),
        "images_per_second": round(statistics.median(whole), 1),
        "ratio": round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3),
        "cpu_ratio": round(statistics.median(work), 3),
    }


def memory(counts: list[int], *, embeddings: bool) -> dict[str, Any]:
    """Peak memory of one process per pool size."""
    peaks = []
    for count in counts:
        command = [sys.executable, __file__, "--peak", str(count)]
        command += ["--embeddings"] if embeddings else []
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks.append(float(run.stdout.strip().splitlines()[-1]))
        print(f"pool of {count}: peak memory {peaks[-1]:.0f} MB")
    growth = peaks[-1] / peaks[0] - 1
    print(f"{counts[-1] / counts[0]:g} x the images: {100 * growth:+.1f} % memory (goal under 10)")
    return {"peak_mb": peaks, "growth": round(growth, 3)}


def in_turns(
    options: argparse.Namespace, ways: dict[str, dict[str, str]], *, busy: Sequence[int] = (0,)
) -> list[dict[str, Any]]:
    """Pace of training and scoring beside busy processes, as a multiple of the first way's."""
    free = {name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GO"))}
    command = [sys.executable, __file__, "--images", str(options.images), "--work"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = {
        way: subprocess.Popen(command, env={**free, **chosen}, **pipes)
        for way, chosen in ways.items()
    }

    def seconds(worker: Any) -> np.ndarray:
        print("go", file=worker.stdin, flush=True)
        for line in worker.stdout:
            if line.startswith("seconds "):
                return np.asarray(line.split()[1:], float)
        raise SystemExit("a worker ended; its error stands above")

    for worker in workers.values():
        seconds(worker)
    rows = []
    for count in busy:
        others = [subprocess.Popen([sys.executable, "-c", "while 1: 0"]) for _ in range(count)]
        rounds = [[seconds(worker) for worker in workers.values()] for _ in range(options.repeat)]
        for other in others:
            other.kill()
            other.wait()
        ratios = np.median([turn[0] / turn for turn in rounds], axis=0)
        for way, values in zip(ways, ratios, strict=True):
            names = ("train", "score", "train CPU", "score CPU")
            rows.append({"busy": count, "threads": way, **dict(zip(names, values, strict=True))})
            print_row(rows[-1], rows)
    for worker in workers.values():
        worker.communicate()
    return rows


def work(images: int) -> None:
    """For each line read, train for 40 steps, score, and print the seconds of both, also of CPU."""
    import unseen

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(images, Path(folder), "bare")
        for _ in sys.stdin:
            clock = [time.process_time()]
            seconds = [unseen.train_unet(dataset, steps=40).seconds]
            clock.append(time.process_time())
            seconds.append(unseen.score_samples(dataset, rescore=True).seconds)
            clock.append(time.process_time())
            print("seconds", *seconds, *np.diff(clock), flush=True)


def peak(count: int, *, embeddings: bool) -> None:
    """Score a pool and print this process's peak memory in MB."""
    import unseen

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(count, Path(folder), "bare")
        unseen.train_unet(dataset, steps=30)
        unseen.score_samples(dataset, embeddings=embeddings)
    print(peak_mb())


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=200)
    arguments.add_argument("--kind", choices=["bare", "device"], default="bare")
    arguments.add_argument("--jpeg", action="store_true", help="JPEG in colour, not grey PNG")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--batch-size", type=int, default=8)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--memory", type=int, nargs="+", help="pool sizes, instead of speeds")
    text = "with --memory: also FiftyOne Brain's runs, which hold all vectors at once"
    arguments.add_argument("--embeddings", action="store_true", help=text)
    arguments.add_argument("--busy", type=int, nargs="+", help="busy processes, instead of speeds")
    arguments.add_argument("--former", help="sources of another version to compare with")
    arguments.add_argument("--avx2", action="store_true", help="compare with older instructions")
    arguments.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.memory:
        print_json(options, memory(options.memory, embeddings=options.embeddings))
        return
    if options.work:
        work(options.images)
        return
    with ThrowawayDatabase():
        if options.busy:
            print_json(options, in_turns(options, WAYS, busy=options.busy))
        elif options.former or options.avx2:
            one = {"OMP_NUM_THREADS": str(options.threads)}
            ways = {"former": {**one, "PYTHONPATH": options.former}} if options.former else {}
            ways["now"] = one
            if options.avx2:
                ways["avx2"] = {**one, "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
            print_json(options, in_turns(options, ways))
        elif options.peak:
            peak(options.peak, embeddings=options.embeddings)
        else:
            print_json(options, speed(options))


if __name__ == "__main__":
    main()
