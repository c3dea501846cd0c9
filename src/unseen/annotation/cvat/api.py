"""The requests that are made to a CVAT server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from unseen.annotation.cvat import answers
from unseen.annotation.cvat.answers import ANY, difference
from unseen.annotation.cvat.client import Client
from unseen.annotation.cvat.server import (
    LIMITS,
    CvatError,
    HiddenError,
    UnreachableError,
    form,
    is_passing,
    pause,
    shorten,
)
from unseen.errors import ServerError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frames:
    """The images of a task, in order."""

    names: list[str]
    sizes: list[tuple[int, int]]  #: (width, height) px
    deleted: frozenset[int]  #: frames that annotators removed


class Api(Client):
    """A signed-in client of one CVAT server; every method raises ServerError if the server fails."""

    def _search(self, kind: str, key: str, name: str) -> int | None:
        """The id of the item with exactly this name; CVAT's own search also finds similar ones."""
        items = self.paged(f"{kind}?{urlencode({'search': name})}", {"id": int, key: str})
        return next((item["id"] for item in items if item[key] == name), None)

    def find_user(self, name: str) -> int | None:
        """Id of the user with exactly this name."""
        return self._search("users", "username", name)

    def find_project(self, name: str) -> int | None:
        """Id of the project with exactly this name."""
        return self._search("projects", "name", name)

    def make_project(self, name: str, labels: Sequence[dict[str, Any]]) -> int:
        """Create a project; returns its id."""
        body = {"name": name, "labels": list(labels)}
        return int(self.json("POST", "projects", answers.NUMBERED, json=body)["id"])

    def remove_project_if_empty(self, project_id: int) -> None:
        """Delete a project that holds no task."""
        path = f"tasks?project_id={project_id}&page_size=1"
        if not self.json("GET", path, {"results": [ANY]})["results"]:
            self.delete(f"projects/{project_id}")

    def labels(self, owner: str, number: int) -> list[dict[str, Any]]:
        """The labels of a "task" or "project", without the parts of skeletons."""
        labels = self.paged(f"labels?{owner}_id={number}", answers.LABEL)
        return [label for label in labels if not label.get("has_parent")]

    def make_task(
        self,
        name: str,
        *,
        labels: Sequence[dict[str, Any]],
        project_id: int | None,
        segment_size: int | None,
        issue_tracker: str | None,
    ) -> int:
        """Create an empty task; returns its id."""
        body: dict[str, Any] = {"name": name, "labels": list(labels), "overlap": 0}
        if project_id is not None:
            body.update(labels=[], project_id=project_id)
        if segment_size is not None:
            body["segment_size"] = segment_size
        if issue_tracker:
            body["bug_tracker"] = issue_tracker
        return int(self.json("POST", "tasks", answers.NUMBERED, json=body)["id"])

    def find_tasks(self, text: str) -> list[dict[str, Any]]:
        """The tasks whose name contains `text`."""
        tasks = self.paged(f"tasks?{urlencode({'search': text})}", answers.NAMED)
        return [task for task in tasks if text in task["name"]]

    def task(self, task_id: int) -> dict[str, Any] | None:
        """A task, or None if it is gone."""
        return self.find(f"tasks/{task_id}")

    def send_images(
        self,
        task_id: int,
        files: Sequence[tuple[str, Path]],
        *,
        image_quality: int,
        progress: Callable[[float], None],
    ) -> str | None:
        """Upload (name on the server, file) in this order, streamed from disk.

        Returns the id of the server's background request, or None before version 2.31 or so.
        """
        try:
            response = self._session.send_request(
                "POST",
                self._url(f"tasks/{task_id}/data"),
                body=lambda: form(files, image_quality, progress),
                read=5 * LIMITS.read,
            )
        except UnreachableError as error:
            # Proxies that limit uploads often hang up instead of answering.
            raise UnreachableError(
                f"{error}. If the upload is cut every time, the server may limit its size: lower "
                "task_size"
            ) from None
        try:
            answer = response.json()
        except (ValueError, RecursionError):
            return None
        return None if difference(answer, {"rq_id": str}) else str(answer["rq_id"])

    def wait_for_jobs(
        self, task_id: int, request_id: str | None, timeout: float
    ) -> list[dict[str, Any]]:
        """The jobs of a task once the server has read its images, for at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        rounds, said = 0, ""
        while True:
            state, message = self._creation(task_id, request_id)
            said = f"{state}{': ' if message else ''}{message}" if state else said
            if state == "failed":
                raise ServerError(
                    f"CVAT could not read the images of task {task_id}: "
                    f"{message or 'no reason given'}; repair or exclude that image"
                )
            jobs = self.jobs(task_id) if state in ("finished", "") else []
            if jobs:
                return jobs
            if not pause(rounds, deadline):
                raise ServerError(
                    f"CVAT did not make the jobs of task {task_id} within {timeout:g} s; it last "
                    f"said {said or 'nothing'!r}. Look at the server's workers, or raise timeout"
                )
            rounds += 1

    def _creation(self, task_id: int, request_id: str | None) -> tuple[str, str]:
        """State and message of the server's work on the images, both "" if it does not tell."""
        path = f"tasks/{task_id}/status"
        if request_id is not None:
            path = f"requests/{quote(request_id, safe='')}"
        try:
            answer = self.json("GET", path)
        except CvatError as error:
            if error.status in (404, 405, 410):
                return "", ""  # this server knows no such request; the jobs will tell
            raise
        state = str(answer.get("state") or answer.get("status") or "").lower()
        # The reason is the last line of a traceback.
        lines = [line for line in str(answer.get("message") or "").splitlines() if line.strip()]
        return state, shorten(lines[-1]) if lines else ""

    def frames(self, task_id: int) -> Frames:
        """The images of a task."""
        meta = self.json("GET", f"tasks/{task_id}/data/meta", answers.FRAMES)
        frames = meta["frames"] * (meta["size"] if len(meta["frames"]) == 1 else 1)
        return Frames(
            names=[f["name"] for f in frames],
            sizes=[(f["width"], f["height"]) for f in frames],
            deleted=frozenset(meta["deleted_frames"]),
        )

    def find_jobs(self, task_id: int) -> list[dict[str, Any]] | None:
        """The jobs of a task, also of one in another workspace by now; None if it is gone.

        Raises HiddenError if the task is there and shows no job.
        """
        if jobs := self.jobs(task_id):
            return jobs
        task = self.task(task_id)
        if task is None:
            return None
        # A list shows what belongs to the organization of the request, and nothing else.
        home = task.get("organization")
        try:
            slug = None
            if home is not None:
                slug = self.json("GET", f"organizations/{home}", {"slug": str})["slug"]
            jobs = self.jobs(task_id, {"X-Organization": slug})
        except CvatError as error:
            if error.status not in (403, 404):
                raise
        if not jobs:
            place = "outside of organizations" if home is None else f"in organization {home}"
            raise HiddenError(
                f"CVAT task {task_id} ({task.get('name')}) is {place} and shows {self.username!r} "
                "none of its jobs; have that user made a member there, or the task moved back"
            )
        return jobs

    def jobs(
        self, task_id: int, headers: dict[str, str | None] | None = None
    ) -> list[dict[str, Any]]:
        """The annotation jobs of a task in the order of their images; the server has another."""
        jobs = self.paged(f"jobs?task_id={task_id}", answers.JOB, headers=headers)
        ours = [job for job in jobs if job.get("type", "annotation") == "annotation"]
        return sorted(ours, key=lambda job: (job["start_frame"], job["id"]))

    def job_annotations(self, job_id: int) -> dict[str, Any]:
        """Shapes, tags and tracks of a job."""
        return self.json("GET", f"jobs/{job_id}/annotations")

    def put_shapes(self, task_id: int, shapes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace all annotations of a task by these shapes; returns them with their ids."""
        body = {"version": 0, "tags": [], "shapes": list(shapes), "tracks": []}
        return list(
            self.json("PUT", f"tasks/{task_id}/annotations", answers.SHAPES, json=body)["shapes"]
        )

    def write_guide(self, markdown: str, owner: str, number: int) -> None:
        """Attach a guide to a "task" or "project"; log it if the server accepts none."""
        for is_last in (False, True):
            try:
                self.json("POST", "guides", json={f"{owner}_id": number, "markdown": markdown})
                return
            except ServerError as error:
                if is_last or not is_passing(error):
                    logger.warning("the task guide was not accepted: %s", error)
                    return
            # The answer may have been lost, not the guide.
            if self._guide_of(owner, number) is not None:
                return

    def change_guide(self, project_id: int, change: Callable[[str | None], str | None]) -> None:
        """Change the guide of a project, which its tasks show; failures are logged.

        `change` gets the guide (None if there is none) and returns the new one; None leaves it.
        """
        try:
            number = self._guide_of("project", project_id)
            before = None
            if number is not None:
                before = str(self.json("GET", f"guides/{number}").get("markdown", ""))
            after = change(before)
            if after is None and before is not None:
                logger.warning("CVAT project %s keeps the guide that it has", project_id)
            if after is None or after == before:
                return
            if number is None:
                self.write_guide(after, "project", project_id)
            else:
                self.json("PATCH", f"guides/{number}", json={"markdown": after})
        except ServerError as error:
            logger.warning("the guide was not accepted: %s", error)

    def _guide_of(self, owner: str, number: int) -> Any:
        return self.json("GET", f"{owner}s/{number}").get("guide_id")

    def task_url(self, task_id: int) -> str:
        """Address of a task in CVAT's own pages."""
        return f"{self.base_url}/tasks/{task_id}"

    def job_url(self, task_id: int, job_id: int) -> str:
        """Address of a job in CVAT's editor; `?frame=` opens an image."""
        return f"{self.task_url(task_id)}/jobs/{job_id}"
