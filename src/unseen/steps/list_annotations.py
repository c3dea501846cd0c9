"""What was handed to annotators, and how far it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from unseen.configs import ListAnnotationsConfig
from unseen.dataset import reading, sendings, truth
from unseen.dataset.fields import LOADED, REMOVED, Names
from unseen.dataset.sendings import Sending
from unseen.errors import AnnotationError
from unseen.progress import Progress
from unseen.results import ListAnnotationsResult, SendingStatus, TaskStatus
from unseen.steps.step import step


@step(ListAnnotationsConfig, writes=False)
def list_annotations(
    view: Any, config: ListAnnotationsConfig, names: Names, progress: Progress
) -> ListAnnotationsResult:
    """Ask every server for its tasks and jobs; change nothing.

    A server that cannot be reached is no error: what was recorded is listed, with the reason.
    """
    from unseen.cvat.load import Connections

    dataset = reading.dataset_of(view)
    sendings.refresh(dataset)  # another process may have sent or loaded since
    found = sendings.find_sendings(dataset, names, config.anno_key)
    connections = Connections()
    batches = []
    for number, sending in enumerate(found):
        progress(number, len(found), "ask the servers")
        batches.append(_status(dataset, names, config, sending, connections))
    progress(len(found), len(found), "ask the servers")
    return ListAnnotationsResult(dataset=dataset.name, batches=batches)


def _status(
    dataset: Any, names: Names, config: ListAnnotationsConfig, sending: Sending, connections: Any
) -> SendingStatus:
    tasks, problem = _tasks(config, sending, connections)
    ids = sending.sent_ids()
    states = truth.count_states(dataset, names, ids)
    images = sum(states.values())
    jobs = [job for task in tasks for job in task.jobs]
    age = datetime.now(timezone.utc) - datetime.fromisoformat(sending.started_at)
    if sending.backend == "cvat":
        finished = sum(job.images for job in jobs if job.finished)
        waiting = any(job.waiting for job in jobs)
    else:
        own = replace(names, label_field=sending.label_field)
        finished = images - truth.count_unlabelled(dataset, own, ids)
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


def _tasks(
    config: ListAnnotationsConfig, sending: Sending, connections: Any
) -> tuple[list[TaskStatus], str | None]:
    from unseen.cvat import status

    if sending.backend != "cvat":
        return [], None
    try:
        return status.task_statuses(connections.of(sending), sending, config.stage), None
    except AnnotationError as error:
        return status.recorded(sending), str(error)
