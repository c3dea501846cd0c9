"""One run at a time on a dataset; everybody who shares the database sees how far it is.

The lock is one document per dataset in FiftyOne's own database, so that it also holds between
machines that share the database (an App server and a delegated worker). The server's clock alone
says when it expires. A thread renews it while the run lives; a killed run loses it after `LEASE`
seconds, or at once if its process is seen to be gone. A run that was suspended for longer may have
lost it: `check`, called before progress is reported and before results are written, ends it.

The document also has the progress of the run, how it ended, and whether somebody asks it to stop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fiftyone.core.odm as foo
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from unseen.dataset.mongodb import reason
from unseen.errors import Cancelled, LockedError

logger = logging.getLogger(__name__)

COLLECTION = "unseen.locks"
#: Seconds after which a lock that nobody renewed is void.
LEASE = 90.0
#: Seconds between two reports of a run, and so until it is stopped.
TELL = 1.0
#: Days for which the end of a run is remembered.
KEPT = 30

RUNNING, DONE, FAILED, STOPPED, INTERRUPTED = "running", "done", "failed", "stopped", "interrupted"

_EXPIRES = {"$add": ["$$NOW", int(LEASE * 1000)]}
# Unlike the monotonic clock, this one counts the time that a laptop sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
_held = threading.local()


@dataclass(frozen=True, kw_only=True)
class Run:
    """The run that works on a dataset, or the last one that did."""

    step: str  #: its name
    state: str  #: RUNNING, or how it ended; INTERRUPTED = its process was killed
    since: datetime
    seconds: float  #: that it has taken
    where: str  #: process and machine
    share: float = 0.0  #: of its stage that is done, 0 to 1
    text: str = ""  #: what it does, with the time left; or how it ended
    is_stopping: bool = False  #: somebody has asked it to stop
    request: Mapping[str, Any] | None = None  #: the entries of its form, if it began in the App
    view: str | None = None  #: the saved view that it made


class Lock:
    """The lock of one run."""

    def __init__(self, dataset: Any, step: str, request: Mapping[str, Any] | None) -> None:
        self._locks = foo.get_db_conn()[COLLECTION]
        self._key, self._name, self._token = str(dataset._doc.id), dataset.name, uuid.uuid4().hex
        self._own = {"_id": self._key, "token": self._token}
        self.step, self._request = step, request
        self.text, self.view = "", None  # what the run says when it is done
        self._stop = threading.Event()
        self._renewed, self._told = _now(), float("-inf")

    def acquire(self) -> None:
        """Take the lock, and renew it from now on."""
        me = {"token": self._token, "step": self.step, "request": self._request, **_process()}
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
                f"{self.step} no longer holds the lock of dataset {self._name!r}: it stood still "
                f"for more than {LEASE:.0f} s{now}. It stopped without writing on; start it again"
            )

    def tell(self, share: float, line: str) -> None:
        """Say how far the run is; raises `Cancelled` if somebody has asked it to stop."""
        if _now() - self._told < TELL:
            return
        self._told, known = _now(), None
        with contextlib.suppress(PyMongoError):  # nobody needs it
            told = {"$set": {"share": share, "text": line}}
            known = self._locks.find_one_and_update(self._own, told, {"stop": 1})
        if known and known.get("stop"):
            raise Cancelled("stopped in the App")

    def release(self, state: str, text: str) -> None:
        """Free the dataset, and say how the run ended."""
        self._stop.set()
        end = {"state": state, "text": {"$literal": text}, "view": {"$literal": self.view}}
        moment = {"expires": "$$NOW", "ended": "$$NOW"}
        with contextlib.suppress(PyMongoError):  # the run is over; its lock expires by itself
            self._locks.update_one(self._own, [{"$set": end | moment}, {"$unset": "token"}])

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
                # Datasets may be gone by now; a short run is not kept waiting for it.
                earliest = {"$subtract": ["$$NOW", KEPT * 86_400_000]}
                is_old = {"$expr": {"$lt": ["$ended", earliest]}, "ended": {"$exists": True}}
                self._locks.delete_many(is_old)
            except PyMongoError as error:
                logger.warning("could not renew the dataset's lock: %s", reason(error))


@contextlib.contextmanager
def exclusive(
    collection: Any, step: str, request: Mapping[str, Any] | None = None
) -> Iterator[Lock]:
    """Hold the dataset's lock; a step called by another step of the same thread shares it.

    `request` are the entries of the form that the run comes from. `LockedError` says which other
    run holds the lock, where and since when.
    """
    dataset = collection._dataset
    mine: dict[Any, Lock] = _held.__dict__.setdefault("locks", {})
    if dataset._doc.id in mine:
        yield mine[dataset._doc.id]
        return
    lock = Lock(dataset, step, request)
    lock.acquire()
    mine[dataset._doc.id] = lock
    state = DONE
    try:
        yield lock
    except (KeyboardInterrupt, Cancelled):
        state, lock.text = STOPPED, ""
        raise
    except BaseException as error:
        state, lock.text = FAILED, str(error) or type(error).__name__
        raise
    finally:
        del mine[dataset._doc.id]
        lock.release(state, lock.text)


def last_run(dataset: Any) -> Run | None:
    """The run that works on a dataset now, or else the last one, if it is remembered."""
    took = {"$subtract": [{"$ifNull": ["$ended", "$$NOW"]}, "$since"]}
    now = {"is_void": {"$lte": ["$expires", "$$NOW"]}, "took": took}
    found = foo.get_db_conn()[COLLECTION].aggregate(
        [{"$match": {"_id": str(dataset._doc.id)}}, {"$set": now}]
    )
    for known in found:
        is_dead = known["is_void"] or _is_gone(known)
        return Run(
            step=known["step"],
            state=known.get("state") or (INTERRUPTED if is_dead else RUNNING),
            since=known["since"].replace(tzinfo=timezone.utc),
            seconds=known["took"] / 1000,
            where=_where(known),
            share=known.get("share", 0.0),
            text=known.get("text", ""),
            is_stopping=known.get("stop", False),
            request=known.get("request"),
            view=known.get("view"),
        )
    return None


def stop(dataset: Any) -> None:
    """Ask the run that works on a dataset to stop, wherever it is, as Ctrl-C would."""
    running = {"_id": str(dataset._doc.id), "token": {"$exists": True}}
    foo.get_db_conn()[COLLECTION].update_one(running, {"$set": {"stop": True}})


def claim(run: Run, dataset: Any) -> bool:
    """Whether a run has ended and the caller is the first to say so; nobody else will."""
    if run.state == RUNNING:
        return False
    untold = {"_id": str(dataset._doc.id), "since": run.since, "told": {"$exists": False}}
    told = foo.get_db_conn()[COLLECTION].update_one(untold, {"$set": {"told": True}})
    return bool(told.matched_count)


def forget(dataset: Any) -> None:
    """Forget the last run on a dataset, unless it goes on."""
    run = last_run(dataset)
    if run is not None and run.state != RUNNING:
        ended = {"_id": str(dataset._doc.id), "since": run.since}
        foo.get_db_conn()[COLLECTION].delete_one(ended)


def check(dataset: Any) -> None:
    """Raise `LockedError` if this thread's run has lost the lock that it held on a dataset."""
    lock = _held.__dict__.get("locks", {}).get(dataset._doc.id)
    if lock is not None:
        lock.check()


def _now() -> float:
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def _described(holder: dict[str, Any]) -> str:
    since = holder["since"].replace(tzinfo=timezone.utc).astimezone()
    return f"{holder['step']} has been running since {since:%H:%M:%S} ({_where(holder)})"


def _where(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}"


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
