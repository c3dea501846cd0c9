"""What a CVAT server remembers and how it changes, without HTTP.

Names and rules are those of CVAT as it was recorded.
"""

from __future__ import annotations

import copy
import threading
import zlib
from collections import defaultdict
from datetime import datetime, timedelta, timezone

from cvat_double_things import (
    AccessToken,
    Attribute,
    Guide,
    Job,
    Json,
    Label,
    Organization,
    Project,
    Rejected,
    Task,
    User,
    all_labels,
)
from cvat_double_versions import Version


class Clock:
    """The time in UTC, later at every call, so that any change shows in `updated_date`."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=timezone.utc)

    def now(self) -> str:
        self._last = max(datetime.now(timezone.utc), self._last + timedelta(microseconds=1))
        return self._last.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class CvatState:
    """Everything one server knows; `lock` guards it."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.lock = threading.RLock()
        self.clock = Clock()
        self.users: dict[int, User] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.organizations: dict[int, Organization] = {}
        self.projects: dict[int, Project] = {}
        self.tasks: dict[int, Task] = {}
        self.jobs: dict[int, Job] = {}
        self.guides: dict[int, Guide] = {}
        self.sessions: dict[str, tuple[User, str]] = {}
        self._counters: dict[str, int] = defaultdict(lambda: 1)

    def next_id(self, kind: str) -> int:
        self._counters[kind] += 1
        return self._counters[kind] - 1

    def start_ids(self, **first: int) -> None:
        """The next id of a kind: user, project, task, job, data, label, attribute, shape, ..."""
        for kind, number in first.items():
            self._counters[kind] = number

    def save(self) -> dict[str, dict]:
        """A copy of everything, for `restore`."""
        return copy.deepcopy(dict(self._kept()))

    def restore(self, saved: dict[str, dict]) -> None:
        """Be again as at `save`."""
        fresh = copy.deepcopy(saved)
        for name, value in self._kept():
            value.clear()
            value.update(fresh[name])

    def _kept(self) -> list[tuple[str, dict]]:
        return [(name, value) for name, value in vars(self).items() if isinstance(value, dict)]

    # users

    def add_user(self, name: str, password: str, **more: Json) -> User:
        user = User(
            self.next_id("user"), name, password, f"{name}@example.com", self.clock.now(), **more
        )
        self.users[user.id] = user
        return user

    def add_token(self, user: User, read_only: bool, **more: Json) -> AccessToken:
        number, now = self.next_id("token"), self.clock.now()
        token = AccessToken(number, f"token {number}", user, now, read_only, **more)
        self.tokens[token.value] = token
        return token

    def user_named(self, name: str) -> User | None:
        return next((u for u in self.users.values() if u.username == name), None)

    def organization_named(self, slug: str) -> Organization | None:
        return next((o for o in self.organizations.values() if o.slug == slug), None)

    # labels

    def make_label(self, body: dict, parent_id: int | None = None) -> Label:
        number = self.next_id("label")
        color = body.get("color") or f"#{zlib.crc32(body['name'].encode()) & 0xFFFFFF:06x}"
        label = Label(number, body["name"], color, body.get("type", "any"), parent_id=parent_id)
        label.attributes = [self.make_attribute(each) for each in body.get("attributes", ())]
        label.sublabels = [self.make_label(each, number) for each in body.get("sublabels", ())]
        return label

    def make_attribute(self, body: dict) -> Attribute:
        return Attribute(
            self.next_id("attribute"),
            body["name"],
            body.get("mutable", True),
            body.get("input_type", "text"),
            body.get("default_value", ""),
            list(body.get("values") or [""]),
        )

    def label_owner(self, label_id: int) -> Task | Project | None:
        for project in self.projects.values():
            if any(label.id == label_id for label in all_labels(project.labels)):
                return project
        for task in self.tasks.values():
            if any(label.id == label_id for label in all_labels(task.own_labels)):
                return task
        return None

    def change_labels(self, owner: Task | Project, bodies: list[dict]) -> None:
        """Apply `labels` of a PATCH: rename, delete, add attributes, add labels."""
        labels = owner.labels if isinstance(owner, Project) else owner.own_labels
        for body in bodies:
            known = next((label for label in labels if label.id == body.get("id")), None)
            if known is None:
                labels.append(self.make_label(body))
            elif body.get("deleted"):
                self.delete_label(known.id)
            else:
                known.name = body.get("name", known.name)
                ids = {attribute.id for attribute in known.attributes}
                known.attributes += [
                    self.make_attribute(each)
                    for each in body.get("attributes", ())
                    if each.get("id") not in ids
                ]

    def delete_label(self, label_id: int) -> None:
        """Delete a label with all its tags, shapes and tracks."""
        owner = self.label_owner(label_id)
        if owner is None:
            raise KeyError(label_id)
        labels = owner.labels if isinstance(owner, Project) else owner.own_labels
        labels[:] = [label for label in labels if label.id != label_id]
        for job in self.jobs.values():
            for kind in ("tags", "shapes", "tracks"):
                kept = [each for each in getattr(job, kind) if each["label_id"] != label_id]
                if len(kept) != len(getattr(job, kind)):
                    setattr(job, kind, kept)
                    self.touch(job)

    # projects, tasks, jobs

    def touch(self, *changed: Job | Task | Project) -> None:
        """Bump `updated_date`, of a job also that of its task and project."""
        for each in changed:
            each.updated_date = self.clock.now()
            if isinstance(each, Job):
                self.touch(each.task)
            elif isinstance(each, Task) and each.project:
                self.touch(each.project)

    def delete_task(self, task_id: int) -> None:
        task = self.tasks.pop(task_id)
        for job in task.jobs:
            self.jobs.pop(job.id, None)
        self.guides.pop(task.guide_id, None)

    def move_to_project(self, task: Task, project: Project) -> None:
        """Labels become the project's of the same name; shapes keep their ids and lose all values."""
        there = {label.name: label.id for label in project.labels}
        if missing := {label.name for label in task.labels} - set(there):
            raise Rejected([f"The project has no label {name!r}" for name in sorted(missing)])
        new = {label.id: there[label.name] for label in task.labels}
        for job in task.jobs:
            for item in [*job.tags, *job.shapes, *job.tracks]:
                item["label_id"], item["attributes"] = new[item["label_id"]], []
        task.project, task.own_labels = project, []
        self.touch(task)

    def delete_project(self, project_id: int) -> None:
        project = self.projects.pop(project_id)
        for task in [t for t in self.tasks.values() if t.project is project]:
            self.delete_task(task.id)
        self.guides.pop(project.guide_id, None)

    def poll(self, task: Task) -> str:
        """The state of a task's data; each call brings the jobs nearer, like time does."""
        if not task.has_data or task.is_ready:
            return "Finished"
        if task.polls_left > 0:
            task.polls_left -= 1
            return "Queued" if task.polls_left else "Started"
        if task.error is not None:
            return "Failed"
        if task.pending is None:
            return "Started"
        self._make_jobs(task)
        return "Finished"

    def _make_jobs(self, task: Task) -> None:
        task.frames, task.pending = task.pending or [], None
        size = task.segment_size or len(task.frames)
        task.segment_size = size
        for start in range(0, len(task.frames), size):
            now = self.clock.now()
            stop = min(start + size, len(task.frames)) - 1
            job = Job(self.next_id("job"), task, start, stop, now, now)
            task.jobs.append(job)
            self.jobs[job.id] = job
        self.touch(task)
