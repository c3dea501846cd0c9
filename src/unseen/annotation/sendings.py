"""The record of what was handed to annotators: one FiftyOne custom run per annotation run.

Each task is added when it is complete, so that an interrupted sending resumes where it stopped. The
record holds the server's address, but no credentials.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from unseen.dataset.fields import SENDING_METHOD, Names
from unseen.dataset.loop import Loop
from unseen.dataset.runs import decode, encode, refresh, save_run, stored_runs, update_run
from unseen.errors import AnnotationError

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig


#: Parts of a record that grow with the images.
_PER_IMAGE = ("sample_ids", "scopes")


@dataclass
class SentTask:
    """One task on the server; image `i` of it is frame `i`."""

    task_id: int
    name: str
    sample_ids: list[str]
    first_rank: int  #: rank of frame 0 in the batch, from 1
    url: str
    labels: dict[str, int]  #: class -> id of the label on the server
    sent_at: str
    jobs: list[int] = field(default_factory=list)  #: their ids; unknown of older records
    gone: bool = False  #: deleted on the server
    loaded: dict[str, dict[str, Any]] = field(default_factory=dict)  #: job id -> when it was loaded
    #: Frame -> kind of an image that is shown for comparison only, and what was drawn there.
    repeats: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def own(self) -> dict[int, str]:
        """Frame -> sample id of the images whose labels are asked for."""
        return {n: i for n, i in enumerate(self.sample_ids) if str(n) not in self.repeats}


@dataclass
class Sending:
    """How one batch was sent, and what became of it."""

    anno_key: str
    images: str  #: batch, initial or test
    iteration: int
    backend: str
    label_field: str
    classes: list[str]
    parameters: dict[str, Any]  #: of the request, to send the next batch in the same way
    token: str  #: part of the task names, by which an unfinished task is recognised
    started_at: str
    url: str | None = None
    organization: str | None = None
    server_version: str | None = None
    project_id: int | None = None
    own_project: bool = False  #: the project was made by this sending
    sample_ids: list[str] = field(default_factory=list)  #: backends without tasks: what was sent
    tasks: list[SentTask] = field(default_factory=list)
    predictions: str | None = None  #: the field of the predictions that were sent
    complete: bool = False  #: every image of the batch was sent
    closed: bool = False  #: every image came back or was given up
    #: Sample id -> relative [x, y, width, height] of the only rectangles to be labelled.
    scopes: dict[str, list[list[float]]] = field(default_factory=dict)

    @property
    def live_tasks(self) -> list[SentTask]:
        """The tasks that are still on the server."""
        return [task for task in self.tasks if not task.gone]

    @property
    def age_days(self) -> float:
        """Days since it was begun."""
        age = datetime.now(timezone.utc) - datetime.fromisoformat(self.started_at)
        return round(age.total_seconds() / 86400, 2)

    def sent_ids(self) -> list[str]:
        """The images that annotators have, in rank order."""
        return self.sample_ids + [i for task in self.live_tasks for i in task.own.values()]


def begin(
    loop: Loop, config: RequestConfig, anno_key: str, iteration: int, classes: Sequence[str]
) -> Sending:
    """A sending of which nothing was sent or recorded yet."""
    return Sending(
        anno_key=anno_key,
        images=config.images,
        iteration=iteration,
        backend=config.backend,
        label_field=loop.names.label_field,
        classes=list(classes),
        parameters=config.to_dict(),
        token=secrets.token_hex(4),
        started_at=now(),
    )


def own_runs(loop: Loop, method: str) -> dict[str, dict[str, Any]]:
    """Key -> config of every FiftyOne custom run of this loop that a method registered."""
    own = {"method": method, "prefix": loop.names.prefix, "series": loop.names.series}
    named = set(loop.dataset.list_runs())
    stored = stored_runs(loop.dataset, **{f"config.{name}": value for name, value in own.items()})
    return {key: config for key, config in stored if key in named}


def read_sending(loop: Loop, anno_key: str) -> Sending | None:
    """The record of an annotation run, or None."""
    key = loop.names.sending_key(anno_key)
    stored = stored_runs(loop.dataset, key=key) if loop.dataset.has_run(key) else []
    return next((decoded(config["sending"]) for _, config in stored), None)


def read_sendings(loop: Loop) -> list[Sending]:
    """All records of this loop, oldest first."""
    records = [decoded(c["sending"]) for c in own_runs(loop, SENDING_METHOD).values()]
    return sorted(records, key=lambda s: (s.started_at, s.iteration))


def find_sendings(loop: Loop, anno_key: str | None) -> list[Sending]:
    """All records, or that of one annotation run; AnnotationError if it does not exist."""
    records = read_sendings(loop)
    chosen = [s for s in records if anno_key in (None, s.anno_key)]
    if anno_key is not None and not chosen:
        known = ", ".join(s.anno_key for s in records) or "none"
        raise AnnotationError(
            f"dataset {loop.dataset.name!r} has no annotation run {anno_key!r} that was sent by "
            f"request_annotations; there are: {known}"
        )
    return chosen


def write_sending(loop: Loop, sending: Sending) -> None:
    """Write the record, replacing its earlier state."""
    refresh(loop.dataset)  # FiftyOne writes what differs from its copy, which misses tasks
    save_run(
        loop.dataset,
        loop.names.sending_key(sending.anno_key),
        SENDING_METHOD,
        prefix=loop.names.prefix,
        series=loop.names.series,
        sending=_encoded(sending),
    )


def write_task(loop: Loop, sending: Sending, task: SentTask) -> None:
    """Write one task and what the record says of all, not the other tasks and their images."""
    values = _encoded(dataclasses.replace(sending, tasks=[task], sample_ids=[], scopes={}))
    (values[f"tasks.{sending.tasks.index(task)}"],) = values.pop("tasks")
    values = {f"config.sending.{name}": v for name, v in values.items() if name not in _PER_IMAGE}
    update_run(loop.dataset, loop.names.sending_key(sending.anno_key), {"$set": values})


def delete_sending(loop: Loop, anno_key: str) -> None:
    """Delete the record and FiftyOne's run; nothing on the server changes."""
    refresh(loop.dataset)
    if loop.dataset.has_annotation_run(anno_key):
        loop.dataset.delete_annotation_run(anno_key)
    if loop.dataset.has_run(loop.names.sending_key(anno_key)):
        loop.dataset.delete_run(loop.names.sending_key(anno_key))


def check_label_field(sendings: Sequence[Sending], names: Names) -> None:
    """Raise AnnotationError if labels would go into another field than they were sent from."""
    for sending in sendings:
        if sending.label_field != names.label_field:
            raise AnnotationError(
                f"{sending.anno_key} was sent with label_field={sending.label_field!r}, not "
                f"{names.label_field!r}; pass label_field={sending.label_field!r}"
            )


def now() -> str:
    """The time for a record, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _encoded(sending: Sending) -> Any:
    values = dataclasses.asdict(sending)
    for task in values["tasks"]:
        # Not with class names as keys: some characters have a meaning in MongoDB.
        task["labels"] = list(task["labels"].items())
    return encode(values)


def decoded(values: Mapping[str, Any]) -> Sending:
    """A sending from its record as the database holds it."""
    record = decode(values)
    tasks = [SentTask(**{**t, "labels": dict(t["labels"])}) for t in record["tasks"]]
    return Sending(**{**record, "tasks": tasks})
