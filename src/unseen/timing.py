"""How long a stage still takes, from what it has done so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeLeft:
    """Follows the stages of a step and says what is left of the running one.

    A step reports one stage after the other under labels of their own; each stage has its own
    pace, so the estimate starts anew with every label. The pace is that of the whole stage, which
    moves less than that of the last report.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._label: str | None = None
        self._start = 0.0
        self._first = 0.0

    def seconds(self, done: float, total: float, label: str = "") -> float | None:
        """Seconds left of the stage `label`, or None as long as nothing can be said."""
        now = self._clock()
        if label != self._label or done < self._first:
            self._label, self._start, self._first = label, now, done
            return None
        progressed = done - self._first
        if progressed <= 0 or total <= 0:
            return None
        return max(0.0, (now - self._start) * (total - done) / progressed)

    def describe(self, done: float, total: float, label: str = "") -> str:
        """The stage as one line, for example ``training the UNet: 40 % (12 s left)``."""
        left = self.seconds(done, total, label)
        share = f"{min(1.0, done / total):.0%}" if total > 0 else ""
        line = ": ".join(part for part in (label, share) if part)
        return line if left is None else f"{line} ({duration(left)} left)"


def duration(seconds: float) -> str:
    """A duration for a person: ``8 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
