"""What is asked of a CVAT server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from unseen.annotation.cvat.answers import shorten
from unseen.annotation.cvat.connection import Connection
from unseen.annotation.cvat.session import LIMITS, CvatError, UnreachableError, is_passing, pause
from unseen.annotation.cvat.upload import form
from unseen.errors import ServerError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One image as the server has it."""

    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Frames:
    """The images of a task; `deleted` holds the numbers that annotators removed."""

    frames: list[Frame]
    deleted: frozenset[int]


class Api(Connection):
    """The calls that sending and receiving need, beside FiftyOne's own."""

    # --- people and projects ---------------------------------------------------------------------
    @property
    def username(self) -> str:
        """Who is signed in."""
        return str(self._user.get("username", ""))

    def find_user(self, name: str) -> int | None:
        """Id of the user with exactly this name."""
        query = urlencode({"search": name})
        for user in self.paged(f"{self.users_url}?{query}"):
            if user["username"] == name:
                return int(user["id"])
        return None

    def find_project(self, name: str) -> dict[str, Any] | None:
        """The project with exactly this name."""
        query = urlencode({"search": name})
        return next(
            (p for p in self.paged(f"{self.projects_url}?{query}") if p["name"] == name), None
        )

    def has_project(self, project_id: int) -> bool:
        """Whether a project is still there."""
        try:
            self._json("GET", self.project_url(project_id))
        except CvatError as error:
            if error.status == 404:
                return False
            raise
        return True

    def is_empty_project(self, project_id: int) -> bool:
        """Whether a project holds no task."""
        url = f"{self.tasks_url}?project_id={project_id}&page_size=1"
        return not self._json("GET", url).get("results")

    def labels(self, *, task_id: int | None = None, project_id: int | None = None) -> list[Any]:
        """The labels of a task or a project, without the parts of skeletons."""
        key, number = ("task_id", task_id) if task_id is not None else ("project_id", project_id)
        found = self.paged(f"{self.base_api_url}/labels?{key}={number}")
        return [label for label in found if not label.get("has_parent")]

    def add_labels(self, project_id: int, labels: Sequence[dict[str, Any]]) -> None:
        """Add labels to a project; those it has stay as they are."""
        self._json("PATCH", self.project_url(project_id), json={"labels": list(labels)})

    # --- tasks -------------------------------------------------------------------------------------
    def make_project(self, name: str, labels: Sequence[dict[str, Any]]) -> int:
        """Create a project; its id."""
        body = {"name": name, "labels": list(labels)}
        return int(self._json("POST", self.projects_url, json=body)["id"])

    def make_task(
        self,
        name: str,
        *,
        labels: Sequence[dict[str, Any]],
        project_id: int | None,
        segment_size: int | None,
        issue_tracker: str | None,
    ) -> int:
        """Create an empty task; its id."""
        body: dict[str, Any] = {"name": name, "labels": list(labels), "overlap": 0}
        if project_id is not None:
            body.update(labels=[], project_id=project_id)
        if segment_size is not None:
            body["segment_size"] = segment_size
        if issue_tracker:
            body["bug_tracker"] = issue_tracker
        return int(self._json("POST", self.tasks_url, json=body)["id"])

    def find_tasks(self, text: str) -> list[dict[str, Any]]:
        """The tasks whose name holds `text`."""
        query = urlencode({"search": text})
        return [t for t in self.paged(f"{self.tasks_url}?{query}") if text in t["name"]]

    def is_untouched(self, task_id: int) -> bool:
        """Whether nobody has begun to work on a task."""
        return all(
            job.get("state") == "new" and job.get("stage") == "annotation"
            for job in self.jobs(task_id)
        )

    def remove_task(self, task_id: int) -> None:
        """Delete a task; one that is gone already is fine."""
        try:
            self._session.send_request("DELETE", self.task_url(task_id))
        except CvatError as error:
            if error.status != 404:
                raise

    def send_images(
        self,
        task_id: int,
        files: Sequence[tuple[str, Path]],
        *,
        image_quality: int,
        progress: Callable[[float], None] = lambda share: None,
    ) -> str | None:
        """Upload images in this order, streamed from disk, so that memory stays small.

        Args:
            task_id: an empty task.
            files: (name on the server, file).
            image_quality: JPEG quality in which the server shows them, 0 to 100.
            progress: called with the share of the bytes that are sent.

        Returns:
            the id of the server's background request, where the server (2.31 or so) tells one.
        """
        try:
            response = self._session.send_request(
                "POST",
                self.task_data_url(task_id),
                body=lambda: form(files, image_quality, progress),
                read=5 * LIMITS.read,
            )
        except UnreachableError as error:
            # Proxies that limit uploads often hang up instead of saying so.
            raise UnreachableError(
                f"{error}. Where the upload is cut every time, the server may limit its size: lower "
                "task_size"
            ) from None
        try:
            answer = response.json()
        except ValueError:
            return None
        return answer.get("rq_id") if isinstance(answer, dict) else None

    def wait_for_jobs(
        self, task_id: int, request_id: str | None, timeout: float
    ) -> list[dict[str, Any]]:
        """The jobs of a task, once the server has read its images.

        Raises:
            ServerError: the server failed (with its reason) or took longer than `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        rounds, said = 0, ""
        while True:
            state, message = self._creation(task_id, request_id)
            said = f"{state}{': ' if message else ''}{_last_line(message)}" if state else said
            if state == "failed":
                raise ServerError(
                    f"CVAT could not read the images of task {task_id}: "
                    f"{_last_line(message) or 'no reason given'}; mend or exclude that image"
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
        """How far the server is with the images of a task: ("" | state, message)."""
        url = f"{self.task_url(task_id)}/status"
        if request_id is not None:
            url = f"{self.base_api_url}/requests/{quote(request_id, safe='')}"
        try:
            answer = self._json("GET", url)
        except CvatError as error:
            if error.status in (404, 405, 410):
                return "", ""  # the server has no such question; the jobs will tell
            raise
        state = str(answer.get("state") or answer.get("status") or "").lower()
        return state, str(answer.get("message") or "")

    def frames(self, task_id: int) -> Frames:
        """The images of a task in their order."""
        meta = self._json("GET", self.task_data_meta_url(task_id))
        frames = [Frame(f["name"], int(f["width"]), int(f["height"])) for f in meta["frames"]]
        if len(frames) == 1 and int(meta.get("size", 1)) > 1:
            frames *= int(meta["size"])  # a server may name one size for all
        return Frames(frames, frozenset(int(n) for n in meta.get("deleted_frames") or ()))

    def task(self, task_id: int) -> dict[str, Any] | None:
        """A task, or None where it is gone."""
        try:
            return self._json("GET", self.task_url(task_id))
        except CvatError as error:
            if error.status == 404:
                return None
            raise

    def jobs(self, task_id: int) -> list[dict[str, Any]]:
        """The annotation jobs of a task in the order of their images; the server's is another."""
        found = self.paged(f"{self.base_api_url}/jobs?task_id={task_id}")
        mine = [job for job in found if job.get("type", "annotation") == "annotation"]
        return sorted(mine, key=lambda job: (job["start_frame"], job["id"]))

    def job_annotations(self, job_id: int) -> dict[str, Any]:
        """Shapes, tags and tracks of a job."""
        return self._json("GET", self.job_annotation_url(job_id))

    def put_shapes(self, task_id: int, shapes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace all annotations of a task by these shapes; they come back with their ids."""
        body = {"version": 0, "tags": [], "shapes": list(shapes), "tracks": []}
        answer = self._json("PUT", self.task_annotation_url(task_id), json=body)
        return list(answer["shapes"])

    def assign_task(self, task_id: int, user_id: int) -> None:
        """Give a task to somebody."""
        self._json("PATCH", self.task_url(task_id), json={"assignee_id": user_id})

    def assign_job(self, job_id: int, user_id: int) -> None:
        """Give a job to somebody."""
        self._json("PATCH", self.taskless_job_url(job_id), json={"assignee": user_id})

    def write_guide(
        self, markdown: str, *, task_id: int | None = None, project_id: int | None = None
    ) -> bool:
        """Attach a guide to a task or a project; False where the server accepts none."""
        owner = {"task_id": task_id} if project_id is None else {"project_id": project_id}
        url = f"{self.base_api_url}/guides"
        for is_last in (False, True):
            try:
                self._json("POST", url, json={**owner, "markdown": markdown})
                return True
            except ServerError as error:
                if is_last or not is_passing(error):
                    logger.warning("the task guide was not accepted: %s", error)
                    return False
            # The answer may have been lost, and not the guide.
            if self._guide_of(**owner) is not None:
                return True
        raise AssertionError("unreachable")

    def _guide_of(self, *, task_id: int | None = None, project_id: int | None = None) -> Any:
        url = self.task_url(task_id) if project_id is None else self.project_url(project_id)
        return self._json("GET", url).get("guide_id")

    def renew_guide(self, markdown: str, project_id: int, marker: str) -> bool:
        """Give a project this guide, unless it has one of somebody else's.

        Args:
            markdown: the guide.
            project_id: the project; in its tasks the server shows its guide, and none of theirs.
            marker: what a guide of ours starts with.
        """
        number = self._guide_of(project_id=project_id)
        if number is None:
            return self.write_guide(markdown, project_id=project_id)
        url = f"{self.base_api_url}/guides/{number}"
        try:
            if not str(self._json("GET", url).get("markdown", "")).startswith(marker):
                logger.warning("CVAT project %s keeps the guide that it has", project_id)
                return False
            self._json("PATCH", url, json={"markdown": markdown})
        except CvatError as error:
            logger.warning("the guide was not accepted: %s", error)
            return False
        return True

    def frame_url(self, task_id: int, job_id: int, frame: int) -> str:
        """Address that opens an image in CVAT's editor."""
        return f"{self.base_job_url(task_id, job_id)}?frame={frame}"


def _last_line(message: str) -> str:
    """The reason at the end of a server's traceback."""
    lines = [line for line in message.splitlines() if line.strip()]
    return shorten(lines[-1]) if lines else ""
