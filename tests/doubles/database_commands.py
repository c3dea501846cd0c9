"""Listens to what goes to the database: counts commands, or kills the process at one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pymongo.monitoring import CommandListener, register

WRITES = {
    "insert",
    "update",
    "delete",
    "findAndModify",
    "create",
    "createIndexes",
    "drop",
    "dropIndexes",
}
#: Nobody's data: the lock of a killed run stays behind, as it should.
LOCKS = "unseen.locks"


class Killed(BaseException):
    """A process ends here; nothing that it does afterwards reaches the database."""


class DatabaseCommands(CommandListener):
    """Registered once, before the first client is made; idle until a test listens."""

    def __init__(self) -> None:
        self._names: list[str] | None = None
        self._writes: list[str] | None = None
        self._kill_after: int | None = None
        register(self)

    @contextlib.contextmanager
    def counted(self, names: list[str] | None = None) -> Iterator[list[str]]:
        """The names of all commands inside, appended to `names`."""
        self._names = [] if names is None else names
        try:
            yield self._names
        finally:
            self._names = None

    @contextlib.contextmanager
    def written(self, kill_after: int | None = None) -> Iterator[list[str]]:
        """The writes inside; what follows the one with this number (1 = the first) is lost."""
        self._writes, self._kill_after = [], kill_after
        try:
            yield self._writes
        finally:
            self._writes = self._kill_after = None

    def started(self, event) -> None:
        if self._names is not None:
            self._names.append(event.command_name)
        writes, kill_after = self._writes, self._kill_after
        if writes is None:
            return
        if kill_after is not None and len(writes) >= kill_after:
            raise Killed
        target = event.command.get(event.command_name)
        if event.command_name == "aggregate":
            stages = {key for stage in event.command["pipeline"] for key in stage}
            if not stages & {"$out", "$merge"}:
                return
        elif event.command_name not in WRITES:
            return
        if target != LOCKS:
            writes.append(f"{event.command_name} {target}")

    def succeeded(self, event) -> None:
        pass

    def failed(self, event) -> None:
        pass
