"""What screening one image costs, in threads and in processes.

    python benchmarks/screening.py FOLDER

`ms` are those that the processor worked per image, `rate` images per second of the clock, which
other programs slow down. A pool of a million takes a million times as long: images are measured one
by one. Each row is the best of three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from shared import Clock, parser, print_json, print_row

from unseen.arrays.read_ahead import read_ahead
from unseen.steps.screen_images.run import _measure

measure = partial(_measure, value_range=None)


def in_threads(paths: Sequence[str], count: int) -> float:
    """CPU seconds with the reader of the step."""
    before = time.process_time()
    for _ in read_ahead(measure, paths, workers=count, ahead=2 * count):
        pass
    return time.process_time() - before


def one_by_one(paths: Sequence[str]) -> float:
    """CPU seconds without threads."""
    before = time.process_time()
    for path in paths:
        measure(path)
    return time.process_time() - before


def main() -> None:
    """Read the arguments and print the table and one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--images", type=int, default=240)
    options = arguments.parse_args()
    paths = [str(path) for path in sorted(options.folder.iterdir())[: options.images]]
    with ProcessPoolExecutor(2) as pool:
        ways: dict[str, Callable[[], float]] = {
            "1 thread": lambda: in_threads(paths, 1),
            "2 threads": lambda: in_threads(paths, 2),
            "2 processes": lambda: sum(pool.map(one_by_one, [paths[i::16] for i in range(16)])),
        }
        rows: list[dict[str, object]] = []
        for name, way in ways.items():
            way()
            took = []
            for _ in range(3):
                clock = Clock()
                cpu = way()
                took.append((cpu, clock.lap()))
            rows.append(
                {
                    "way": name,
                    "ms": 1000 * min(took)[0] / len(paths),
                    "rate": len(paths) / min(seconds for _, seconds in took),
                }
            )
            print_row(rows[-1], rows)
    print_json(options, rows)


if __name__ == "__main__":
    main()
