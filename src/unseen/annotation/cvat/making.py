"""One complete task on a CVAT server, checked against what was meant."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unseen.annotation import sendings
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.checks import LONGEST_NAME, Users
from unseen.annotation.cvat.shapes_out import to_shapes, with_shape_ids
from unseen.annotation.merge import KnownBox
from unseen.annotation.sendings import Sending, SentTask
from unseen.errors import ServerError

if TYPE_CHECKING:
    from unseen.steps.request_annotations import RequestConfig


@dataclass(frozen=True)
class Outgoing:
    """One image on its way to the annotators."""

    sample_id: str
    filepath: str  #: the original, which gives the name
    media_path: str  #: what is uploaded: the original or a copy with the overlay
    size: tuple[int, int]  #: (width, height) px
    rank: int  #: in the batch, from 1
    boxes: Sequence[KnownBox]


@dataclass(frozen=True)
class Order:
    """How the tasks of a sending are made."""

    config: RequestConfig
    users: Users
    labels: Sequence[Mapping[str, Any]]  #: where no project gives them
    guide: Callable[[Sequence[Outgoing]], str] | None = None  #: None: no guide for each task


@dataclass(frozen=True)
class Made:
    """A complete task and what is drawn in it."""

    task: SentTask
    jobs: list[dict[str, Any]]
    known: dict[int, list[KnownBox]]  #: by frame


def make_task(
    api: Api,
    sending: Sending,
    order: Order,
    name: str,
    chunk: Sequence[Outgoing],
    report: Callable[[float], None],
) -> Made:
    """Images, jobs, boxes, people and guide of one task.

    Args:
        api: signed in.
        sending: the annotation run.
        order: how it is made.
        name: of the task.
        chunk: its images in rank order.
        report: told the share that is done.

    Raises:
        ServerError: the server failed, or what it has is not what was sent; the task is of no use.
    """
    config, users = order.config, order.users
    task_id = api.make_task(
        name,
        labels=[dict(label) for label in order.labels],
        project_id=sending.project_id,
        segment_size=config.segment_size,
        issue_tracker=config.issue_tracker,
    )
    files = file_names([image.filepath for image in chunk])
    request_id = api.send_images(
        task_id,
        [(file, Path(image.media_path)) for file, image in zip(files, chunk, strict=True)],
        image_quality=config.image_quality,
        progress=lambda share: report(0.8 * share),
    )
    jobs = api.wait_for_jobs(task_id, request_id, config.timeout)
    _check_frames(api, task_id, files, chunk)
    report(0.9)

    there = api.labels(task_id=task_id)
    known = {i: list(image.boxes) for i, image in enumerate(chunk)}
    shapes = to_shapes(known, {i: image.size for i, image in enumerate(chunk)}, there)
    if shapes:
        known = with_shape_ids(known, api.put_shapes(task_id, shapes))
    if users.task is not None:
        api.assign_task(task_id, users.task)
    for i, job in enumerate(jobs):
        if users.jobs:
            # Goes on where the last task ended, so that everybody gets as many.
            api.assign_job(job["id"], users.jobs[(len(sending.tasks) + i) % len(users.jobs)])
    if order.guide is not None:
        api.write_guide(order.guide(chunk), task_id=task_id)
    task = SentTask(
        task_id=task_id,
        name=name,
        sample_ids=[image.sample_id for image in chunk],
        first_rank=chunk[0].rank,
        url=api.base_task_url(task_id),
        labels={label["name"]: label["id"] for label in there},
        sent_at=sendings.now(),
    )
    return Made(task, jobs, known)


def task_name(dataset: str, sending: Sending, chunk: Sequence[Outgoing]) -> str:
    """Says which images of the ranking the task holds; unique by the sending's token."""
    rest = f" {sending.anno_key} {chunk[0].rank}-{chunk[-1].rank} [{sending.token}]"
    return dataset[: LONGEST_NAME - len(rest)] + rest


def file_names(paths: Sequence[str]) -> list[str]:
    """The names of the originals, made unique: two folders may hold the same name."""
    originals = {_plain(Path(path).name) for path in paths}
    given: set[str] = set()
    names = []
    for path in paths:
        name = Path(_plain(Path(path).name))
        unique, number = name.name, 2
        while unique in given or (unique in originals and unique != name.name):
            unique, number = f"{name.stem}-{number}{name.suffix}", number + 1
        given.add(unique)
        names.append(unique)
    return names


def _plain(name: str) -> str:
    """Without what a form's header cannot carry, or a web server takes for something else."""
    name = re.sub(r'[\x00-\x1f\x7f"\\]', "_", name)
    return name if html.unescape(name) == name else name.replace("&", "_")


def _check_frames(api: Api, task_id: int, files: Sequence[str], chunk: Sequence[Outgoing]) -> None:
    """Every image arrived, in order, in its size.

    Raises:
        ServerError: not so; the task is of no use.
    """
    frames = api.frames(task_id).frames
    if len(frames) != len(chunk):
        raise ServerError(
            f"CVAT has {len(frames)} of the {len(chunk)} images of task {task_id}; the upload was "
            "cut short or the server dropped some"
        )
    for i, (frame, file, image) in enumerate(zip(frames, files, chunk, strict=True)):
        if Path(frame.name).name != file:
            raise ServerError(
                f"CVAT shows {frame.name!r} as image {i} of task {task_id} and not {file!r}: it "
                "does not keep the order of the ranking"
            )
        if (frame.width, frame.height) != image.size:
            raise ServerError(
                f"CVAT sees {image.filepath} with {frame.width} x {frame.height} px, the file has "
                f"{image.size[0]} x {image.size[1]}: boxes would not fit"
            )
