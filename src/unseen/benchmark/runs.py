"""One run: one strategy, one seed, one case, from the initial images to the last batch."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unseen.benchmark import detectors
from unseen.benchmark.cases import Case, generated
from unseen.benchmark.choosing import Choice, Chooser
from unseen.benchmark.config import BenchmarkConfig, Strategy
from unseen.benchmark.files import write_json
from unseen.benchmark.pools import Pool, make_pool
from unseen.loop.curves import FULL


@dataclass(frozen=True)
class Run:
    """A run to do, and its files."""

    case: Case
    strategy: str  #: as the user wrote it
    seed: int  #: of the pool, the training and all choices
    folder: Path  #: of the whole benchmark

    @property
    def record(self) -> Path:
        """The result; it exists once the run is done."""
        name = _file_name(f"{self.case.name}-{self.strategy}-{self.seed}")
        return self.folder / "runs" / f"{name}.json"

    @property
    def cache(self) -> Path:
        """The folder of results that runs share."""
        return self.folder / "cache" / _file_name(self.case.name)


def execute(run: Run, config: BenchmarkConfig, command: str) -> None:
    """Do one run and write its record.

    It takes one thread: sums of several threads differ from call to call, and `jobs` use the cores
    better. Raises `UnseenError` if the images, labels or parameters do not allow the run.
    """
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    case = generated(run.case, config, run.seed, run.folder)
    pool = make_pool(case, config, run.seed)
    everything = range(len(pool.files))
    labelled, iterations = _play(pool, run, config)
    record = {
        "case": case.name,
        "strategy": run.strategy,
        "seed": run.seed,
        "classes": list(pool.classes),
        "rare": list(pool.rare),
        "pool": {
            "images": len(pool.files),
            "boxes": pool.counts(everything),
            "rare_images": sum(map(pool.holds_rare, everything)),
        },
        "initial": len(pool.start),
        "budget": config.budget,
        "labelled": [[i, {n: c for n, c in pool.counts([i]).items() if c}] for i in labelled],
        "iterations": iterations,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": _machine(config),
        "command": command,
    }
    write_json(record, run.record)


def _play(
    pool: Pool, run: Run, config: BenchmarkConfig
) -> tuple[Sequence[int], list[dict[str, Any]]]:
    """The images in the order labelled, and what was measured after 0, 1, ... batches."""
    strategy = Strategy.of(run.strategy)
    if strategy.name == FULL:
        everything = range(len(pool.files))
        return everything, [_iteration(pool, everything, [], None, run, config)]
    chooser = Chooser(pool, strategy, config, run.seed, run.cache)
    labelled, batch, iterations = list(pool.start), list[int](), []
    for number in range(config.iterations + 1):
        # A batch belongs to the iteration that it makes, its scores to the one they were made in.
        choice = chooser.choose(labelled) if number < config.iterations else None
        iterations.append(_iteration(pool, labelled, batch, choice, run, config))
        batch = [] if choice is None else choice.batch.tolist()
        labelled += batch
    return labelled, iterations


def _iteration(
    pool: Pool,
    labelled: Sequence[int],
    batch: list[int],
    choice: Choice | None,
    run: Run,
    config: BenchmarkConfig,
) -> dict[str, Any]:
    """What is measured after a batch; no choice means that it was the last one."""
    detector, seconds = None, None
    if config.detector == "each" or (config.detector == "last" and choice is None):
        detector, seconds = detectors.measure(
            pool, labelled, config, seed=run.seed, cache=run.cache
        )
    return {
        "images": len(labelled),
        "batch": batch,
        "criteria": choice and choice.criteria,
        "score": choice and choice.score,
        "detector": detector,
        "seconds": {**(choice.seconds if choice else {}), "train_detector": seconds},
    }


def _machine(config: BenchmarkConfig) -> str:
    """What it ran on, for the table of times."""
    import torch

    from unseen.arrays.devices import resolve_device

    device = resolve_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    version = torch.__version__.split("+")[0]
    return f"{name}, {os.cpu_count()} cores, {config.jobs} processes, torch {version}"


def settings_of(config: BenchmarkConfig) -> dict[str, Any]:
    """The parameters that results depend on, so that all runs of one benchmark share them."""
    # Records tell whether a detector is missing.
    free = {"strategies", "seeds", "held_back", "output", "detector"}
    free |= {"jobs", "device", "engine", "address"}  # where it runs
    return {name: value for name, value in config.to_dict().items() if name not in free}


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)
