"""The way to CVAT and back: seconds per phase, images per second, and memory per task.

    python benchmarks/annotation.py --images 2000 500
    python benchmarks/annotation.py --images 2000 --overlay

The server is the tests' double of CVAT (as 2.54.1 unless `--cvat` says otherwise) in a process of its
own, which answers at once and decodes no image: these are the times of our side, and its processor
seconds, which other work on the machine does not change. Each number of images has a process of its own too,
so that its peak memory is its own. The database is a throw-away one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from shared import Clock, parser, peak_mb, print_json, write_images

from unseen.dataset.throwaway import ThrowawayDatabase

DOUBLES = Path(__file__).resolve().parents[1] / "tests" / "doubles"
CLASSES = ("particle", "scratch", "stain")


class Watch:
    """Listens to a step: seconds per stage, and this process's memory after each task."""

    def __init__(self, task_size: int) -> None:
        import psutil

        self._process = psutil.Process()
        self._task_size = task_size
        self._stage, self._clock = "connect", Clock()
        self._images = 0
        self.seconds: dict[str, float] = {}
        self.megabytes: list[int] = []

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

    def stop(self) -> float:
        """Close the last stage; returns the seconds of all."""
        self._enter("")
        return sum(self.seconds.values())

    def _enter(self, stage: str) -> None:
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + self._clock.lap()
        self._stage = stage

    def _sample(self) -> None:
        self.megabytes.append(round(self._process.memory_info().rss / 2**20))


class Server:
    """The double of CVAT in a child process, and the annotators who work in it."""

    def __init__(self, version: str) -> None:
        command = [sys.executable, __file__, "--serve", "--cvat", version]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._child = subprocess.Popen(command, text=True, **pipes)
        self.settings = json.loads(self._child.stdout.readline())

    def label(self, boxes: int) -> int:
        """Let annotators draw so many boxes per image and complete every job; boxes drawn."""
        print(boxes, file=self._child.stdin, flush=True)
        return int(self._child.stdout.readline())

    def stop(self) -> None:
        """End the child process."""
        self._child.kill()
        self._child.wait()


def serve(version: str) -> None:
    """Be the server: print how to reach it, then label whenever a line with a number comes."""
    sys.path.insert(0, str(DOUBLES))
    from cvat_double import CvatDouble

    with CvatDouble(version) as cvat:
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

    import unseen
    from unseen.dataset import writing
    from unseen.dataset.loop import Loop

    write_images(folder, count, kind="bare", size=size, different=100)
    dataset = fo.Dataset()
    loop = Loop(dataset)
    heat = np.zeros((96, 96), dtype=np.uint8)
    heat[10:30, 10:30] = 200
    writing.declare_detections(loop, loop.names.regions, "Unseen regions")
    samples = []
    for path in sorted(folder.glob("*.png")):
        sample = fo.Sample(filepath=str(path))
        boxes = ([0.1, 0.1, 0.2, 0.2], [0.6, 0.55, 0.25, 0.3])
        regions = [fo.Detection(label="unseen", bounding_box=box) for box in boxes]
        sample[loop.names.regions] = fo.Detections(detections=regions)
        if overlay:
            sample[loop.names.heatmap] = fo.Heatmap(map=heat)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    unseen.split_dataset(dataset, initial=1, test_count=0)
    dataset.untag_samples("initial")  # every image shall be in the batch
    unseen.select_batch(dataset, budget=count, strategy="sequential")
    return dataset


def measure(options: argparse.Namespace, count: int, server: Server) -> dict[str, Any]:
    """Send one batch, let it be labelled, load it twice."""
    import unseen

    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(count, Path(folder), options.size, options.overlay)
        before = peak_mb()
        cpu = [time.process_time()]
        common = {"classes": CLASSES, "overlay": options.overlay, "task_size": options.task_size}
        sending = Watch(options.task_size)
        sent = unseen.request_annotations(dataset, progress=sending, **common)
        send_seconds = sending.stop()
        cpu.append(time.process_time())
        drawn = server.label(options.boxes)
        cpu.append(time.process_time())
        loading = Watch(options.task_size)
        loaded = unseen.load_annotations(dataset, progress=loading)
        load_seconds = loading.stop()
        cpu.append(time.process_time())
        again = Watch(options.task_size)
        unchanged = unseen.load_annotations(dataset, progress=again)
        again_seconds = again.stop()
    # Times of something that did not happen would be worth nothing.
    if (sent.sent, loaded.labelled, unchanged.written) != (count, count, 0):
        raise SystemExit(f"{count} images were not sent, loaded and left: {sent} {loaded}")
    if sum(loaded.added.values()) != drawn:
        raise SystemExit(f"{drawn} boxes drawn, loaded: {loaded.added}")
    return {
        "images": count,
        "tasks": -(-count // options.task_size),
        "boxes": drawn,
        "send_seconds": round(send_seconds, 1),
        "send_stages": {stage: round(s, 2) for stage, s in sending.seconds.items()},
        "send_cpu_seconds": round(cpu[1] - cpu[0], 2),
        "load_cpu_seconds": round(cpu[3] - cpu[2], 2),
        "send_images_per_second": round(count / send_seconds, 1),
        "send_mb_per_task": sending.megabytes,
        "load_seconds": round(load_seconds, 1),
        "load_images_per_second": round(count / load_seconds, 1),
        "load_mb_per_task": loading.megabytes,
        "load_again_seconds": round(again_seconds, 1),
        "peak_mb_before": round(before),
        "peak_mb": round(peak_mb()),
    }


def report(row: dict[str, Any]) -> None:
    """One block of the table."""
    stages = ", ".join(f"{name} {s:.1f} s" for name, s in row["send_stages"].items() if s >= 0.05)
    sent, loaded = row["send_mb_per_task"], row["load_mb_per_task"]
    print(
        f"{row['images']} images in {row['tasks']} tasks, {row['boxes']} boxes drawn\n"
        f"  send        {row['send_seconds']:7.1f} s {row['send_images_per_second']:7.1f} images/s"
        f"   {row['send_cpu_seconds']:.1f} s of processor   ({stages})\n"
        f"  load        {row['load_seconds']:7.1f} s {row['load_images_per_second']:7.1f} images/s"
        f"   {row['load_cpu_seconds']:.1f} s of processor\n"
        f"  load again  {row['load_again_seconds']:7.1f} s\n"
        f"  memory      {sent[0]} MB after the first task, {sent[-1]} MB after the last; after "
        f"loading {loaded[-1]} MB; peak {row['peak_mb']} MB (before sending "
        f"{row['peak_mb_before']} MB)",
        flush=True,
    )


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, nargs="+", default=[2000, 500], help="of batches")
    arguments.add_argument("--task-size", type=int, default=100, help="images per task")
    arguments.add_argument("--size", type=int, default=256, help="side of the images, px")
    arguments.add_argument("--boxes", type=int, default=3, help="drawn per image")
    arguments.add_argument("--overlay", action="store_true", help="send copies with the heatmap")
    arguments.add_argument("--cvat", default="2.54.1", help="version that the double answers as")
    arguments.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.serve:
        serve(options.cvat)
        return
    if options.one:
        one(options)
        return
    rows = []
    for count in options.images:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", str(count)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(run.stdout.splitlines()[-1]))
        report(rows[-1])
    print_json(options, rows)


def one(options: argparse.Namespace) -> None:
    """Measure one batch in this process; its last line is for the caller."""
    server = Server(options.cvat)
    try:
        with ThrowawayDatabase():
            os.environ.update(server.settings)
            print(json.dumps(measure(options, options.one, server)))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
