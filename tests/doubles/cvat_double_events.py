"""The events of a server whose analytics run, of which only the working times are kept."""

from __future__ import annotations

import csv
import io
import json
import uuid

from cvat_double_files import FileRoutes
from cvat_double_routes import Answer, Call

COLUMNS = ("scope", "obj_name", "job_id", "task_id", "duration", "payload")


class EventRoutes(FileRoutes):
    """Exports events as CSV: the first question starts it, a later one finds it done."""

    def __init__(self, *how) -> None:
        super().__init__(*how)
        self._asked: dict[str, int] = {}
        self.add("/api/server/plugins", GET=self.plugins)
        if self.has("events are exported as a request"):
            self.add("/api/events/export", POST=self.export)
            self.add("/api/events/download", GET=self.download)
        else:
            self.add("/api/events", GET=self.by_query)

    def plugins(self, call: Call) -> Answer:
        return Answer(json={"ANALYTICS": self.double.worked is not None, "MODELS": False})

    def export(self, call: Call) -> Answer:
        self._asked[number := str(uuid.uuid4())] = int(call.query["task_id"])
        return Answer(202, {"rq_id": f"action=export&target=events&id={number}"})

    def export_state(self, name: str) -> Answer:
        """What `/api/requests` says of an export."""
        number = name.rpartition("=")[2]
        if number not in self._asked:
            raise self.not_found("Request")
        url = f"http://inside/api/events/download?rq_id={number}"
        return Answer(json={"status": "finished", "result_url": url})

    def download(self, call: Call) -> Answer:
        return Answer(html=self._csv(self._asked[call.query["rq_id"]]))

    def by_query(self, call: Call) -> Answer:
        number = call.query.get("query_id")
        if number is None:
            self._asked[number := str(uuid.uuid4())] = int(call.query["task_id"])
            return Answer(202, {"query_id": number})
        if call.query.get("action") == "download":
            return Answer(html=self._csv(self._asked[number]))
        return Answer(201, html="")

    def _csv(self, task_id: int) -> str:
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        table.writerow({"scope": "load:job", "job_id": 1, "task_id": task_id, "payload": "{}"})
        # Work outside of a job, and two pieces of work in each job.
        rows = [{"payload": json.dumps({"working_time": 5000})}]
        for job in self.state.tasks[task_id].jobs:
            for part in (0.25, 0.75):
                ms = round(1000 * part * self.double.worked.get(job.id, 0))
                rows.append({"job_id": job.id, "payload": json.dumps({"working_time": ms})})
        table.writerows({"scope": "send:working_time", "task_id": task_id, **row} for row in rows)
        return text.getvalue()
