"""One run at a time on a dataset.

The lock is one document per dataset in FiftyOne's own database, so that it also holds between
machines that share the database (an App server and a delegated worker). A thread renews it while
the run lives; a killed run loses it after `LEASE` seconds, or at once if its process is seen to be
gone on the same machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import fiftyone.core.odm as foo
from pymongo.errors import DuplicateKeyError, PyMongoError

from unseen.errors import LockedError

logger = logging.getLogger(__name__)

COLLECTION = "unseen.locks"
#: Seconds after which a lock that nobody renewed is void.
LEASE = 90.0

_held = threading.local()


@contextlib.contextmanager
def exclusive(collection: Any, step: str) -> Iterator[None]:
    """Hold the dataset's lock; a step called by another step of the same thread shares it.

    `LockedError` says which other run holds it, where and since when.
    """
    dataset = collection._dataset
    key = str(dataset._doc.id)
    mine: set[str] = getattr(_held, "keys", set())
    if key in mine:
        yield
        return
    locks = foo.get_db_conn()[COLLECTION]
    token = uuid.uuid4().hex
    _acquire(locks, key, token, step, dataset.name)
    _held.keys = mine | {key}
    stop = threading.Event()
    threading.Thread(target=_renew, args=(locks, key, token, stop), daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        _held.keys = _held.keys - {key}
        locks.delete_one({"_id": key, "token": token})


def _acquire(locks: Any, key: str, token: str, step: str, name: str) -> None:
    now = datetime.now(timezone.utc)
    document = {
        "token": token,
        "step": step,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": now,
        "expires": now + timedelta(seconds=LEASE),
    }
    holder = locks.find_one({"_id": key})
    free = {"_id": key, "expires": {"$lt": now}}
    if holder is not None and _is_gone(holder):
        free = {"_id": key, "token": holder["token"]}
    try:
        locks.update_one(free, {"$set": document}, upsert=True)
    except DuplicateKeyError:
        holder = dict(locks.find_one({"_id": key}) or document)
        since = holder["since"].replace(tzinfo=timezone.utc).astimezone()
        raise LockedError(
            f"dataset {name!r} is in use: {holder['step']} has been running since "
            f"{since:%H:%M:%S} (process {holder['pid']} on {holder['host']}); wait until it ends, "
            f"or stop it. After a crash the lock expires within {LEASE:.0f} s"
        ) from None


def _is_gone(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that no longer exists."""
    if os.name != "posix" or holder["host"] != socket.gethostname():
        return False  # on Windows, signal 0 would end the process: wait for the lease instead
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _renew(locks: Any, key: str, token: str, stop: threading.Event) -> None:
    while not stop.wait(LEASE / 4):
        expires = datetime.now(timezone.utc) + timedelta(seconds=LEASE)
        try:
            locks.update_one({"_id": key, "token": token}, {"$set": {"expires": expires}})
        except PyMongoError as error:
            logger.warning("could not renew the dataset's lock: %s", error)
