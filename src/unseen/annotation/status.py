"""What was handed to annotators, and how far they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unseen.annotation import STAGES, JobStatus, SendingStatus, TaskStatus, sendings, truth
from unseen.annotation.sendings import Sending, SentTask
from unseen.annotation.working_time import worked
from unseen.dataset.fields import LOADED, REMOVED
from unseen.dataset.loop import Loop
from unseen.dataset.runs import refresh
from unseen.errors import AnnotationError
from unseen.progress import Progress, silent

if TYPE_CHECKING:
    from unseen.annotation.cvat.api import Api
    from unseen.annotation.cvat.connections import Connections


def is_finished(job: Mapping[str, Any], stage: str) -> bool:
    """Whether a CVAT job has completed this stage; reaching a later stage implies it."""
    if job.get("stage") not in STAGES:
        return False  # a stage unknown to us: rather wait than take an empty image as checked
    reached, wanted = STAGES.index(job["stage"]), STAGES.index(stage)
    return reached > wanted or (reached == wanted and job["state"] == "completed")


def removed_in(job: Mapping[str, Any], removed: Collection[int]) -> list[int]:
    """Which of the task's removed frames are the job's."""
    return sorted(n for n in removed if job["start_frame"] <= n <= job["stop_frame"])


def frames_of(job: Mapping[str, Any]) -> range:
    """The frames of a CVAT job."""
    return range(job["start_frame"], job["stop_frame"] + 1)


def is_changed(job: Mapping[str, Any], task: SentTask, removed: Collection[int]) -> bool:
    """Whether a CVAT job was never loaded, or changed on the server since.

    `removed` are the frames that annotators removed: CVAT does not date that.
    """
    loaded = task.loaded.get(str(job["id"]))
    if loaded is None or loaded["updated"] != job.get("updated_date"):
        return True
    return bool(loaded.get("removed", []) != removed_in(job, removed))


def ask_servers(
    loop: Loop,
    anno_key: str | None = None,
    stage: str = "annotation",
    progress: Progress = silent,
) -> list[SendingStatus]:
    """The status of one annotation run or of all, as the servers tell it; changes nothing.

    A server that cannot be reached is no error: the record is listed, with the reason. Jobs are
    finished when CVAT's `stage` is completed.
    """
    from unseen.annotation.cvat.connections import Connections

    refresh(loop.dataset)  # another process may have sent or loaded since
    records = sendings.find_sendings(loop, anno_key)
    connections = Connections()
    states = []
    for number, sending in enumerate(records):
        progress(number, len(records), "ask the servers")
        states.append(_status(loop, stage, sending, connections))
    progress(len(records), len(records), "ask the servers")
    return states


def _status(loop: Loop, stage: str, sending: Sending, connections: Connections) -> SendingStatus:
    tasks: list[TaskStatus] = []
    problem = None
    if sending.backend == "cvat":
        try:
            api = connections.of(sending)
            tasks = [_task_status(api, task, stage) for task in sending.tasks]
        except AnnotationError as error:
            problem = str(error)
            tasks = [_as_recorded(task) for task in sending.tasks]
    ids = sending.sent_ids()
    states = truth.count_states(loop, ids)
    images = sum(states.values())
    jobs = [job for task in tasks for job in task.jobs]
    if sending.backend == "cvat":
        finished = sum(job.images for job in jobs if job.finished)
        waiting = any(job.waiting for job in jobs)
    else:
        own = replace(loop.names, label_field=sending.label_field)
        finished = images - truth.count_unlabelled(Loop(loop.dataset, own), ids)
        waiting = not sending.closed and finished > 0
    return SendingStatus(
        anno_key=sending.anno_key,
        backend=sending.backend,
        url=sending.url,
        iteration=sending.iteration,
        sent_at=sending.started_at,
        age_days=sending.age_days,
        images=images,
        images_finished=finished,
        images_loaded=states[LOADED] + states[REMOVED],
        complete=sending.complete,
        closed=sending.closed,
        waiting=waiting,
        tasks=tasks,
        **_worked(loop, sending),
        problem=problem,
    )


def _worked(loop: Loop, sending: Sending) -> dict[str, float | None]:
    """How long people worked on what came back: in all, per image, per box."""
    known = worked(loop, sending)
    images, boxes = truth.count_boxes(loop, known.ids) if known.ids else (0, 0)
    if not images:
        return {}
    return {
        "seconds": known.seconds,
        "seconds_per_image": known.seconds / images,
        "seconds_per_box": known.seconds / boxes if boxes else None,
    }


def _task_status(api: Api, task: SentTask, stage: str) -> TaskStatus:
    on_server = None if task.gone else api.task(task.task_id)
    found = None if on_server is None else api.find_jobs(task.task_id)
    if on_server is None or found is None:
        return replace(_as_recorded(task), gone=True)
    removed: Collection[int] = ()
    if any(str(job["id"]) in task.loaded for job in found):
        removed = api.frames(task.task_id).deleted
    jobs = [_job_status(api, task, job, stage, removed) for job in found]
    return replace(_as_recorded(task), assignee=_name(on_server.get("assignee")), jobs=jobs)


def _as_recorded(task: SentTask) -> TaskStatus:
    return TaskStatus(
        task_id=task.task_id,
        name=task.name,
        url=task.url,
        assignee=None,
        images=len(task.own),
        sent_at=task.sent_at,
        gone=task.gone,
    )


def _job_status(
    api: Api, task: SentTask, job: Mapping[str, Any], stage: str, removed: Collection[int]
) -> JobStatus:
    finished = is_finished(job, stage)
    return JobStatus(
        job_id=job["id"],
        url=api.job_url(task.task_id, job["id"]),
        assignee=_name(job.get("assignee")),
        stage=job["stage"],
        state=job["state"],
        images=sum(n in frames_of(job) for n in task.own),
        finished=finished,
        waiting=finished and is_changed(job, task, removed),
        updated_at=job.get("updated_date"),
        loaded_at=task.loaded.get(str(job["id"]), {}).get("at"),
    )


def _name(user: Any) -> str | None:
    return user.get("username") if isinstance(user, Mapping) else None
