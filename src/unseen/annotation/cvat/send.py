"""Send a planned request: register the run, then make its tasks one after the other.

After each task everything is recorded: boxes and links on the samples, the task in the record of the
sending; FiftyOne's annotation run follows from them in the end. An unfinished task is removed, so
that a request started again after a failure continues with the images that are not on the server yet.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fiftyone.utils import cvat as focvat

from unseen.annotation import sendings, truth
from unseen.annotation.cvat import repeats
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.plan import Outgoing, Plan
from unseen.annotation.cvat.server import LIMITS, is_passing
from unseen.annotation.cvat.tasks import Made, make_task, task_name
from unseen.annotation.guide import task_guide, with_batches
from unseen.annotation.sendings import Sending
from unseen.dataset.fields import REGION_LABEL, SENT
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError
from unseen.progress import Progress

logger = logging.getLogger(__name__)

#: How often a task is tried when the network or the server fails.
ATTEMPTS = 3


def carry_out(loop: Loop, plan: Plan, media: Mapping[str, str], progress: Progress) -> None:
    """Register the run and send; an error leaves complete tasks and no trace of anything else.

    `media` maps sample ids to the files that are uploaded instead of the originals.
    """
    sending, api = plan.sending, plan.api
    images, golden = (
        [replace(i, media_path=media.get(i.sample_id, i.filepath)) for i in some]
        for some in (plan.images, plan.golden)
    )
    sender = None
    try:
        # The record comes first, so that a killed run is recognised.
        sendings.write_sending(loop, sending)
        results = _register(loop, plan)
        _prepare_project(loop, plan)
        guide = _guide_of(loop, plan) if plan.config.guide else None
        if guide is not None and sending.project_id is not None:
            text = guide(images, whole=True)
            _write_section(loop, api, sending, sending.project_id, text)
            guide = None
        sender = Sender(loop, plan, guide)
        try:
            sender.send(images, golden, progress)
        finally:
            _keep_books(loop, sending, results)
    except BaseException:
        if not sending.tasks and (sender is None or sender.is_clean):
            remove_section(api, sending)
            _delete_project_if_empty(api, sending)
            sendings.delete_sending(loop, sending.anno_key)
        raise
    sending.complete = True
    sending.closed = False
    sendings.write_sending(loop, sending)


class Sender:
    """Sends the images of one annotation run, in tasks."""

    def __init__(self, loop: Loop, plan: Plan, guide: Callable[..., str] | None) -> None:
        """`guide` makes the guide of each task."""
        self.loop, self.plan, self.guide = loop, plan, guide
        self.api, self.sending = plan.api, plan.sending
        #: The server holds no task that is not recorded.
        self.is_clean = True
        self._failed = False

    def send(
        self, images: Sequence[Outgoing], golden: Sequence[Outgoing], progress: Progress
    ) -> None:
        """Send images in rank order; complete tasks stay and are recorded if the server fails.

        Raises AnnotationError if a task that would have to be removed has work in it.
        """
        self._remove_unfinished(careful=True)
        done, total = 0, len(images)
        size = self.plan.config.task_size
        if self.plan.seconds:  # somebody else needs a task as well
            size = min(size, (len(images) + 1) // 2)
        parts = list(chunks(images, size))
        for chunk in repeats.mix(parts, golden, self.plan.seconds, self.sending):
            own = sum(not image.repeat for image in chunk)

            def report(share: float, base: int = done, size: int = own) -> None:
                progress(base + share * size, total, "send images")

            self.is_clean = False
            try:
                made = self._send_task(chunk, report)
            except AnnotationError as error:
                raise ServerError(self._after(error, done, total)) from error
            _record_task(self.loop, self.sending, made)
            self.is_clean = True
            done += own
            progress(done, total, "send images")
        if self._failed:
            # A request that was given up may have been carried out since.
            self._try_to_remove()

    def _send_task(self, chunk: Sequence[Outgoing], report: Callable[[float], None]) -> Made:
        name = task_name(self.loop.dataset.name, self.sending, chunk)
        guide = self.guide(chunk) if self.guide else None
        for attempt in itertools.count(1):
            try:
                return make_task(self.plan, guide, name, chunk, report)
            except BaseException as error:  # Ctrl-C and Cancelled too must not leave half a task
                self._failed = True
                self._try_to_remove()
                if not is_passing(error) or attempt == ATTEMPTS:
                    raise
                logger.warning("%s; trying the task again", error)
                asked = getattr(error, "retry_after", None) or 0.0
                time.sleep(min(max(LIMITS.backoff * 2**attempt, asked), LIMITS.longest_pause))
        raise AssertionError("unreachable")

    def _remove_unfinished(self, *, careful: bool = False) -> None:
        """Delete tasks that carry this sending's token but were never recorded.

        `careful`: they may be of an earlier run; AnnotationError if somebody has begun to work.
        """
        self.is_clean = False
        known = {task.task_id for task in self.sending.tasks}
        # A restored backup of a task has its name and images; a late one has no images.
        names = {task.name for task in self.sending.live_tasks}
        for task in self.api.find_tasks(f"[{self.sending.token}]"):
            if task["id"] in known:
                continue
            jobs = self.api.jobs(task["id"]) if careful or task["name"] in names else []
            if task["name"] in names and jobs:
                continue
            new = ("new", "annotation")
            if careful and any((job.get("state"), job.get("stage")) != new for job in jobs):
                raise AnnotationError(
                    f"CVAT task {task['id']} ({task['name']}) is not known to this dataset, and "
                    "somebody has begun to work on it; an earlier run was killed while it sent it. "
                    "Its images would be sent twice: delete the task in CVAT, or rename it to keep "
                    "it, then run this again"
                )
            logger.warning("removing the unfinished CVAT task %s (%s)", task["id"], task["name"])
            self.api.delete(f"tasks/{task['id']}")
        self.is_clean = True

    def _try_to_remove(self) -> None:
        try:
            self._remove_unfinished()
        except AnnotationError as error:
            logger.warning("an unfinished CVAT task may stay until the next run: %s", error)

    def _after(self, error: Exception, sent: int, total: int) -> str:
        unfinished = "what was begun is removed"
        if not self.is_clean:
            unfinished = "what was begun could not be removed yet; the next run does so"
        live = self.sending.live_tasks
        if not live:
            return f"{error}. Nothing was sent; {unfinished}"
        return (
            f"{error}. {len(live)} tasks are with the annotators and stay "
            f"({', '.join(task.name for task in live)}); of this run {sent} of {total} images were "
            f"sent, and {unfinished}. Run this again to send the rest, without duplicates"
        )


def chunks(images: Sequence[Outgoing], size: int) -> Iterator[Sequence[Outgoing]]:
    """At most `size` images of consecutive ranks each, so that a task's name tells its ranks."""
    start = 0
    for i in range(1, len(images) + 1):
        whole = i - start == size or i == len(images)
        if whole or images[i].rank != images[i - 1].rank + 1:
            yield images[start:i]
            start = i


def _record_task(loop: Loop, sending: Sending, made: Made) -> None:
    """Samples first, the record last: what is not in the record counts as not sent."""
    task = made.task
    updates = {
        i: truth.Update(base=made.known[n], state=SENT, url=made.urls[n])
        for n, i in task.own.items()
    }
    truth.declare_fields(loop)
    truth.write(loop, sending.anno_key, updates)
    sending.tasks.append(task)
    sendings.write_task(loop, sending, task)


def _keep_books(loop: Loop, sending: Sending, results: Any) -> None:
    """Add the tasks that FiftyOne's results lack, so that its API and other tools can use the run."""
    done = set(results.task_ids)
    for task in sending.live_tasks:
        if task.task_id in done:
            continue
        results.task_ids.append(task.task_id)
        results.job_ids[task.task_id] = task.jobs
        results.frame_id_map[task.task_id] = {
            frame: {"sample_id": i} for frame, i in task.own.items()
        }
        held = truth.read(loop, sending.anno_key, task.own.values())
        for field, tasks in results.labels_task_map.items():
            tasks.append(task.task_id)
            kind = "label" if field == loop.names.label_field else "suggestion"
            for i, image in held.items():
                if ids := [box.id for box in image.base or [] if box.kind == kind]:
                    results.id_map[field][i] = ids
        boxes = [box for image in held.values() for box in image.base or []]
        results.server_id_map["shapes"].update({box.shape_id: box.id for box in boxes})
    results.save()


def _guide_of(loop: Loop, plan: Plan) -> Callable[..., str]:
    counts = loop.label_facts()["class_counts"]
    config, sending = plan.config, plan.sending

    def guide(images: Sequence[Outgoing], *, whole: bool = False) -> str:
        kinds = {box.kind for image in images for box in image.boxes}
        return task_guide(
            dataset=loop.dataset.name,
            batch=sending.anno_key,
            images=None if whole or any(i.repeat for i in images) else len(images),
            first_rank=images[0].rank,
            classes={c: counts.get(c, 0) for c in sending.classes},
            suggestions="suggestion" in kinds,
            overlay=config.overlay,
            structure=config.structure,
            regions_only=any(image.sample_id in sending.scopes for image in images),
            predictions="prediction" in kinds,
            instructions=config.instructions,
        )

    return guide


def _write_section(loop: Loop, api: Api, sending: Sending, project_id: int, text: str) -> None:
    """Put a batch into the guide of its project, and take out those that have come back."""
    ended = [s.token for s in sendings.read_sendings(loop) if s.closed and s.token != sending.token]
    api.change_guide(project_id, lambda guide: with_batches(guide, {sending.token: text}, ended))


def remove_section(api: Api, sending: Sending) -> None:
    """Take a batch that is over out of the guide of its project."""
    if sending.project_id is not None and sending.parameters.get("guide", True):
        api.change_guide(sending.project_id, lambda guide: with_batches(guide, {}, [sending.token]))


# --- projects ------------------------------------------------------------------------------------
def _prepare_project(loop: Loop, plan: Plan) -> None:
    """Make the project that is asked for, or give it the labels that it lacks."""
    sending = plan.sending
    name = sending.parameters.get("project")
    if name is not None and sending.project_id is None:
        sending.project_id = _make_project(plan.api, name, plan.labels)
        sending.own_project = True
        sendings.write_sending(loop, sending)
    elif sending.project_id is not None and plan.missing_labels:
        # The labels that it has stay.
        labels = {"labels": plan.missing_labels}
        plan.api.json("PATCH", f"projects/{sending.project_id}", json=labels)


def _make_project(api: Api, name: str, labels: Sequence[dict[str, Any]]) -> int:
    try:
        return api.make_project(name, labels)
    except ServerError as error:
        if not is_passing(error):
            raise
        logger.warning("%s; trying the project again", error)
    time.sleep(LIMITS.backoff)
    # The answer may have been lost, not the request.
    return api.find_project(name) or api.make_project(name, labels)


def _delete_project_if_empty(api: Api, sending: Sending) -> None:
    if sending.own_project and sending.project_id is not None:
        try:
            api.remove_project_if_empty(sending.project_id)
        except AnnotationError as error:
            logger.warning("the empty CVAT project %s stays: %s", sending.project_id, error)


# --- FiftyOne's annotation run -------------------------------------------------------------------
#: What FiftyOne's own config knows, secrets included, which it does not store.
_KNOWN = frozenset(inspect.signature(focvat.CVATBackendConfig.__init__).parameters)


class BackendConfig(focvat.CVATBackendConfig):  # type: ignore[misc]  # FiftyOne is untyped
    """FiftyOne's config without the parameters that must not be stored with a run."""

    def __init__(self, name: str, label_schema: Any, **kwargs: Any) -> None:
        # Every FIFTYONE_CVAT_* variable comes in here, tokens too, and FiftyOne (1.22) stores what
        # it does not know.
        super().__init__(name, label_schema, **{k: v for k, v in kwargs.items() if k in _KNOWN})

    @property
    def cls(self) -> str:
        """The name that is stored: FiftyOne's, so that it reads the run without this package."""
        return "fiftyone.utils.cvat.CVATBackendConfig"

    @property
    def run_cls(self) -> type:
        """The backend of this config."""
        return Backend


class Backend(focvat.CVATBackend):  # type: ignore[misc]  # FiftyOne is untyped
    """Registers a run; the tasks come later. FiftyOne wants this name below that of its config."""

    def upload_annotations(
        self, samples: Any, anno_key: str, launch_editor: bool = False
    ) -> focvat.CVATAnnotationResults:
        """The results of a run without tasks."""
        fields = list(self.config.label_schema)
        return focvat.CVATAnnotationResults(
            samples,
            self.config,
            anno_key,
            id_map={name: {} for name in fields},
            server_id_map={"tags": {}, "shapes": {}, "tracks": {}},
            project_ids=[],
            task_ids=[],
            job_ids={},
            frame_id_map={},
            labels_task_map={name: [] for name in fields},
            backend=self,
        )


def _register(loop: Loop, plan: Plan) -> Any:
    """The results of FiftyOne's annotation run, new or as they were left."""
    config, sending = plan.config, plan.sending
    if loop.dataset.has_annotation_run(sending.anno_key):
        results = loop.dataset.load_annotation_results(sending.anno_key, cache=False)
        if results is not None:
            _forget_tasks(results, sending)
            return results
        # Killed before its results were stored.
        loop.dataset.delete_annotation_run(sending.anno_key)
    fields: dict[str, Any] = {
        loop.names.label_field: {"type": "detections", "classes": sending.classes, "attributes": {}}
    }
    if loop.dataset.get_field(loop.names.regions) is not None and config.suggestions:
        fixed = ("additions", "deletions", "label_edits", "spatial_edits")
        fields[loop.names.regions] = {
            "type": "detections",
            "classes": [REGION_LABEL],
            "attributes": {},
            **{f"allow_{what}": False for what in fixed},
        }
    is_drawn = config.overlay or config.structure or config.regions_only
    view = loop.dataset.select([image.sample_id for image in plan.images], ordered=True)
    return view.annotate(
        sending.anno_key,
        label_schema=fields,
        attributes=False,
        backend="cvat",
        config_cls=BackendConfig,
        url=sending.url,
        organization=sending.organization,
        task_size=config.task_size,
        segment_size=config.segment_size,
        image_quality=config.image_quality,
        media_field=loop.names.overlay if is_drawn else "filepath",
    )


def _forget_tasks(results: Any, sending: Sending) -> None:
    """Remove tasks that are gone or not recorded from FiftyOne's bookkeeping."""
    live = {task.task_id for task in sending.live_tasks}
    results._forget_tasks([number for number in results.task_ids if number not in live])
    for field, tasks in results.labels_task_map.items():
        results.labels_task_map[field] = [number for number in tasks if number in live]
