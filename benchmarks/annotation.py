"""The way to CVAT and back: seconds per phase, images per second, and memory per task.

    python benchmarks/annotation.py --images 2000 500
    python benchmarks/annotation.py --images 2000 --overlay --profile

The server is the tests' double of CVAT in a process of its own, which answers at once and decodes
no image: these are the times of our side. Each number of images has a process of its own too,
so that its peak memory is its own. The database is a throw-away one.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unseen.dataset.loop import Loop
from unseen.dataset.throwaway import ThrowawayDatabase

DOUBLES = Path(__file__).resolve().parents[1] / "tests" / "doubles"
CLASSES = ("particle", "scratch", "stain")
DIFFERENT = 100  #: images that are drawn; the rest are copies


class Watch:
    """Listens to a step: seconds per stage, and this process's memory after each task."""

    def __init__(self, task_size: int) -> None:
        import psutil

        self._process = psutil.Process()
        self._task_size = task_size
        self._stage, self._since = "connect", time.perf_counter()
        self._images = 0
        self.seconds: dict[str, float] = {}
        self.megabytes: list[float] = []

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """The progress of a step."""
        self._enter(label)
        if label == "send images":
            # Of each task 80 % are the upload, 10 % the wait for its jobs, the rest is what
            # comes after: boxes, guide, and writing it all down.
            size = min(self._task_size, total - self._images)
            share = (done - self._images) / size if size else 1.0
            if share >= 1 and size:
                self._images = int(done)
                self._sample()
            ready = 0.799 <= share < 1  # a little less: the numbers are rounded
            self._enter("write down" if 0.899 <= share < 1 else "jobs" if ready else "upload")
        elif label == "load annotations" and done:
            self._sample()

    def stop(self) -> dict[str, float]:
        """Seconds per stage."""
        self._enter("")
        return {stage: round(s, 2) for stage, s in self.seconds.items()}

    def _enter(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def _sample(self) -> None:
        self.megabytes.append(self._process.memory_info().rss / 2**20)


class Server:
    """The double of CVAT in a child process, and the annotators who work in it."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.settings = json.loads(self._read())
        print(f"the double of CVAT listens at {self.settings['FIFTYONE_CVAT_URL']}")

    def label(self, boxes: int) -> int:
        """Let annotators draw so many boxes per image and complete every job; boxes drawn."""
        assert self._child.stdin is not None
        print(boxes, file=self._child.stdin, flush=True)
        return int(self._read())

    def stop(self) -> None:
        """End the child process."""
        self._child.kill()
        self._child.wait()

    def _read(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline()


def serve() -> None:
    """Be the server: print how to reach it, then label whenever a line with a number comes."""
    sys.path.insert(0, str(DOUBLES))
    from cvat_double import CvatDouble

    with CvatDouble() as cvat:
        settings = {"URL": cvat.url, "USERNAME": cvat.username, "PASSWORD": cvat.password}
        print(json.dumps({f"FIFTYONE_CVAT_{k}": v for k, v in settings.items()}), flush=True)
        for line in sys.stdin:
            rng = np.random.default_rng(1)
            drawn = 0
            for job in list(cvat.jobs):
                person = cvat.annotator(job)
                for frame in person.job.frames:
                    for _ in range(int(line)):
                        x, y = (float(v) for v in rng.integers(0, 200, 2))
                        label = CLASSES[int(rng.integers(3))]
                        person.draw(frame, label, [x, y, x + 20, y + 16])
                        drawn += 1
                cvat.requests.clear()
                person.set(state="completed")
            print(drawn, flush=True)


def make_dataset(count: int, folder: Path, size: int, overlay: bool) -> Any:
    """A dataset with one batch of `count` images; two suggestions on each."""
    import fiftyone as fo
    from PIL import Image

    import unseen
    from unseen.benchmark.synthetic.dataset import generate
    from unseen.dataset import writing
    from unseen.dataset.fields import Names

    dataset, names = fo.Dataset(), Names()
    originals = []
    for i, image in enumerate(generate("bare", min(count, DIFFERENT), seed=7, size=size)):
        originals.append(folder / f"{i:06d}.png")
        Image.fromarray(image.pixels).save(originals[-1])
    paths = originals + [folder / f"{i:06d}.png" for i in range(len(originals), count)]
    for i, path in enumerate(paths[len(originals) :]):
        path.write_bytes(originals[i % len(originals)].read_bytes())
    heat = np.zeros((96, 96), dtype=np.uint8)
    heat[10:30, 10:30] = 200
    writing.declare_detections(Loop(dataset, names), names.regions, "Unseen regions")
    regions = ([0.1, 0.1, 0.2, 0.2], [0.6, 0.55, 0.25, 0.3])
    dataset.add_samples(
        (
            fo.Sample(
                filepath=str(path),
                **{
                    names.regions: fo.Detections(
                        detections=[
                            fo.Detection(label="unseen", bounding_box=box) for box in regions
                        ]
                    )
                },
                **({names.heatmap: fo.Heatmap(map=heat)} if overlay else {}),
            )
            for path in paths
        ),
        progress=False,
    )
    unseen.split_dataset(dataset, initial=1, test_count=0)
    dataset.untag_samples("initial")  # every image shall be in the batch
    unseen.select_batch(dataset, budget=count, strategy="sequential")
    return dataset


def measure(args: argparse.Namespace, count: int, server: Server) -> dict[str, Any]:
    """Send one batch, let it be labelled, load it."""
    import unseen

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(count, Path(folder), args.size, args.overlay)
        before = _peak()
        sent, sending = _timed(
            args, unseen.request_annotations, dataset, classes=CLASSES, overlay=args.overlay
        )
        drawn = server.label(args.boxes)
        loaded, loading = _timed(args, unseen.load_annotations, dataset)
        again, nothing = _timed(args, unseen.load_annotations, dataset)
        # Times of something that did not happen would be worth nothing.
        if (sent.sent, loaded.labelled, again.written) != (count, count, 0):
            raise SystemExit(f"{count} images were not sent, loaded and left: {sent} {loaded}")
        if sum(loaded.added.values()) != drawn:
            raise SystemExit(f"{drawn} boxes drawn, loaded: {loaded.added}")
    send_seconds, load_seconds = sum(sending["seconds"].values()), sum(loading["seconds"].values())
    return {
        "images": count,
        "tasks": -(-count // args.task_size),
        "boxes": drawn,
        "send_seconds": round(send_seconds, 1),
        "send_stages": sending["seconds"],
        "send_images_per_second": round(count / send_seconds, 1),
        "send_mb_first_last": sending["megabytes"],
        "load_seconds": round(load_seconds, 1),
        "load_images_per_second": round(count / load_seconds, 1),
        "load_mb_first_last": loading["megabytes"],
        "load_again_seconds": round(sum(nothing["seconds"].values()), 1),
        "peak_mb_before": round(before),
        "peak_mb": round(_peak()),
    }


def _timed(
    args: argparse.Namespace, step: Any, dataset: Any, **settings: Any
) -> tuple[Any, dict[str, Any]]:
    watch = Watch(args.task_size)
    if step.__name__ == "request_annotations":
        settings["task_size"] = args.task_size
    with _profiled(args.profile, step.__name__):
        result = step(dataset, progress=watch, **settings)
    found = watch.megabytes or [0.0]
    return result, {"seconds": watch.stop(), "megabytes": [round(found[0]), round(found[-1])]}


@contextlib.contextmanager
def _profiled(wanted: bool, name: str) -> Iterator[None]:
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    print(f"--- {name}")
    pstats.Stats(profile, stream=sys.stdout).sort_stats("cumulative").print_stats(30)


def _peak() -> float:
    """The most memory this process ever had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(row: dict[str, Any]) -> None:
    """One block of the table."""
    stages = ", ".join(f"{name} {s:.1f} s" for name, s in row["send_stages"].items() if s >= 0.05)
    first, last = row["send_mb_first_last"]
    print(
        f"{row['images']} images in {row['tasks']} tasks, {row['boxes']} boxes drawn\n"
        f"  send        {row['send_seconds']:7.1f} s {row['send_images_per_second']:7.1f} images/s"
        f"   ({stages})\n"
        f"  load        {row['load_seconds']:7.1f} s {row['load_images_per_second']:7.1f} images/s\n"
        f"  load again  {row['load_again_seconds']:7.1f} s\n"
        f"  memory      {first} MB after the first task, {last} MB after the last; after loading "
        f"{row['load_mb_first_last'][1]} MB; peak {row['peak_mb']} MB (before sending "
        f"{row['peak_mb_before']} MB)",
        flush=True,
    )


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 500], help="batch sizes")
    parser.add_argument("--task-size", type=int, default=100, help="images per task")
    parser.add_argument("--size", type=int, default=256, help="side of the images, px")
    parser.add_argument("--boxes", type=int, default=3, help="drawn per image")
    parser.add_argument("--overlay", action="store_true", help="send copies with the heatmap")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
    elif args.one:
        one(args)
    else:
        rows = []
        for count in args.images:
            given = [a for a in sys.argv[1:] if a in ("--overlay", "--profile")]
            for name in ("task_size", "size", "boxes"):
                given += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
            run = subprocess.run(
                [sys.executable, __file__, "--one", str(count), *given],
                stdout=subprocess.PIPE,
                text=True,
            )
            *told, row = run.stdout.splitlines() or [""]
            print("\n".join(told))
            if run.returncode:
                raise SystemExit(run.returncode)
            rows.append(json.loads(row))
            report(rows[-1])
        print(json.dumps(rows))


def one(args: argparse.Namespace) -> None:
    """Measure one batch in this process; its last line is for the caller."""
    server = Server()
    try:
        with ThrowawayDatabase():
            os.environ.update(server.settings)
            print(json.dumps(measure(args, args.one, server)))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
