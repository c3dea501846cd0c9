"""How a step reports its progress, and how long the running stage still takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called by a step while it runs.

    A listener may raise `unseen.errors.Cancelled` to stop the step. Everything written until then
    stays consistent, and the step can be started again.
    """

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Report `done` of `total` units (same unit) of the stage `label`."""


def silent(done: float, total: float, label: str = "") -> None:
    """Report nothing."""


class Reporter:
    """Passes on a share (0 to 1) and a line with the time left, without flooding its listener.

    It reports the start and the end of every stage, and at most every `interval` seconds in
    between. The time left follows from the pace of the whole stage.

    >>> report = Reporter(lambda share, line: print(line), 0, clock=iter([0, 4]).__next__)
    >>> report(0, 10, "training")
    training: 0%
    >>> report(4, 10, "training")
    training: 40% (6 s left)
    """

    def __init__(
        self,
        report: Callable[[float, str], None],
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._interval, self._clock = report, interval, clock
        self._label: str | None = None
        self._first = self._started = self._reported = 0.0

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Report `done` of `total` units of the stage `label`."""
        now = self._clock()
        if label != self._label or done < self._first:
            self._label, self._first, self._started = label, done, now
        elif done < total and now - self._reported < self._interval:
            return
        self._reported = now
        share = min(1.0, done / total) if total > 0 else 0.0
        line = ": ".join(part for part in (label, f"{share:.0%}" if total > 0 else "") if part)
        if total > 0 and done > self._first:
            left = (now - self._started) * (total - done) / (done - self._first)
            line += f" ({duration(max(0.0, left))} left)"
        self._report(share, line)


def duration(seconds: float) -> str:
    """A duration for a person.

    >>> duration(8), duration(185), duration(7800)
    ('8 s', '3 min 05 s', '2 h 10 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
