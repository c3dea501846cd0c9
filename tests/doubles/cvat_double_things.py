"""The things a CVAT server holds: users, organizations, projects, tasks, jobs, labels, frames.

Plain records. Images are never kept: of a frame only its name, its size in bytes, its width and
its height.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

Json = Any


class Refused(Exception):
    """An answer other than 2xx, as JSON or as a page, that ends the call."""

    def __init__(self, status: int, json: Json = None, html: str | None = None) -> None:
        super().__init__(f"{status} {json or ''}")
        self.status, self.json, self.html = status, json, html


class Rejected(Refused):
    """What the client sent is wrong."""

    def __init__(self, answer: Json) -> None:
        super().__init__(400, answer)


@dataclass
class User:
    id: int
    username: str
    password: str
    email: str
    joined: str
    is_admin: bool = False
    read_only: bool = False
    last_login: str | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(20))


@dataclass
class AccessToken:
    id: int
    name: str
    owner: User
    created: str
    read_only: bool = True
    expires: str | None = None
    value: str = field(default_factory=lambda: secrets.token_urlsafe(32))


@dataclass
class Organization:
    id: int
    slug: str
    owner: User
    created: str
    members: list[str] = field(default_factory=list)
    workers: list[str] = field(default_factory=list)


@dataclass
class Attribute:
    id: int
    name: str
    mutable: bool
    input_type: str
    default_value: str
    values: list[str]


@dataclass
class Label:
    id: int
    name: str
    color: str
    type: str = "any"
    attributes: list[Attribute] = field(default_factory=list)
    sublabels: list[Label] = field(default_factory=list)
    parent_id: int | None = None


@dataclass
class Frame:
    name: str
    size: int
    width: int
    height: int


@dataclass
class Guide:
    id: int
    task_id: int | None
    project_id: int | None
    markdown: str


@dataclass
class Project:
    id: int
    name: str
    owner: User
    created_date: str
    updated_date: str
    labels: list[Label] = field(default_factory=list)
    assignee: User | None = None
    bug_tracker: str = ""
    organization: int | None = None
    guide_id: int | None = None


@dataclass
class Job:
    id: int
    task: Task
    start_frame: int
    stop_frame: int
    created_date: str
    updated_date: str
    assignee: User | None = None
    stage: str = "annotation"
    state: str = "new"
    tags: list[dict] = field(default_factory=list)
    shapes: list[dict] = field(default_factory=list)
    tracks: list[dict] = field(default_factory=list)

    @property
    def frames(self) -> range:
        return range(self.start_frame, self.stop_frame + 1)

    @property
    def status(self) -> str:
        if self.stage == "acceptance" and self.state == "completed":
            return "completed"
        return "annotation" if self.stage == "annotation" else "validation"


@dataclass
class Task:
    id: int
    name: str
    owner: User
    created_date: str
    updated_date: str
    project: Project | None = None
    own_labels: list[Label] = field(default_factory=list)
    assignee: User | None = None
    bug_tracker: str = ""
    subset: str = ""
    organization: int | None = None
    segment_size: int = 0
    guide_id: int | None = None
    image_quality: int | None = None
    data_id: int | None = None
    frames: list[Frame] = field(default_factory=list)
    deleted_frames: list[int] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    polls_left: int = 0
    pending: list[Frame] | None = None
    error: str | None = None

    @property
    def labels(self) -> list[Label]:
        return self.project.labels if self.project else self.own_labels

    @property
    def has_data(self) -> bool:
        return self.data_id is not None

    @property
    def is_ready(self) -> bool:
        return bool(self.jobs)

    @property
    def status(self) -> str:
        statuses = {job.status for job in self.jobs}
        if statuses == {"completed"}:
            return "completed"
        return "validation" if "validation" in statuses else "annotation"

    @property
    def shapes(self) -> list[dict]:
        return [shape for job in self.jobs for shape in job.shapes]

    def remove_frames(self, among: range, removed: list[int]) -> None:
        """Remove these frames of a job and restore its others; no date changes, as recorded."""
        kept = [at for at in self.deleted_frames if at not in among]
        self.deleted_frames = sorted({*kept, *removed})

    def label(self, name: str) -> Label:
        return next(label for label in self.labels if label.name == name)


def all_labels(labels: list[Label]) -> list[Label]:
    """Labels and their sublabels, flat."""
    return [each for label in labels for each in (label, *label.sublabels)]
