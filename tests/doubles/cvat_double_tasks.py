"""The routes of tasks and of their data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cvat_double_checks import check_named, check_new_names
from cvat_double_events import EventRoutes
from cvat_double_routes import (
    Answer,
    Call,
    forbidden,
    server_error,
)
from cvat_double_things import Rejected, Task

if TYPE_CHECKING:
    from cvat_double import CvatDouble

MESSAGES = {"Queued": "", "Started": "Media files are being extracted...", "Finished": ""}
REQUEST_STATUS = {
    "Queued": "queued",
    "Started": "started",
    "Finished": "finished",
    "Failed": "failed",
}


class TaskRoutes(EventRoutes):
    """Tasks and uploads."""

    def __init__(self, double: CvatDouble) -> None:
        super().__init__(double)
        self.has_requests = self.has("an upload is asked about as a request")
        self.add("/api/tasks", GET=self.tasks, POST=self.create_task)
        self.add("/api/tasks/N", GET=self.task, PATCH=self.patch_task, DELETE=self.delete_task)
        self.add("/api/tasks/N/status", GET=self.status)
        self.add("/api/tasks/N/data", POST=self.upload)
        self.add("/api/tasks/N/data/meta", GET=self.task_meta)
        if self.has_requests:
            self.add("/api/requests/(?:[^/]*)", GET=self.request)

    # tasks

    def find_task(self, call: Call, number: int) -> Task:
        task = self.state.tasks.get(number)
        if task is None:
            raise self.not_found("Task")
        if not self.may_see(call, task):
            raise forbidden()
        self.refuse_worker(call, task)
        return task

    def tasks(self, call: Call) -> Answer:
        found = self.listed(call, sorted(self.state.tasks.values(), key=lambda t: -t.id))
        shown = [self.show.task(task) for task in found]
        exact = ("id", "name", "project_id", "status", "owner", "assignee", "subset")
        return self.page(call, self.filtered(call, shown, exact))

    def task(self, call: Call, number: int) -> Answer:
        return Answer(json=self.show.task(self.find_task(call, number)))

    def create_task(self, call: Call) -> Answer:
        body = call.body
        check_named(body)
        project_id, labels = body.get("project_id"), body.get("labels") or []
        if not labels and project_id is None:
            raise Rejected(["Label set or project_id must be present"])
        if labels and project_id is not None:
            raise Rejected(["Project must have only one of Label set or project_id"])
        project = self.state.projects.get(project_id)
        if project_id is not None and project is None:
            raise Rejected([f"The specified project #{project_id} does not exist."])
        assignee = self.user_by_id(body.get("assignee_id"))
        now = self.state.clock.now()
        task = Task(self.state.next_id("task"), body["name"], call.user, now, now, project)
        task.own_labels = [self.state.make_label(label) for label in labels]
        task.assignee = assignee
        task.bug_tracker = body.get("bug_tracker") or ""
        task.subset = body.get("subset") or ""
        task.segment_size = body.get("segment_size") or 0
        task.organization = call.organization.id if call.organization else None
        self.state.tasks[task.id] = task
        self.state.touch(task)
        shown = self.show.task(task)
        return Answer(201, shown, headers=[("location", shown["url"])])

    def patch_task(self, call: Call, number: int) -> Answer:
        task, body = self.find_task(call, number), call.body
        check_named(body, partial=True)
        if body.get("labels"):
            check_new_names(task.labels, body["labels"])
            self.state.change_labels(task.project or task, body["labels"])
        if body.get("project_id") is not None:
            project = self.state.projects.get(body["project_id"])
            if project is None:
                raise Rejected([f"The specified project #{body['project_id']} does not exist."])
            self.state.move_to_project(task, project)
        if "organization_id" in body:
            task.organization = body["organization_id"]
        if "assignee_id" in body:
            task.assignee = self.user_by_id(body["assignee_id"])
        for key in ("name", "bug_tracker", "subset"):
            setattr(task, key, body.get(key, getattr(task, key)))
        self.state.touch(task)
        return self.task(call, number)

    def delete_task(self, call: Call, number: int) -> Answer:
        self.state.delete_task(self.find_task(call, number).id)
        return Answer(204)

    # data

    def upload(self, call: Call, number: int) -> Answer:
        task = self.find_task(call, number)
        if task.has_data:
            raise Rejected("Adding more data is not supported")
        fields = call.form or dict(call.body or {})
        quality = _quality(fields.get("image_quality"))
        if call.form is None:
            call.frames = self.named_frames(fields)
        names = [frame.name for frame in call.frames]
        if len(set(names)) < len(names):
            raise server_error()  # the server's storage refuses a second file of the same name
        frames = call.frames[: len(call.frames) - self.double.drop_files]
        self.double.drop_files = 0
        if fields.get("sorting_method", "lexicographical") != "predefined":
            frames = sorted(frames, key=lambda frame: frame.name)
        task.image_quality, task.data_id = quality, self.state.next_id("data")
        task.pending = None if self.double.never_creates_jobs else frames
        task.polls_left = self.double.job_delay
        task.error = self.double.creation_error
        if not frames and not self.double.never_creates_jobs:
            task.error = "ValueError: No media data found"
        if call.unreadable is not None:
            task.error = (
                "Traceback (most recent call last):\n"
                "PIL.UnidentifiedImageError: cannot identify image file "
                f"'/home/django/data/data/{task.data_id}/raw/{call.unreadable}'"
            )
        if task.pending is not None and not task.polls_left and task.error is None:
            self.state.poll(task)
        if self.has_requests:
            return Answer(202, {"rq_id": f"action=create&target=task&target_id={task.id}"})
        return Answer(202, _echo(names, quality, fields))

    def status(self, call: Call, number: int) -> Answer:
        task = self.find_task(call, number)
        state = self.state.poll(task)
        message = task.error if state == "Failed" else MESSAGES[state]
        return Answer(json={"state": state, "message": message, "progress": 0.0})

    def request(self, call: Call) -> Answer:
        name = unquote(call.path.rstrip("/").rpartition("/")[2])
        if "target=events" in name:
            return self.export_state(name)
        match = re.fullmatch(r"action=create&target=task&target_id=(\d+)", name)
        if not match:
            return Answer(404, html="There is no request with specified id")
        task = self.state.tasks.get(int(match[1]))
        if task is None:
            raise Rejected(["Task matching query does not exist."])
        if not task.has_data:
            return Answer(404, html="There is no request with specified id")
        state = self.state.poll(task)
        message = task.error.splitlines()[-1] + "\n" if state == "Failed" else MESSAGES[state]
        is_over = state in ("Finished", "Failed")
        target = {"project_id": None, "task_id": task.id, "job_id": None}
        return Answer(
            json={
                "status": REQUEST_STATUS[state],
                "message": message,
                "id": name,
                "operation": {
                    **{"type": "create:task", "target": "task", **target},
                    **{"format": None, "lightweight": None},
                },
                "progress": 0.0,
                "created_date": task.created_date,
                "started_date": None if state == "Queued" else task.created_date,
                "finished_date": task.updated_date if is_over else None,
                "expiry_date": task.updated_date if is_over else None,
                "owner": {"id": task.owner.id, "username": task.owner.username},
                "result_url": None,
                "result_id": None,
            }
        )

    def task_meta(self, call: Call, number: int) -> Answer:
        task = self.find_task(call, number)
        if not task.has_data:
            raise server_error()
        return Answer(json=self.show.data_meta(task, range(len(task.frames))))


def _quality(value: str | None) -> int:
    if value is None:
        raise Rejected({"image_quality": ["This field is required."]})
    try:
        number = int(value)
    except ValueError:
        raise Rejected({"image_quality": ["A valid integer is required."]}) from None
    if number > 100:
        raise Rejected({"image_quality": ["Ensure this value is less than or equal to 100."]})
    if number < 0:
        raise Rejected({"image_quality": ["Ensure this value is greater than or equal to 0."]})
    return number


def _echo(names: list[str], quality: int, fields: dict[str, str]) -> dict:
    """What the server says of the data it got; it echoes some fields wrongly, as recorded."""
    return {
        "chunk_size": None,
        "image_quality": quality,
        "start_frame": 0,
        "stop_frame": 0,
        "frame_filter": "",
        "client_files": names,
        "server_files": [],
        "remote_files": [],
        "use_zip_chunks": False,
        "server_files_exclude": [],
        "use_cache": False,
        "copy_data": False,
        "storage_method": "file_system",
        "storage": "local",
        "sorting_method": fields.get("sorting_method", "lexicographical"),
        "filename_pattern": None,
    }
