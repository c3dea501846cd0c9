"""What all steps share: `step(collection, config, *, progress=None, **settings) -> Result`.

The wrapper opens the dataset by name, builds the config, makes sure that only one run works on the
dataset, and measures the time; the function below it reads like its summary.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from unseen.dataset import reading, setup
from unseen.dataset.locks import exclusive
from unseen.dataset.loop import Loop
from unseen.errors import ConfigError
from unseen.parameters import StepConfig, from_mapping
from unseen.progress import Progress, silent
from unseen.results import StepResult

C = TypeVar("C", bound=StepConfig)
R = TypeVar("R", bound=StepResult, covariant=True)

_started: ContextVar[float] = ContextVar("started")


def elapsed() -> float:
    """Seconds since the running step began, for its record."""
    return round(time.perf_counter() - _started.get(), 3)


def write_down(
    loop: Loop,
    iteration: int,
    config: StepConfig,
    result: StepResult,
    top: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Put a step's result on the record of an iteration, with its parameters and seconds.

    Args:
        loop: the loop.
        iteration: which record.
        config: the parameters; its module names the step.
        result: whose fields are kept; of the skipped samples, their number.
        top: facts of the whole iteration.
        **more: further entries, or others instead.
    """
    entry = {k: v for k, v in result.to_dict().items() if k not in ("dataset", "iteration")}
    if "skipped" in entry:
        entry["skipped"] = len(entry["skipped"])
    entry |= {"parameters": config.to_dict(), "seconds": elapsed(), **more}
    loop.write_entry(iteration, type(config).__module__.rpartition(".")[2], entry, **(top or {}))


class Step(Protocol[R]):
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
        """Run the step.

        Args:
            collection: a dataset's name, a Dataset or a DatasetView.
            config: the parameters; default: all defaults, with the label field and the tags that
                the loop was set up with.
            progress: called with (done, total, label) as the step goes.
            **settings: single parameters, instead of or on top of `config`.
        """


def step(
    config_class: type[C], *, writes: bool = True
) -> Callable[[Callable[[Loop, C, Progress], R]], Step[R]]:
    """Turn `function(loop, config, progress)` into a step.

    Args:
        config_class: its parameters.
        writes: whether the step changes the dataset and so needs it for itself.
    """

    def wrap(function: Callable[[Loop, C, Progress], R]) -> Step[R]:
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
                given = dataclasses.replace(config, **settings)
            token = _started.set(time.perf_counter())
            try:
                collection = reading.open_collection(collection)
                if config is None:
                    given = _as_set_up(collection, given, settings)
                loop = Loop(collection, setup.names_for(reading.dataset_of(collection), given))
                if writes:
                    with exclusive(collection, function.__name__):
                        loop.dataset.reload()
                        result = function(loop, given, progress or silent)
                else:
                    result = function(loop, given, progress or silent)
                return dataclasses.replace(result, seconds=elapsed())
            finally:
                _started.reset(token)

        run.config_class = config_class  # type: ignore[attr-defined]
        del run.__wrapped__  # type: ignore[attr-defined]  # help() shows the outer signature
        return run  # type: ignore[return-value]

    return wrap


def _as_set_up(collection: Any, given: C, settings: Mapping[str, Any]) -> C:
    """The config with what the loop was set up with, where the call says nothing else."""
    known = setup.lasting(reading.dataset_of(collection), given.prefix, given.series)
    missing = {k: v for k, v in known.items() if settings.get(k) is None and hasattr(given, k)}
    return dataclasses.replace(given, **missing) if missing else given
