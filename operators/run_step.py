"""From an operator's context to a step and back: parameters, progress, result, errors."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fiftyone.operators.message import GeneratedMessage, MessageType

import unseen
from unseen.annotation.cvat.credentials import SECRETS, supply
from unseen.dataset import locks
from unseen.dataset.appearance import PANEL
from unseen.errors import Cancelled, UnseenError
from unseen.progress import Progress, Reporter, silent
from unseen.steps.catalogue import Step

from . import inputs
from .paths import is_from_app

logger = logging.getLogger(__name__)

#: Seconds between two progress reports.
IMMEDIATE_INTERVAL = 0.5
DELEGATED_INTERVAL = 2.0
#: Seconds for which a form waits for its run; what takes longer goes on in the background.
PATIENCE = 3.0
#: An error that one can read in a notice.
LONGEST = 400


def run_step(
    ctx: Any, step: Step, collection: Any, refresh: Callable[[Any, dict[str, Any]], list[Any]]
) -> Any:
    """Run a step with the operator's parameters on a dataset or view.

    `refresh` (ctx, result) gives what the App does afterwards. Returns a generator of App messages
    for an immediate run, which no time limit of FiftyOne touches, and the result as a dict for a
    delegated one. A run from the App that takes more than `PATIENCE` seconds goes on when the
    generator has ended; the panel shows it, as any run on the dataset. Raises an UnseenError for
    wrong parameters or data.
    """
    # Checked here, before a thread or a worker starts.
    settings = inputs.settings(ctx, step.config)
    is_shown = is_from_app(ctx) and step.locks
    request = inputs.entries(ctx.params)

    def job(progress: Progress) -> dict[str, Any]:
        # Held from the first moment, so that a second run is refused while torch is loaded.
        held = locks.exclusive(collection, step.name, request) if is_shown else None
        secrets = cvat_secrets(ctx) if step.asks_server else None
        with held or contextlib.nullcontext(), secrets or contextlib.nullcontext():
            # Loads the step's module, and torch with it.
            result = getattr(unseen, step.name)(collection, progress=progress, **settings)
        return {"summary": result.summary(), **result.to_dict()}

    if not ctx.delegated:
        return _stream(ctx, job, refresh, goes_on=is_shown)
    try:
        return job(Reporter(ctx.set_progress, DELEGATED_INTERVAL))
    except Cancelled as error:  # would end the worker, too
        raise UnseenError(f"{step.label} was {error}") from error


def cvat_secrets(ctx: Any) -> contextlib.AbstractContextManager[None]:
    """Supplies FiftyOne's secrets, which are no parameters because those are stored."""
    secrets = {name: ctx.secrets.get(name) for name in SECRETS}
    # 1.22: the first look-up of a secret gives an object around its value.
    return supply({name: getattr(v, "value", v) for name, v in secrets.items()})


class StepMessage(GeneratedMessage):
    """The end of a run as the App's stream reader takes it: the result's dict, or an error."""

    def __init__(self, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        super().__init__(MessageType.ERROR if error else MessageType.SUCCESS)
        self.result = result
        self.error = error

    def to_json(self) -> dict[str, Any]:
        # 1.22: the App keeps `body` of an "ExecutionResult" line as the operator's results, and
        # shows `error` of any line.
        line = {"type": str(self.type), "cls": "ExecutionResult", "body": self.result}
        return {**line, "error": self.error} if self.error else line


def _stream(
    ctx: Any,
    job: Callable[[Progress], dict[str, Any]],
    refresh: Callable[[Any, dict[str, Any]], list[Any]],
    *,
    goes_on: bool,
) -> Iterator[Any]:
    """Run `job` in a thread and yield what the App shows meanwhile.

    A job that `goes_on` is left alone after `PATIENCE` seconds, or when the page is closed.
    """
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    report = Reporter(lambda share, label: messages.put((share, label)), IMMEDIATE_INTERVAL)
    is_closed = threading.Event()

    def progress(done: float, total: float, label: str = "") -> None:
        if is_closed.is_set():
            raise Cancelled("stopped by the user")
        report(done, total, label)

    def work() -> None:
        try:
            messages.put(job(silent if goes_on else progress))
        except BaseException as error:  # handed to the generator, which raises it
            if not isinstance(error, (UnseenError, Cancelled)):
                logger.error("the step failed", exc_info=error)
            messages.put(error)

    # The context carries FiftyOne's user and logging settings into the thread.
    context = contextvars.copy_context()
    worker = threading.Thread(target=context.run, args=(work,), name="unseen-step", daemon=True)
    worker.start()
    started, is_shown = time.monotonic(), False
    if goes_on:
        worker.join(PATIENCE)
        if messages.empty():
            yield from _panel(ctx)
            return
    try:
        while isinstance(message := _next(messages), tuple):
            # 1.22: a dialog, which has to be closed.
            if is_shown := is_shown or time.monotonic() - started >= PATIENCE:
                yield ctx.ops.set_progress(label=message[1], progress=message[0])
    finally:
        is_closed.set()
    if isinstance(message, KeyboardInterrupt):
        worker.join()
        return  # raised by `__call__`, once FiftyOne's event loop is closed
    if is_shown:
        is_error = isinstance(message, BaseException)
        yield ctx.ops.set_progress(label="failed" if is_error else "done", progress=1.0)
    run = locks.last_run(ctx.dataset) if goes_on else None
    if run is not None:
        locks.claim(run, ctx.dataset)  # it is said here, not by the panel
    if isinstance(message, BaseException):
        yield from _failed(ctx, message, goes_on=goes_on)
        return
    if ctx.executor is not None:
        ctx.executor.results = message  # for `__call__`: FiftyOne drops a generator's result
    if goes_on:
        yield ctx.ops.notify(short(message["summary"]), variant="success")
    yield from refresh(ctx, message)
    if not goes_on:
        yield StepMessage(result=message)


def _next(messages: queue.SimpleQueue[Any]) -> Any:
    """The next message, or a KeyboardInterrupt once Ctrl-C was pressed in an SDK call."""
    while True:
        # FiftyOne (1.22) drains the generator of an SDK call inside asyncio.run, whose SIGINT
        # handler (Python 3.11 and later) only asks the main task to cancel itself.
        handler: Any = signal.getsignal(signal.SIGINT)
        task = getattr(handler, "keywords", {}).get("main_task")
        if task is not None and task.cancelling() > 0:
            return KeyboardInterrupt()
        with contextlib.suppress(queue.Empty):
            return messages.get(timeout=IMMEDIATE_INTERVAL)


def short(text: str) -> str:
    """What can be read while it is shown: the first sentence; the panel has all of it."""
    return text.partition("\n")[0].partition(". ")[0][:LONGEST]


def _panel(ctx: Any) -> Iterator[Any]:
    if ctx.current_sample is None:  # 1.22: no panel of the grid can be opened over an image
        yield ctx.ops.open_panel(PANEL, layout="horizontal")


def _failed(ctx: Any, error: BaseException, *, goes_on: bool) -> Iterator[Any]:
    # A broken stream would tell the App's user nothing, so the message goes down the stream; an
    # SDK caller gets the exception.
    if not is_from_app(ctx) or not isinstance(error, (Exception, Cancelled)):
        raise error
    text = str(error)
    if not isinstance(error, (UnseenError, Cancelled)):
        text = f"{type(error).__name__}: {error} (the server's log has the details)"
    if goes_on:  # the panel has the whole text, and the form again with what was entered
        yield ctx.ops.notify(text[:LONGEST], variant="error")
        yield from _panel(ctx)
        return
    yield StepMessage(error=text)
