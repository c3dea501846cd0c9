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
from unseen.errors import Cancelled, UnseenError
from unseen.steps.catalogue import catalogue
from unseen.timing import TimeLeft, duration

from . import inputs

logger = logging.getLogger(__name__)

#: Seconds between two reports: often enough to look alive, seldom enough not to flood.
IMMEDIATE_INTERVAL = 0.5
DELEGATED_INTERVAL = 2.0

Report = Callable[[float, str], None]


def run_step(
    ctx: Any,
    name: str,
    collection: Any,
    refresh: Callable[[Any, dict[str, Any]], list[Any]],
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Any:
    """Run the step `name` with the operator's params.

    Args:
        ctx: the operator's execution context.
        name: one of `unseen.STEPS`.
        collection: the dataset or view that the step works on.
        refresh: what the App shall do once the step is done: (ctx, result) -> messages.
        around: makes a context that the step runs in, such as one that supplies secrets.

    Returns:
        a generator of App messages for an immediate run, which no time limit of FiftyOne touches;
        the result as a dict for a delegated one.

    Raises:
        UnseenError: the parameters or the data are not what the step needs.
    """
    # Checked here, so that what is wrong is said before a thread or a worker starts.
    settings = inputs.settings(catalogue()[name].config, ctx.params)

    def job(progress: Progress) -> dict[str, Any]:
        # The step's module, and torch with it, is loaded here and not while a form is open.
        with around():
            result = getattr(unseen, name)(collection, progress=progress, **settings)
        return {"summary": result.summary(), **result.to_dict()}

    if ctx.delegated:
        return job(
            Progress(lambda share, label: ctx.set_progress(share, label), DELEGATED_INTERVAL)
        )
    return _stream(ctx, job, lambda result: refresh(ctx, result))


class Progress:
    """A step's progress listener: throttles, adds the time left, and stops the step when asked."""

    def __init__(self, report: Report, interval: float) -> None:
        self._report = report
        self._interval = interval
        self._time_left = TimeLeft()
        self._label: str | None = None
        self._reported = 0.0
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make the step's next report end it."""
        self._stop.set()

    def __call__(self, done: float, total: float, label: str = "") -> None:
        if self._stop.is_set():
            raise Cancelled("stopped by the user")
        line = self._time_left.describe(done, total, label)
        now = time.monotonic()
        if label == self._label and done < total and now - self._reported < self._interval:
            return
        self._label, self._reported = label, now
        self._report(min(1.0, done / total) if total > 0 else 0.0, line)


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
    refresh: Callable[[dict[str, Any]], list[Any]],
) -> Iterator[Any]:
    """Run `job` in a thread and yield what the App shall show meanwhile."""
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    progress = Progress(lambda share, label: messages.put((share, label)), IMMEDIATE_INTERVAL)

    def work() -> None:
        try:
            messages.put(job(progress))
        except BaseException as error:  # handed to the generator, which raises it
            messages.put(error)

    started = time.monotonic()
    # The context carries FiftyOne's user and logging settings into the thread.
    context = contextvars.copy_context()
    worker = threading.Thread(target=context.run, args=(work,), name="unseen-step", daemon=True)
    worker.start()
    try:
        yield ctx.ops.set_progress(label="starting", progress=0.0)
        while isinstance(message := _next(messages), tuple):
            yield ctx.ops.set_progress(label=message[1], progress=message[0])
    finally:
        progress.stop()
    if isinstance(message, KeyboardInterrupt):
        worker.join()
        return  # raised by `__call__`, once FiftyOne's event loop is closed
    if isinstance(message, BaseException):
        yield from _failed(ctx, message)
        return
    if ctx.executor is not None:
        ctx.executor.results = message  # for `__call__`: FiftyOne drops a generator's result
    yield ctx.ops.set_progress(label=_closing_line(message, started), progress=1.0)
    yield from refresh(message)
    yield StepMessage(result=message)


def _next(messages: queue.SimpleQueue[Any]) -> Any:
    """The next message, or a KeyboardInterrupt once Ctrl-C was pressed in an SDK call."""
    while True:
        if _is_interrupted():
            return KeyboardInterrupt()
        with contextlib.suppress(queue.Empty):
            return messages.get(timeout=IMMEDIATE_INTERVAL)


def _is_interrupted() -> bool:
    # FiftyOne (1.22) drains the generator of an SDK call inside asyncio.run, whose SIGINT handler
    # (Python 3.11 and later) turns the first Ctrl-C into a request to cancel the main task, which
    # nothing here would ever see.
    handler: Any = signal.getsignal(signal.SIGINT)
    task = getattr(handler, "keywords", {}).get("main_task")
    return task is not None and task.cancelling() > 0


def _closing_line(result: dict[str, Any], started: float) -> str:
    """What stays in the App's progress dialog until it is closed: a sentence, not a table."""
    summary = str(result["summary"])
    if "\n" not in summary:
        return summary
    return f"done in {duration(time.monotonic() - started)}"


def _failed(ctx: Any, error: BaseException) -> Iterator[Any]:
    # An App request carries its operator's URI (1.22); a broken stream would tell its user
    # nothing, so the message goes down the stream. An SDK caller gets the exception.
    if "operator_uri" not in ctx.request_params or not isinstance(error, Exception):
        raise error
    if isinstance(error, UnseenError):
        text = str(error)
    else:
        logger.error("the step failed", exc_info=error)
        text = f"{type(error).__name__}: {error} (the server's log has the details)"
    yield ctx.ops.set_progress(label=f"Error: {text}", progress=1.0)
    yield ctx.ops.notify(text, variant="error")
    yield StepMessage(error=text)
