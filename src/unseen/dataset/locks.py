"""One run at a time on a dataset.

The lock is one document per dataset in FiftyOne's own database, so that it also holds between
machines that share the database (an App server and a delegated worker). The server's clock alone
says when it expires. A thread renews it while the run lives; a killed run loses it after `LEASE`
seconds, or at once if its process is seen to be gone. A run that was suspended for longer may have
lost it: `check`, called before progress is reported and before results are written, ends it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timezone
from pathlib import Path
from typing import Any

import fiftyone.core.odm as foo
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from unseen.errors import LockedError

logger = logging.getLogger(__name__)

COLLECTION = "unseen.locks"
#: Seconds after which a lock that nobody renewed is void.
LEASE = 90.0

_EXPIRES = {"$add": ["$$NOW", int(LEASE * 1000)]}
# Unlike the monotonic clock, this one counts the time that a laptop sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
_held = threading.local()


class _Lock:
    """The lock of one run."""

    def __init__(self, dataset: Any, step: str) -> None:
        self._locks = foo.get_db_conn()[COLLECTION]
        self._key, self._name, self._token = str(dataset._doc.id), dataset.name, uuid.uuid4().hex
        self._own = {"_id": self._key, "token": self._token}
        self._step = step
        self._stop = threading.Event()
        self._renewed = _now()

    def acquire(self) -> None:
        me = {"token": self._token, "step": self._step, **_process()}
        since = {"since": "$$NOW", "expires": _EXPIRES}
        mine = {**self._own, **{k: {"$literal": v} for k, v in me.items()}, **since}
        holder: dict[str, Any] = {}
        for _ in range(3):
            gone = holder.get("token", self._token)
            is_free = {"$or": [{"$lte": ["$expires", "$$NOW"]}, {"$eq": ["$token", gone]}]}
            # Two first runs may both try to insert: the later one meets the other's document.
            with contextlib.suppress(DuplicateKeyError):
                holder = self._locks.find_one_and_update(
                    {"_id": self._key},
                    [{"$replaceWith": {"$cond": [is_free, mine, "$$ROOT"]}}],
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
                if holder["token"] == self._token or not _is_gone(holder):
                    break
        if holder.get("token") != self._token:
            raise LockedError(
                f"dataset {self._name!r} is in use: {_described(holder)}; wait until it ends, or "
                f"stop it. After a crash the lock expires within {LEASE:.0f} s"
            )
        threading.Thread(target=self._keep, daemon=True).start()

    def check(self) -> None:
        """Raise `LockedError` if another run may have begun."""
        if _now() - self._renewed > LEASE / 2 and not self._renew():
            holder = self._locks.find_one({"_id": self._key})
            now = f"; now {_described(holder)}" if holder else ""
            raise LockedError(
                f"{self._step} no longer holds the lock of dataset {self._name!r}: it stood still "
                f"for more than {LEASE:.0f} s{now}. It stopped without writing on; start it again"
            )

    def release(self) -> None:
        self._stop.set()
        with contextlib.suppress(PyMongoError):  # the run is done; its lock expires by itself
            self._locks.delete_one(self._own)

    def _renew(self) -> bool:
        before = _now()
        update = [{"$set": {"expires": _EXPIRES}}]
        is_held = bool(self._locks.update_one(self._own, update).matched_count)
        self._renewed = before if is_held else float("-inf")
        return is_held

    def _keep(self) -> None:
        while not self._stop.wait(LEASE / 4):
            try:
                if not self._renew():
                    return  # `check` tells the run
            except PyMongoError as error:
                logger.warning("could not renew the dataset's lock: %s", error)


@contextlib.contextmanager
def exclusive(collection: Any, step: str) -> Iterator[None]:
    """Hold the dataset's lock; a step called by another step of the same thread shares it.

    `LockedError` says which other run holds it, where and since when.
    """
    dataset = collection._dataset
    mine: dict[Any, _Lock] = _held.__dict__.setdefault("locks", {})
    if dataset._doc.id in mine:
        yield
        return
    lock = _Lock(dataset, step)
    lock.acquire()
    mine[dataset._doc.id] = lock
    try:
        yield
    finally:
        del mine[dataset._doc.id]
        lock.release()


def is_in_use(dataset: Any) -> bool:
    """Whether a step runs on a dataset now."""
    held = {"_id": str(dataset._doc.id), "$expr": {"$gt": ["$expires", "$$NOW"]}}
    holder = foo.get_db_conn()[COLLECTION].find_one(held)
    return holder is not None and not _is_gone(holder)


def check(dataset: Any) -> None:
    """Raise `LockedError` if this thread's run has lost the lock that it held on a dataset."""
    lock = _held.__dict__.get("locks", {}).get(dataset._doc.id)
    if lock is not None:
        lock.check()


def _now() -> float:
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def _described(holder: dict[str, Any]) -> str:
    since = holder["since"].replace(tzinfo=timezone.utc).astimezone()
    where = f"process {holder['pid']} on {holder['host']}"
    return f"{holder['step']} has been running since {since:%H:%M:%S} ({where})"


def _process() -> dict[str, Any]:
    """What identifies this process among all machines, containers and earlier processes."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "space": _space(), "pid": pid, "born": _born(pid)}


def _space() -> str:
    """Within what a process id has a meaning: this start of the machine, this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{uuid.getnode():x}"


def _born(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None where nothing says so."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process in the same space that no longer exists."""
    here = (socket.gethostname(), _space())
    if os.name != "posix" or (holder.get("host"), holder.get("space")) != here:
        return False  # on Windows, signal 0 would end the process: wait for the lease instead
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    # A process id comes back some day, with another start.
    return holder.get("born") != _born(holder["pid"])
