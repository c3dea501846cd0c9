"""How far the tasks on a CVAT server are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.jobs import is_changed, is_finished
from unseen.annotation.sendings import Sending, SentTask
from unseen.annotation.states import JobStatus, TaskStatus


def task_statuses(api: Api, sending: Sending, stage: str) -> list[TaskStatus]:
    """Every task of an annotation run with its jobs.

    Args:
        api: signed in.
        sending: the annotation run.
        stage: a job is finished when this stage is completed.
    """
    return [_task_status(api, task, stage) for task in sending.tasks]


def recorded(sending: Sending) -> list[TaskStatus]:
    """The tasks as they were recorded, where the server cannot be asked."""
    return [_status(task, gone=task.gone, assignee=None, jobs=[]) for task in sending.tasks]


def _task_status(api: Api, task: SentTask, stage: str) -> TaskStatus:
    found = None if task.gone else api.task(task.task_id)
    if found is None:
        return _status(task, gone=True, assignee=None, jobs=[])
    jobs = [_job_status(api, task, job, stage) for job in api.jobs(task.task_id)]
    return _status(task, gone=False, assignee=_name(found.get("assignee")), jobs=jobs)


def _status(
    task: SentTask, *, gone: bool, assignee: str | None, jobs: list[JobStatus]
) -> TaskStatus:
    return TaskStatus(
        task_id=task.task_id,
        name=task.name,
        url=task.url,
        assignee=assignee,
        images=len(task.sample_ids),
        sent_at=task.sent_at,
        gone=gone,
        jobs=jobs,
    )


def _job_status(api: Api, task: SentTask, job: Mapping[str, Any], stage: str) -> JobStatus:
    finished = is_finished(job, stage)
    loaded = task.loaded.get(str(job["id"]))
    return JobStatus(
        job_id=job["id"],
        url=api.base_job_url(task.task_id, job["id"]),
        assignee=_name(job.get("assignee")),
        stage=job["stage"],
        state=job["state"],
        images=job["stop_frame"] - job["start_frame"] + 1,
        finished=finished,
        waiting=finished and is_changed(job, task),
        updated_at=job.get("updated_date"),
        loaded_at=loaded["at"] if loaded else None,
    )


def _name(user: Any) -> str | None:
    return user.get("username") if isinstance(user, Mapping) else None
