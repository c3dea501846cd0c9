"""`unseen benchmark`: all runs, in parallel if asked for, then one report."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from unseen.benchmark.cases import read_cases
from unseen.benchmark.choosing import check_strategy
from unseen.benchmark.config import BRAIN_STRATEGIES, BenchmarkConfig, Strategy
from unseen.benchmark.files import write_json
from unseen.benchmark.report.write import write_benchmark
from unseen.benchmark.runs import Run, execute, settings_of
from unseen.dataset.throwaway import ThrowawayDatabase
from unseen.errors import BenchmarkError, ConfigError, UnseenError
from unseen.loop.curves import FULL
from unseen.parameters import from_mapping
from unseen.progress import Progress, silent
from unseen.ranking.cluster import Cluster, Failed

#: The parameters that all runs of a folder share.
SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class BenchmarkResult:
    """Result of `run_benchmark`."""

    report: str  #: the HTML page
    figures: str  #: its figures as JSON
    runs: int  #: finished runs, those of earlier calls included
    failed: dict[str, str]  #: run -> why it failed
    table: str  #: the main table and the answer, as text

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data, without the table."""
        return {name: value for name, value in vars(self).items() if name != "table"}

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

    Every run leaves a record below `output`. A repeated call does only what is missing, and may add
    strategies, seeds and datasets. No dataset is changed.

    Args:
        *sources: FiftyOne datasets by name, COCO folders with train/ and test/, or `synthetic:KIND`.
        config: the parameters; default: all defaults.
        progress: counts the finished runs.
        command: the command line, for the report.
        **settings: single parameters, instead of or on top of `config`.

    Raises:
        ConfigError: a parameter is wrong, or the folder holds a benchmark with others.
        DatasetError: a source is missing or not labelled.
        BenchmarkError: every run failed.
    """
    config = from_mapping(BenchmarkConfig, {**(vars(config) if config else {}), **settings})
    for text in config.strategies:
        check_strategy(Strategy.of(text))
    folder = Path(config.output).expanduser().resolve()
    _check_folder(folder, config)
    cases = read_cases(sources, config)
    write_json(settings_of(config), folder / SETTINGS_FILE)
    # By strategy: the first one fills the cache of the initial images for the others.
    runs = [
        Run(case, strategy, seed, folder)
        for strategy in config.strategies
        for seed in config.seeds
        for case in cases
    ]
    failed = _execute_all(runs, config, command, progress or silent)
    if not any(_is_done(run, config) for run in runs):
        name, reason = next(iter(failed.items()))
        raise BenchmarkError(f"no run could be done; the first one, {name}: {reason}")
    # Runs of earlier calls are part of the report.
    asked = {run.record: place for place, run in enumerate(runs)}
    paths = sorted((folder / "runs").glob("*.json"), key=lambda p: (asked.get(p, len(asked)), p))
    records = [json.loads(path.read_text()) for path in paths]
    first = next(text for text in config.strategies if text != FULL)
    written = write_benchmark(records, folder, first=first)
    return BenchmarkResult(written["html"], written["json"], len(records), failed, written["text"])


def _check_folder(folder: Path, config: BenchmarkConfig) -> None:
    path = folder / SETTINGS_FILE
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(
                f"output={str(folder)!r} holds other things than a benchmark; name a new folder"
            )
        return
    before, now = json.loads(path.read_text()), settings_of(config)
    different = [
        f"{name}: {before.get(name)!r}, now {now[name]!r}"
        for name in sorted(now)
        if before.get(name) != now[name]
    ]
    if different:
        raise ConfigError(
            f"{folder} holds a benchmark with other parameters ({', '.join(different)}); use the same "
            "ones to go on with it, or name another output"
        )


def _is_done(run: Run, config: BenchmarkConfig) -> bool:
    """Whether its record is there, with the detectors that are wanted now."""
    try:
        iterations = json.loads(run.record.read_text())["iterations"]
    except (OSError, ValueError):
        return False
    wanted = {"never": [], "last": iterations[-1:], "each": iterations}[config.detector]
    return all(entry["detector"] is not None for entry in wanted)


def _execute_all(
    runs: Sequence[Run], config: BenchmarkConfig, command: str, say: Progress
) -> dict[str, str]:
    """Do the missing runs; returns why some failed."""
    todo = [run for run in runs if not _is_done(run, config)]
    failed: dict[str, str] = {}
    done = len(runs) - len(todo)
    say(done, len(runs), "runs")
    if config.engine == "ray":
        results = _on_cluster(todo, config, command)
    elif config.jobs > 1 and len(todo) > 1:
        results = _in_processes(todo, config, command)
    else:
        results = ((run, _attempt(run, config, command)) for run in todo)
    for run, problem in results:
        done += 1
        if problem:
            failed[f"{run.case.name}, {run.strategy}, seed {run.seed}"] = problem
        say(done, len(runs), "runs")
    return failed


def _attempt(run: Run, config: BenchmarkConfig, command: str) -> str | None:
    """Do one run; returns the error, if the user can fix it."""
    try:
        execute(run, config, command)
    except UnseenError as error:
        return str(error)
    return None


def _in_processes(
    todo: Sequence[Run], config: BenchmarkConfig, command: str
) -> Iterator[tuple[Run, str | None]]:
    # Neither CUDA nor the threads of PyTorch survive a fork.
    context = multiprocessing.get_context("spawn")
    with _database_of_brain(todo):
        workers = ProcessPoolExecutor(min(config.jobs, len(todo)), context, _ignore_ctrl_c)
        waiting = {workers.submit(_attempt, run, config, command): run for run in todo}
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
            workers.shutdown()
        except BaseException as error:  # also Ctrl-C, or a listener that cancels
            processes = list((workers._processes or {}).values())
            workers.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise BenchmarkError(
                    "a process of the benchmark was killed, most often for lack of memory; run the "
                    "same command with fewer jobs: finished runs are kept"
                ) from None
            raise


def _on_cluster(
    todo: Sequence[Run], config: BenchmarkConfig, command: str
) -> Iterator[tuple[Run, str | None]]:
    """Every machine needs the images and the folder of the benchmark under the same paths."""
    with _database_of_brain(todo), Cluster(config.address) as cluster:
        known = {k: v for k, v in os.environ.items() if k.startswith("FIFTYONE_")}
        factory = partial(_runs_of_a_worker, known, config, command)
        gpus = float(config.device.startswith("cuda"))
        for run, result in cluster.map(factory, todo, size=1, gpus=gpus):
            yield run, result.reason if isinstance(result, Failed) else result


def _runs_of_a_worker(
    variables: dict[str, str], config: BenchmarkConfig, command: str
) -> Callable[[Sequence[Run]], list[str | None]]:
    os.environ.update(variables)
    return lambda runs: [_attempt(run, config, command) for run in runs]


def _ignore_ctrl_c() -> None:
    """The first process handles it, and stops the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _database_of_brain(todo: Sequence[Run]) -> Iterator[None]:
    """One database for FiftyOne Brain: the processes cannot each start FiftyOne's own."""
    needs_one = any(Strategy.of(run.strategy).name in BRAIN_STRATEGIES for run in todo)
    if not needs_one or os.environ.get("FIFTYONE_DATABASE_URI"):
        yield
        return
    database = ThrowawayDatabase()
    # HOME stays: torch keeps pretrained weights there.
    variables = {k: v for k, v in database.environment().items() if k != "HOME"}
    try:
        with mock.patch.dict(os.environ, variables):
            yield
    finally:
        database.stop()
