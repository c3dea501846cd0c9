"""What all steps share: `step(collection, config, *, progress=None, **settings) -> Result`.

The wrapper opens the dataset, builds the config, lets only one run work on a dataset and measures
the time, so that the function below it reads like its summary.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from unseen.arrays.cores import free_cores
from unseen.dataset import indexes, locks, mongodb, reading, setup
from unseen.dataset.loop import Loop, records_kept
from unseen.dataset.runs import delete_unnamed_runs, refresh
from unseen.errors import BudgetError, ConfigError, DatasetError, ImageError, file_errors
from unseen.parameters import StepConfig, from_mapping
from unseen.progress import Progress, Reporter, silent
from unseen.results import StepResult

C = TypeVar("C", bound=StepConfig)
R = TypeVar("R", bound=StepResult, covariant=True)

_started: ContextVar[float] = ContextVar("started")


class StepFunction(Protocol[R]):
    """A step as its users see it."""

    config_class: type[StepConfig]

    def __call__(
        self,
        collection: Any,
        config: StepConfig | None = None,
        *,
        progress: Progress | None = None,
        **settings: Any,
    ) -> R:
        """Run the step on a dataset's name, a Dataset or a DatasetView.

        `settings` are single parameters, instead of or on top of `config`. Without a config, the
        label field and the tags are those that the loop was set up with. `progress` is called with
        (done, total, label).
        """


def step(
    config_class: type[C],
) -> Callable[[Callable[[Loop, C, Progress], R]], StepFunction[R]]:
    """Turn `function(loop, config, progress)` into a step; one that writes locks the dataset."""

    def wrap(function: Callable[[Loop, C, Progress], R]) -> StepFunction[R]:
        @functools.wraps(function)
        def run(
            collection: Any,
            config: C | None = None,
            *,
            progress: Progress | None = None,
            **settings: Any,
        ) -> R:
            if config is not None and not isinstance(config, config_class):
                raise ConfigError(
                    f"{function.__name__} got a {type(config).__name__}; expected "
                    f"{config_class.__name__}"
                )
            # Wrong parameters are reported before the database is asked.
            given = from_mapping(config_class, settings) if config is None else config
            if config is not None and settings:
                given = from_mapping(config_class, {**vars(config), **settings})
            token = _started.set(time.perf_counter())
            try:
                with file_errors(), mongodb.clear_errors():
                    collection = reading.open_collection(collection)
                    if config is None:
                        given = _as_set_up(collection, given, settings)
                    loop = Loop(collection, setup.names_for(collection._dataset, given))
                    writes = sys.modules[config_class.__module__].STEP.locks
                    exclusive = locks.exclusive(collection, function.__name__)
                    with exclusive if writes else contextlib.nullcontext() as lock, records_kept():
                        refresh(loop.dataset)
                        if writes:  # a killed run's last record may be stored and not be named
                            delete_unnamed_runs(loop.dataset)
                            if not getattr(given, "dry_run", False):
                                indexes.ensure(loop)
                        own = lock if lock is not None and lock.step == function.__name__ else None
                        report = _checked(loop, progress or silent, own)
                        # Only what has a device computes with PyTorch.
                        computes = hasattr(given, "device")
                        cores = free_cores(report) if computes else contextlib.nullcontext(report)
                        with cores as report:
                            result = function(loop, given, report)
                        if own is not None:
                            own.text, known = result.summary(), vars(result)
                            own.view = known.get("view") or known.get("batch")
                    return dataclasses.replace(result, seconds=elapsed())
            finally:
                _started.reset(token)

        run.config_class = config_class  # type: ignore[attr-defined]
        del run.__wrapped__  # type: ignore[attr-defined]  # help() shows the outer signature
        return run  # type: ignore[return-value]

    return wrap


def _checked(loop: Loop, progress: Progress, lock: locks.Lock | None) -> Progress:
    """The progress of a run, which ends if the run has lost its lock; `lock` tells others of it."""
    tell = silent if lock is None else Reporter(lock.tell, 0)

    def report(done: float, total: float, label: str = "") -> None:
        locks.check(loop.dataset)
        tell(done, total, label)
        progress(done, total, label)

    return report


def _as_set_up(collection: Any, given: C, settings: Mapping[str, Any]) -> C:
    known = setup.lasting(collection._dataset, given.prefix, given.series)
    missing = {k: v for k, v in known.items() if settings.get(k) is None and hasattr(given, k)}
    return dataclasses.replace(given, **missing) if missing else given


def elapsed() -> float:
    """Seconds since the running step began."""
    return round(time.perf_counter() - _started.get(), 3)


def write_down(
    loop: Loop,
    iteration: int,
    config: StepConfig,
    result: StepResult,
    top: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Record a step's result, parameters and seconds under the iteration.

    The module of `config` names the step. Skipped samples are recorded as their number. `top` are
    facts of the whole iteration; `more` adds to the entry or replaces parts of it.
    """
    entry = {k: v for k, v in result.to_dict().items() if k not in ("dataset", "iteration")}
    if "skipped" in entry:
        entry["skipped"] = len(entry["skipped"])
    entry |= {"parameters": config.to_dict(), "seconds": elapsed(), **more}
    loop.write_entry(iteration, type(config).__module__.rpartition(".")[2], entry, **(top or {}))


def check_readable(count: int, unreadable: Sequence[str]) -> None:
    """Raise an ImageError if none of `count` images can be read: their folder was moved, or is away.

    The unreadable ones are named by their paths, or by what is wrong with them.
    """
    if count and len(unreadable) == count:
        raise ImageError(
            f"none of the {count} images could be read, such as {unreadable[0]}. Where files have "
            "moved, correct the field filepath of the samples"
        )


def check_pool(loop: Loop, size: int, budget: int = 1) -> None:
    """Raise a BudgetError if the pool of `size` images is empty or smaller than the budget."""
    if not size:
        raise BudgetError(
            f"the pool of dataset {loop.dataset.name!r} is empty: every image is labelled, out for "
            "labelling, in the test split or excluded. Add images, or widen the view"
        )
    if budget > size:
        raise BudgetError(
            f"budget {budget} exceeds the {size} unlabelled images of the pool; lower it, or widen "
            "the view"
        )


def check_scored(size: int, scored: int, mark: str) -> None:
    """Raise a DatasetError if the newest UNet (`mark`) scored none of the pool's images."""
    if not scored:
        raise DatasetError(
            f"none of the {size} pool images was scored by the newest UNet ({mark}); run "
            "score_samples first"
        )
