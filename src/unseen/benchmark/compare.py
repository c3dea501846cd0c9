"""`unseen benchmark`: all runs, in as many processes as asked for, then one report."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

from unseen.benchmark.cases import read_cases
from unseen.benchmark.choosing import check_strategy
from unseen.benchmark.config import BRAIN_STRATEGIES, BenchmarkConfig, Strategy
from unseen.benchmark.json_file import write_json
from unseen.benchmark.report.runs import FULL
from unseen.benchmark.report.write import write_benchmark
from unseen.benchmark.runs import Run, execute, settings_of
from unseen.dataset.throwaway import ThrowawayDatabase
from unseen.errors import BenchmarkError, ConfigError, UnseenError
from unseen.parameters import from_mapping
from unseen.progress import Progress, silent

#: What all runs of a folder share.
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class BenchmarkResult:
    """What `run_benchmark` leaves.

    Attributes:
        report: the HTML page.
        figures: the JSON file with every figure of it.
        runs: runs that are done, those of earlier calls included.
        failed: run -> why it could not be done.
        table: the main table and the answer, as text.
    """

    report: str
    figures: str
    runs: int
    failed: dict[str, str]
    table: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return dict(vars(self))

    def summary(self) -> str:
        """For a person."""
        text = f"{self.table}\n{self.runs} runs; report: {self.report}"
        for name, reason in self.failed.items():
            text += f"\nnot done: {name}: {reason}"
        return text


def run_benchmark(
    *sources: str,
    config: BenchmarkConfig | None = None,
    progress: Progress | None = None,
    command: str = "",
    **settings: Any,
) -> BenchmarkResult:
    """Compare strategies on fully labelled images.

    Every run leaves a record below `output`; a call that is repeated does only what is missing, and
    further strategies, seeds and datasets may be added. No dataset is changed.

    Args:
        *sources: FiftyOne datasets by name, COCO folders with train/ and test/, or `synthetic:KIND`.
        config: the parameters; default: all defaults.
        progress: told how many runs are done.
        command: how it was called, for the report.
        **settings: single parameters, instead of or on top of `config`.

    Raises:
        ConfigError: a parameter is wrong, or the folder holds a benchmark with others.
        DatasetError: a source is missing or not labelled.
        BenchmarkError: not a single run could be done.
    """
    values = {} if config is None else vars(config)
    config = from_mapping(BenchmarkConfig, {**values, **settings})
    say = progress or silent
    for text in config.strategies:
        check_strategy(Strategy.of(text))
    folder = Path(config.output).expanduser().resolve()
    _check_folder(folder, config)
    cases = read_cases(sources, config, folder, say)
    write_json(settings_of(config), folder / SETTINGS_FILE)
    # The first strategy of every case and seed first: what it computes for the initial images, the
    # others find on disk.
    runs = [
        Run(case.name, strategy, seed, folder)
        for strategy in config.strategies
        for seed in config.seeds
        for case in cases
    ]
    for case in cases:
        case.write(Run(case.name, "", 0, folder).case_file)
    todo = [run for run in runs if not _is_done(run, config)]
    failed = _execute_all(todo, config, command, say, len(runs))
    if not any(_is_done(run, config) for run in runs):
        name, reason = next(iter(failed.items()))
        raise BenchmarkError(f"no run could be done; the first one, {name}: {reason}")
    # Also the runs of earlier calls: strategies, seeds and datasets add up to one benchmark.
    asked = {run.record: place for place, run in enumerate(runs)}
    found = sorted((folder / "runs").glob("*.json"), key=lambda p: (asked.get(p, len(asked)), p))
    records = [json.loads(path.read_text()) for path in found]
    first = next(text for text in config.strategies if text != FULL)
    written = write_benchmark(records, folder, first=first)
    return BenchmarkResult(
        report=str(written["html"]),
        figures=str(written["json"]),
        runs=len(records),
        failed=failed,
        table=str(written["text"]),
    )


def _check_folder(folder: Path, config: BenchmarkConfig) -> None:
    path = folder / SETTINGS_FILE
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(
                f"output={str(folder)!r} holds other things than a benchmark; name a new folder"
            )
        return
    before, now = json.loads(path.read_text()), settings_of(config)
    different = sorted(name for name in now if before.get(name) != now[name])
    if different:
        raise ConfigError(
            f"{folder} holds a benchmark with other parameters ("
            + ", ".join(f"{name}: {before.get(name)!r}, now {now[name]!r}" for name in different)
            + "); use the same ones to go on with it, or name another output"
        )


def _is_done(run: Run, config: BenchmarkConfig) -> bool:
    """Whether its record is there, with the detectors that are wanted now."""
    try:
        record = json.loads(run.record.read_text())
    except (OSError, ValueError):
        return False
    wanted = {"never": [], "last": record["iterations"][-1:], "each": record["iterations"]}
    return all(
        entry["detectors"][schedule] is not None
        for entry in wanted[config.detector]
        for schedule in config.schedules
    )


def _execute_all(
    todo: Sequence[Run], config: BenchmarkConfig, command: str, say: Progress, total: int
) -> dict[str, str]:
    """Do the runs; the reasons of those that failed."""
    failed: dict[str, str] = {}
    done = total - len(todo)
    say(done, total, "runs")
    results = _in_processes if config.jobs > 1 and len(todo) > 1 else _one_by_one
    for run, problem in results(todo, config, command):
        done += 1
        name = f"{run.case}, {run.strategy}, seed {run.seed}"
        if problem:
            failed[name] = problem
        say(done, total, "runs")
    return failed


def _one_by_one(
    todo: Sequence[Run], config: BenchmarkConfig, command: str
) -> Iterator[tuple[Run, str | None]]:
    for run in todo:
        yield run, _attempt(run, config, command)


def _in_processes(
    todo: Sequence[Run], config: BenchmarkConfig, command: str
) -> Iterator[tuple[Run, str | None]]:
    # Spawned, not forked: neither CUDA nor the threads of PyTorch survive a fork.
    context = multiprocessing.get_context("spawn")
    with _database_of_brain(todo):
        yield from _from_workers(todo, config, command, context)


def _from_workers(
    todo: Sequence[Run], config: BenchmarkConfig, command: str, context: SpawnContext
) -> Iterator[tuple[Run, str | None]]:
    workers = ProcessPoolExecutor(min(config.jobs, len(todo)), context, _ignore_ctrl_c)
    waiting = {workers.submit(_attempt, run, config, command): run for run in todo}
    try:
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                run = waiting.pop(future)
                yield run, future.result()
        workers.shutdown()
    except BrokenProcessPool:
        _stop(workers)
        raise BenchmarkError(
            "a process of the benchmark was killed, most often for want of memory; run the same "
            "command with fewer jobs: what is done is kept"
        ) from None
    except BaseException:  # Ctrl-C, or a listener that cancels
        _stop(workers)
        raise


@contextlib.contextmanager
def _database_of_brain(todo: Sequence[Run]) -> Iterator[None]:
    """FiftyOne Brain needs a database; processes that each start FiftyOne's own would collide."""
    if not any(Strategy.of(run.strategy).name in BRAIN_STRATEGIES for run in todo):
        yield
        return
    with contextlib.ExitStack() as stack:
        if not os.environ.get("FIFTYONE_DATABASE_URI"):
            database = ThrowawayDatabase()
            stack.callback(database.stop)
            stack.enter_context(_environment(database))
        yield


@contextlib.contextmanager
def _environment(database: ThrowawayDatabase) -> Iterator[None]:
    """The variables of the database, for processes that start now."""
    # The home stays: torch keeps pretrained weights there.
    own = {k: v for k, v in database.environment().items() if k != "HOME"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _stop(workers: ProcessPoolExecutor) -> None:
    processes = list((workers._processes or {}).values())
    workers.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _attempt(run: Run, config: BenchmarkConfig, command: str) -> str | None:
    """Do one run; what was wrong, where the user can put it right."""
    try:
        execute(run, config, command)
    except UnseenError as error:
        return str(error)
    return None


def _ignore_ctrl_c() -> None:
    """The first process hears it, and stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
