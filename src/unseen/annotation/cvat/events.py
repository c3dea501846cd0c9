"""How long people worked in CVAT, where the server keeps it: its analytics must run."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from unseen.annotation import sendings
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.server import CvatError, pause
from unseen.annotation.sendings import SentTask
from unseen.errors import AnnotationError, ServerError

logger = logging.getLogger(__name__)

#: Seconds to wait for the list of events; times are worth no long wait.
WAIT = 30.0
#: An event of this kind says how long somebody worked; pauses beyond 100 s do not count in CVAT.
_SCOPE = "send:working_time"


def note_time(api: Api, task: SentTask, before: Mapping[str, Mapping[str, Any]]) -> bool:
    """Note how long people worked in the jobs of a task that came back; False if CVAT cannot tell.

    `before` is what was noted at the last load; jobs that have not changed since are not asked about.
    """
    for number, job in task.loaded.items():
        known = before.get(number, {})
        if "seconds" in known and known["updated"] == job["updated"]:
            job["seconds"] = known["seconds"]
    new = [n for n, job in task.loaded.items() if job["finished"] and "seconds" not in job]
    if not new:
        return True
    worked = working_seconds(api, task.task_id, task.sent_at)
    if worked is None:
        return False
    for number in new:
        task.loaded[number]["seconds"] = worked.get(int(number))
    return True


def working_seconds(api: Api, task_id: int, since: str) -> dict[int, float] | None:
    """Job id -> seconds that people worked in it; None if the server does not tell.

    `since` is when the task was made. Users who may not see the events of others get their own.
    """
    chosen = urlencode({"task_id": task_id, "from": since, "to": sendings.now()})
    try:
        if api.json("GET", "server/plugins").get("ANALYTICS") is not True:
            return None
        text = _export(api, chosen)
    except AnnotationError as error:
        logger.info("CVAT does not tell how long people worked: %s", error)
        return None
    seconds: dict[int, float] = defaultdict(float)
    for row in csv.DictReader(io.StringIO(text)):
        if row.get("scope") == _SCOPE:
            try:
                worked = json.loads(row.get("payload") or "")["working_time"] / 1000
                seconds[int(row.get("job_id") or "")] += worked
            except (ValueError, KeyError, TypeError):
                continue  # work outside of a job
    return {number: round(worked, 1) for number, worked in seconds.items()}


def _export(api: Api, chosen: str) -> str:
    """The events as CSV: by a request in the background, or as older servers export them."""
    try:
        made = api.json("POST", f"events/export?{chosen}", {"rq_id": str})
    except CvatError as error:
        if error.status not in (404, 405):
            raise
        return _export_by_query(api, chosen)
    asked = f"requests/{quote(made['rq_id'], safe='')}"

    def is_ready() -> str | None:
        state: dict[str, Any] = api.json("GET", asked)
        if state.get("status") == "failed":
            raise ServerError(f"CVAT could not export its events: {state.get('message')}")
        place = state.get("result_url") if state.get("status") == "finished" else None
        return urlsplit(place).query if place else None

    return api.text(f"events/download?{_wait(is_ready)}")


def _export_by_query(api: Api, chosen: str) -> str:
    number = api.json("GET", f"events?{chosen}", {"query_id": str})["query_id"]
    asked = f"events?{chosen}&query_id={quote(number)}"

    def is_ready() -> str | None:
        # 202 and JSON while it works, 201 without a body once it is done.
        return None if api.text(asked).strip() else "done"

    _wait(is_ready)
    return api.text(f"{asked}&action=download")


def _wait(is_ready: Callable[[], str | None]) -> str:
    deadline, rounds = time.monotonic() + WAIT, 0
    while (found := is_ready()) is None:
        if not pause(rounds, deadline):
            raise ServerError(f"CVAT did not export its events within {WAIT:g} s")
        rounds += 1
    return found
