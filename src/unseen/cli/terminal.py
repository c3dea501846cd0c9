"""Progress on a terminal: one bar per stage, or a line now and then where no one watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from unseen.timing import TimeLeft

#: Seconds between two lines in a log file.
LOG_INTERVAL = 10.0


class Bars:
    """A progress listener that draws one tqdm bar per stage, with the time left.

    Where the stream is no terminal it writes a line at the start of each stage and every ten
    seconds, so that a log stays readable.
    """

    def __init__(self, stream: TextIO | None = None, *, title: str = "") -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._title = title
        self._bar: Any = None
        self._label: str | None = None
        self._time_left = TimeLeft()
        self._written = 0.0

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Show `done` of `total` units of the stage `label`."""
        if self._stream.isatty():
            self._draw(done, total, label)
        else:
            self._write(done, total, label)
        self._label = label

    def close(self) -> None:
        """Finish the running bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self, done: float, total: float, label: str) -> None:
        from tqdm import tqdm

        if self._bar is None or label != self._label or done < self._bar.n:
            self.close()
            self._bar = tqdm(
                desc=self._name(label),
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed} taken, {remaining} left",
            )
        # Set, not summed up: a stage may learn of more work while it goes.
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def _write(self, done: float, total: float, label: str) -> None:
        line = self._time_left.describe(done, total, self._name(label))
        now = time.monotonic()
        if label != self._label or now - self._written >= LOG_INTERVAL:
            self._written = now
            print(line, file=self._stream, flush=True)

    def _name(self, label: str) -> str:
        return " - ".join(part for part in (self._title, label) if part)
