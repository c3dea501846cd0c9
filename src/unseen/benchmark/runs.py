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
from unseen.benchmark.config import PAPER_STRATEGIES, BenchmarkConfig, Strategy
from unseen.benchmark.files import write_json
from unseen.benchmark.pools import Pool, make_pool
from unseen.loop.curves import FULL


@dataclass(frozen=True)
class Run:
    """What is to be done, and where its record is."""

    case: str  #: name of the case
    strategy: str  #: its text, as the user gave it
    seed: int  #: of the pool, the training and all choices
    folder: Path  #: of the whole benchmark

    @property
    def record(self) -> Path:
        """The file that says that the run is done, and what it found."""
        name = re.sub(r"[^\w.-]+", "_", f"{self.case}-{self.strategy}-{self.seed}")
        return self.folder / "runs" / f"{name}.json"

    @property
    def case_file(self) -> Path:
        """Where the case is stored."""
        return self.folder / "cases" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', self.case)}.json"

    @property
    def cache(self) -> Path:
        """The folder of results that runs share."""
        return self.folder / "cache" / self.case_file.stem


def execute(run: Run, config: BenchmarkConfig, command: str) -> None:
    """Do one run and write its record.

    Raises:
        UnseenError: the images, labels or parameters do not allow it.
    """
    import torch

    torch.set_num_threads(config.threads)
    start = time.perf_counter()
    case = generated(Case.read(run.case_file), config, run.seed, run.folder)
    pool = make_pool(case, config, run.seed)
    everything = range(len(pool.files))
    labelled, iterations = _play(pool, run, config)
    record = {
        "case": run.case,
        "strategy": run.strategy,
        "seed": run.seed,
        "mode": "paper" if Strategy.of(run.strategy).name in PAPER_STRATEGIES else "recommended",
        "classes": list(pool.classes),
        "rare": list(pool.rare),
        "pool": {
            "images": len(pool.files),
            "boxes": pool.counts(everything),
            "class_images": {
                name: sum(name in file.labels for file in pool.files) for name in pool.classes
            },
            "rare_images": sum(map(pool.holds_rare, everything)),
        },
        "initial": len(pool.start),
        "budget": config.budget,
        "labelled": [[i, {n: c for n, c in pool.counts([i]).items() if c}] for i in labelled],
        "iterations": iterations,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": machine(config),
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
    records: dict[str, Any] = {"epochs": None, "steps": None}
    seconds: dict[str, float | None] = {"epochs": None, "steps": None}
    if config.detector == "each" or (config.detector == "last" and choice is None):
        for schedule in config.schedules:
            records[schedule], seconds[schedule] = detectors.measure(
                pool, labelled, config, schedule=schedule, seed=run.seed, cache=run.cache
            )
    spent = choice.seconds if choice else {}
    return {
        "images": len(labelled),
        "batch": batch,
        "criteria": choice and choice.criteria,
        "seconds": {
            "train_unet": spent.get("train_unet"),
            "score": spent.get("score"),
            "train_detector": seconds,
        },
        "score": choice and choice.score,
        "detectors": records,
    }


def machine(config: BenchmarkConfig) -> str:
    """What it ran on, for whoever reads the times."""
    import torch

    from unseen.arrays.devices import resolve_device

    device = resolve_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return (
        f"{name}, {os.cpu_count()} cores, {config.jobs} processes of {config.threads} "
        f"threads, torch {torch.__version__.split('+')[0]}"
    )


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*:\s*(.+)", listed.read_text() if listed.is_file() else "")
    return name[1] if name else platform.processor() or platform.machine()


def settings_of(config: BenchmarkConfig) -> dict[str, Any]:
    """The parameters that all runs of one benchmark share, because results depend on them."""
    free = {"strategies", "seeds", "held_back", "output", "jobs", "threads", "device"}
    free |= {"detector", "schedules"}  # the records tell which of these are missing
    return {name: value for name, value in config.to_dict().items() if name not in free}
