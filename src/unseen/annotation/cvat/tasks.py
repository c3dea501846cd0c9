"""One complete task on a CVAT server, checked against what was meant."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from unseen.annotation import sendings
from unseen.annotation.cvat import references
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.checks import LONGEST_NAME
from unseen.annotation.cvat.plan import Outgoing, Plan
from unseen.annotation.merge import KnownBox
from unseen.annotation.sendings import Sending, SentTask
from unseen.annotation.status import frames_of
from unseen.errors import ServerError


@dataclass(frozen=True)
class Made:
    """A complete task."""

    task: SentTask
    urls: list[str]  #: of each frame in CVAT's editor
    known: list[list[KnownBox]]  #: what is drawn, by frame


def make_task(
    plan: Plan,
    guide: str | None,
    name: str,
    chunk: Sequence[Outgoing],
    report: Callable[[float], None],
) -> Made:
    """Make a task with images (in rank order), jobs, boxes, assignees and guide.

    `report` is told the share that is done. Raises ServerError if the server fails or has something
    else than was sent; the task is then useless.
    """
    api, config, sending = plan.api, plan.config, plan.sending
    task_id = api.make_task(
        name,
        labels=plan.labels,
        project_id=sending.project_id,
        segment_size=config.segment_size,
        issue_tracker=config.issue_tracker,
    )
    files, request_id = _send_images(plan, task_id, chunk, report)
    jobs = api.wait_for_jobs(task_id, request_id, config.timeout)
    _check_frames(api, task_id, files, chunk)
    report(0.9)

    labels = api.labels("task", task_id)
    known = [list(image.boxes) for image in chunk]
    if any(known):
        shapes = _shapes(chunk, labels)
        known = _with_shape_ids(known, shapes, api.put_shapes(task_id, shapes))
    if config.task_assignee:
        user = plan.users[config.task_assignee]
        api.json("PATCH", f"tasks/{task_id}", json={"assignee_id": user})
    for i, job in enumerate(jobs if config.assignees else []):
        # Starts with the next user in each task, so that everybody gets as many.
        who = config.assignees[(len(sending.tasks) + i) % len(config.assignees)]
        api.json("PATCH", f"jobs/{job['id']}", json={"assignee": plan.users[who]})
    if guide is not None:
        api.write_guide(guide, "task", task_id)
    task = SentTask(
        task_id=task_id,
        name=name,
        sample_ids=[image.sample_id for image in chunk],
        first_rank=chunk[0].rank,
        url=api.task_url(task_id),
        labels={label["name"]: label["id"] for label in labels},
        sent_at=sendings.now(),
        jobs=[job["id"] for job in jobs],
        repeats={str(n): {"kind": i.repeat} for n, i in enumerate(chunk) if i.repeat},
    )
    job_of = {frame: job["id"] for job in jobs for frame in frames_of(job)}
    urls = [f"{api.job_url(task_id, job_of[i])}?frame={i}" for i in range(len(chunk))]
    return Made(task, urls, known)


def _send_images(
    plan: Plan, task_id: int, chunk: Sequence[Outgoing], report: Callable[[float], None]
) -> tuple[list[str], str | None]:
    """Name or upload the images; returns their names on the server, and the id to wait for.

    A task holds either files of the server or uploads: one copy in it, and all are uploaded.
    """
    quality = plan.config.image_quality
    files = [i.on_server for i in chunk if i.on_server and i.media_path == i.filepath]
    if plan.reference is not None and len(files) == len(chunk):
        return files, references.attach(plan.api, task_id, files, plan.reference.storage, quality)
    files = file_names([image.filepath for image in chunk])
    request_id = plan.api.send_images(
        task_id,
        [(file, Path(image.media_path)) for file, image in zip(files, chunk, strict=True)],
        image_quality=quality,
        progress=lambda share: report(0.8 * share),
    )
    return files, request_id


def task_name(dataset: str, sending: Sending, chunk: Sequence[Outgoing]) -> str:
    """A name that tells the ranks of the images; the token makes it unique."""
    rest = f" {sending.anno_key} {chunk[0].rank}-{chunk[-1].rank} [{sending.token}]"
    return dataset[: LONGEST_NAME - len(rest)] + rest


def file_names(paths: Sequence[str]) -> list[str]:
    """The names of the files, made unique: two folders may hold the same name."""
    plain = [Path(_plain(Path(path).name)) for path in paths]
    originals = {name.name for name in plain}
    names: dict[str, None] = {}
    for name in plain:
        unique, number = name.name, 2
        while unique in names or (unique in originals and unique != name.name):
            unique, number = f"{name.stem}-{number}{name.suffix}", number + 1
        names[unique] = None
    return list(names)


def _plain(name: str) -> str:
    """Without what a form's header cannot carry, or a web server decodes."""
    name = re.sub(r'[\x00-\x1f\x7f"\\]', "_", name)
    return name if html.unescape(name) == name else name.replace("&", "_")


def _check_frames(api: Api, task_id: int, files: Sequence[str], chunk: Sequence[Outgoing]) -> None:
    """Raise ServerError unless every image arrived, in order and in its size."""
    frames = api.frames(task_id)
    if len(frames.names) != len(chunk):
        raise ServerError(
            f"CVAT has {len(frames.names)} of the {len(chunk)} images of task {task_id}; the upload "
            "was cut short or the server dropped some"
        )
    for i, (name, size) in enumerate(zip(frames.names, frames.sizes, strict=True)):
        if files[i] not in (name, Path(name).name):
            raise ServerError(
                f"CVAT shows {name!r} as image {i} of task {task_id}, not {files[i]!r}: it does not "
                "keep the order of the ranking"
            )
        width, height = chunk[i].size
        if size != (width, height):
            raise ServerError(
                f"CVAT sees {chunk[i].filepath} with {size[0]} x {size[1]} px, the file has {width} "
                f"x {height}: boxes would not fit"
            )


def _shapes(chunk: Sequence[Outgoing], labels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The boxes as rectangles for CVAT; `labels` as the server lists them."""
    by_name = {label["name"]: label for label in labels}
    shapes = []
    for frame, image in enumerate(chunk):
        width, height = image.size
        for box in image.boxes:
            label = by_name[box.label]
            x, y, w, h = box.box
            # A project's own label may lack them.
            specs = [a for a in label["attributes"] if a["name"] in box.attributes]
            values = [{"spec_id": a["id"], "value": box.attributes[a["name"]]} for a in specs]
            shapes.append(
                {
                    "type": "rectangle",
                    "frame": frame,
                    "label_id": label["id"],
                    "points": [x * width, y * height, (x + w) * width, (y + h) * height],
                    "occluded": False,
                    "group": 0,
                    "source": "manual" if box.kind == "label" else "auto",
                    "attributes": values,
                }
            )
    return shapes


def _with_shape_ids(
    known: Sequence[Sequence[KnownBox]],
    sent: Sequence[Mapping[str, Any]],
    stored: Sequence[Mapping[str, Any]],
) -> list[list[KnownBox]]:
    """The boxes with the ids of their shapes, of which the server tells no order.

    A shape is recognised by its place; of a server that rounds, by the order in its frame.
    """
    ids: dict[Any, list[int]] = defaultdict(list)
    left: dict[int, list[int]] = defaultdict(list)
    for shape in sorted(stored, key=itemgetter("id"), reverse=True):
        ids[_place(shape)].append(shape["id"])
    places = [_place(shape) for shape in sent]
    numbers = [ids[place].pop() if ids[place] else None for place in places]
    for (frame, *_), others in ids.items():
        left[frame] += others
    for i, (frame, *_) in enumerate(places):
        if numbers[i] is None and left[frame]:
            numbers[i] = left[frame].pop()
    turn = iter(numbers)
    return [[replace(box, shape_id=next(turn)) for box in boxes] for boxes in known]


def _place(shape: Mapping[str, Any]) -> tuple[Any, ...]:
    return (shape["frame"], shape["label_id"], *shape["points"])
