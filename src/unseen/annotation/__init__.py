"""Handing images to annotators and taking their labels back: guide, shapes, merge, CVAT.

Here is what needs no database: the names that parameters can have, and the status of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

BACKENDS = ("cvat", "app")

#: CVAT's stages of a job, in their order.
STAGES = ("annotation", "validation", "acceptance")


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """One job of a CVAT task."""

    job_id: int
    url: str
    assignee: str | None
    stage: str
    state: str
    images: int
    finished: bool  #: the wanted stage is completed
    waiting: bool  #: finished, or changed since it was loaded, and not loaded yet
    updated_at: str | None
    loaded_at: str | None


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """One task that was sent."""

    task_id: int
    name: str
    url: str
    assignee: str | None
    images: int
    sent_at: str
    gone: bool
    jobs: list[JobStatus] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SendingStatus:
    """One batch that was handed to annotators."""

    anno_key: str
    backend: str
    url: str | None
    iteration: int
    sent_at: str
    age_days: float
    images: int
    images_finished: int  #: in finished jobs
    images_loaded: int
    complete: bool  #: every image of the batch was sent
    closed: bool
    waiting: bool  #: something can be loaded
    tasks: list[TaskStatus] = field(default_factory=list)
    seconds: float | None = None  #: how long people worked, where CVAT's analytics tell
    seconds_per_image: float | None = None
    seconds_per_box: float | None = None
    problem: str | None = None  #: why the server could not be asked

    @property
    def images_waiting(self) -> int:
        """Images that can be loaded: in finished jobs, or labelled here since the last load."""
        if self.tasks:
            return sum(job.images for task in self.tasks for job in task.jobs if job.waiting)
        return max(0, self.images_finished - self.images_loaded) if self.waiting else 0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Boxes of one class that one annotator drew in images whose labels are known otherwise."""

    annotator: str
    compared_with: str  #: "golden": labels of the test split; "second": another annotator
    label: str
    images: int  #: where either side has a box of this class
    agreed: int  #: boxes that both have
    missed: int  #: that only the other side has
    extra: int  #: that only this annotator has

    @property
    def share(self) -> float:
        """Boxes that both have, among the mean number of boxes (Dice, F1), 0 to 1."""
        return 2 * self.agreed / (2 * self.agreed + self.missed + self.extra)


def describe(agreement: Sequence[Agreement]) -> list[str]:
    """A sentence for each person and what they are compared with."""
    lines = []
    for (who, kind), rows in groupby(agreement, lambda row: (row.annotator, row.compared_with)):
        counts = [
            f"{r.label} {r.agreed} boxes agreed, {r.missed} missed, {r.extra} more" for r in rows
        ]
        what = "golden images" if kind == "golden" else "compared with another person"
        lines.append(f"{who}, {what}: {'; '.join(counts)}")
    return lines
