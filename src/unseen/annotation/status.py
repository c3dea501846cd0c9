"""What was handed to annotators, and how far it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from unseen.annotation import sendings, truth
from unseen.annotation.sendings import Sending
from unseen.annotation.states import SendingStatus, TaskStatus
from unseen.dataset.fields import LOADED, REMOVED
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError
from unseen.progress import Progress, silent


def ask_servers(
    loop: Loop,
    anno_key: str | None = None,
    stage: str = "annotation",
    progress: Progress = silent,
) -> list[SendingStatus]:
    """Ask every server for its tasks and jobs; change nothing.

    A server that cannot be reached is no error: what was recorded is listed, with the reason.

    Args:
        loop: the loop.
        anno_key: of one sending; default: all.
        stage: a job is finished when this stage of CVAT is completed.
        progress: is told of every sending.
    """
    from unseen.annotation.cvat.load import Connections

    sendings.refresh(loop.dataset)  # another process may have sent or loaded since
    found = sendings.find_sendings(loop, anno_key)
    connections = Connections()
    states = []
    for number, sending in enumerate(found):
        progress(number, len(found), "ask the servers")
        states.append(_status(loop, stage, sending, connections))
    progress(len(found), len(found), "ask the servers")
    return states


def _status(loop: Loop, stage: str, sending: Sending, connections: Any) -> SendingStatus:
    tasks, problem = _tasks(stage, sending, connections)
    ids = sending.sent_ids()
    states = truth.count_states(loop, ids)
    images = sum(states.values())
    jobs = [job for task in tasks for job in task.jobs]
    age = datetime.now(timezone.utc) - datetime.fromisoformat(sending.started_at)
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
        age_days=round(age.total_seconds() / 86400, 2),
        images=images,
        images_finished=finished,
        images_loaded=states[LOADED] + states[REMOVED],
        complete=sending.complete,
        closed=sending.closed,
        waiting=waiting,
        tasks=tasks,
        problem=problem,
    )


def _tasks(stage: str, sending: Sending, connections: Any) -> tuple[list[TaskStatus], str | None]:
    from unseen.annotation.cvat import status

    if sending.backend != "cvat":
        return [], None
    try:
        return status.task_statuses(connections.of(sending), sending, stage), None
    except AnnotationError as error:
        return status.recorded(sending), str(error)
