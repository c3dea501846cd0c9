"""Progress on a terminal: one bar per stage; in a log file a line every ten seconds."""

from __future__ import annotations

import logging
import sys
from typing import Any

from unseen.progress import Reporter

#: Seconds between two lines in a log file.
LOG_INTERVAL = 10.0

#: FiftyOne greets every process with it, as it brings MongoDB 6 itself; nobody can act on it.
_NOTICE = "You are running the oldest supported major version of MongoDB."


def silence_mongodb_notice() -> None:
    """Drop FiftyOne's notice of MongoDB's age, and no other message, from this process."""
    logger = logging.getLogger("fiftyone.core.odm.database")
    logger.addFilter(_is_no_notice)  # a filter that is there is not added again


def _is_no_notice(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOTICE)


class Bars:
    """A progress listener that writes to stderr; a quiet one writes what is said only."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet
        self._log = Reporter(lambda share, line: self.say(line), LOG_INTERVAL)
        self._bar: Any = None
        self._label: str | None = None

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Show `done` of `total` units of the stage `label`."""
        if self._is_quiet:
            return
        if not sys.stderr.isatty():
            self._log(done, total, label)
            return
        from tqdm import tqdm

        if self._bar is None or label != self._label or done < self._bar.n:
            self.close()
            self._label = label
            layout = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} taken, {remaining} left"
            self._bar = tqdm(desc=label, file=sys.stderr, dynamic_ncols=True, bar_format=layout)
        # Set, not summed up: a stage may learn of more work while it runs.
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def say(self, text: str) -> None:
        """Print a line for a person."""
        self.close()
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Finish the running bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
