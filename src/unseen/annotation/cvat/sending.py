"""A batch -> tasks on a CVAT server, one after the other; what is half made is removed.

After each task everything is written down: boxes and links on the samples, the task in FiftyOne's
annotation run and in the record of the sending. Started again after a failure, the sending goes on
with the images that are not there yet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from unseen.annotation import sendings, truth
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.making import Made, Order, Outgoing, make_task, task_name
from unseen.annotation.cvat.session import LIMITS, is_passing
from unseen.annotation.sendings import Sending
from unseen.dataset.fields import SENT
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ServerError
from unseen.progress import Progress

logger = logging.getLogger(__name__)

#: Whole tasks are tried this often when the network or the server fails meanwhile.
ATTEMPTS = 3


class Sender:
    """Sends the images of one annotation run."""

    def __init__(self, loop: Loop, api: Api, sending: Sending, results: Any, order: Order) -> None:
        """Nothing happens yet.

        Args:
            loop: the loop.
            api: signed in.
            sending: the record; tasks are added to it.
            results: FiftyOne's annotation results of the same run; tasks are added to it.
            order: how tasks are made.
        """
        self.loop, self.api = loop, api
        self.dataset, self.names = loop.dataset, loop.names
        self.sending, self.results, self.order = sending, results, order
        #: Nothing is on the server but tasks that are written down.
        self.is_clean = True
        self._failed = False

    def send(self, images: Sequence[Outgoing], progress: Progress) -> None:
        """Send images in tasks of `config.task_size`, in the order given.

        Args:
            images: in rank order.
            progress: told in images.

        Raises:
            ServerError: the server failed; tasks that were complete stay and are recorded.
            AnnotationError: there is a task that this run might have to remove, with work in it.
        """
        self._remove_half_made(careful=True)
        done, total = 0, len(images)
        for chunk in chunks(images, self.order.config.task_size):

            def report(share: float, base: int = done, size: int = len(chunk)) -> None:
                progress(base + share * size, total, "send images")

            self.is_clean = False
            try:
                made = self._send_task(chunk, report)
            except AnnotationError as error:
                raise ServerError(self._after(error, done, total)) from error
            self.sending.tasks.append(made.task)
            _write_down(self.loop, self.api, self.sending, self.results, made, chunk)
            self.is_clean = True
            done += len(chunk)
            progress(done, total, "send images")
        if self._failed:
            # A request that was given up may have been carried out since.
            self._try_to_remove()

    def _send_task(self, chunk: Sequence[Outgoing], report: Any) -> Made:
        name = task_name(self.dataset.name, self.sending, chunk)
        attempt = 1
        while True:
            try:
                return make_task(self.api, self.sending, self.order, name, chunk, report)
            except ServerError as error:
                self._failed = True
                self._try_to_remove()
                if not is_passing(error) or attempt == ATTEMPTS:
                    raise
                logger.warning("%s; trying the task again", error)
                asked = getattr(error, "retry_after", None) or 0.0
                time.sleep(min(max(LIMITS.backoff * 2**attempt, asked), LIMITS.longest_pause))
            except BaseException:  # Ctrl-C and Cancelled too must not leave half a task
                self._try_to_remove()
                raise
            attempt += 1

    def _remove_half_made(self, *, careful: bool = False) -> None:
        """Delete tasks that carry this sending's token but were never written down.

        Args:
            careful: they may be of an earlier run, and somebody may have seen them.

        Raises:
            AnnotationError: somebody has begun to work on one.
        """
        self.is_clean = False
        known = {task.task_id for task in self.sending.tasks}
        # A restored backup of a task has its name and its images; what came late has no images.
        names = {task.name for task in self.sending.live_tasks}
        for task in self.api.find_tasks(f"[{self.sending.token}]"):
            if task["id"] in known or (task["name"] in names and self.api.jobs(task["id"])):
                continue
            if careful and not self.api.is_untouched(task["id"]):
                raise AnnotationError(
                    f"CVAT task {task['id']} ({task['name']}) is not known to this dataset, and "
                    "somebody has begun to work on it; an earlier run was killed while it sent it. "
                    "Its images would be sent twice: delete the task in CVAT, or rename it to keep "
                    "it, then run this again"
                )
            logger.warning("removing the half-made CVAT task %s (%s)", task["id"], task["name"])
            self.api.remove_task(task["id"])
        self.is_clean = True

    def _try_to_remove(self) -> None:
        try:
            self._remove_half_made()
        except AnnotationError as error:
            logger.warning("a half-made CVAT task may stay until the next run: %s", error)

    def _after(self, error: Exception, sent: int, total: int) -> str:
        half_made = "what was begun is removed"
        if not self.is_clean:
            half_made = "what was begun could not be removed yet; the next run does so"
        live = self.sending.live_tasks
        if not live:
            return f"{error}. Nothing was sent; {half_made}"
        return (
            f"{error}. {len(live)} tasks are with the annotators and stay "
            f"({', '.join(task.name for task in live)}); of this run {sent} of {total} images were "
            f"sent, and {half_made}. Run this again to send the rest, without doubles"
        )


def chunks(images: Sequence[Outgoing], size: int) -> Iterator[Sequence[Outgoing]]:
    """Images of at most `size` consecutive ranks, so that a task's name tells its ranks."""
    start = 0
    for i in range(1, len(images) + 1):
        whole = i - start == size or i == len(images)
        if whole or images[i].rank != images[i - 1].rank + 1:
            yield images[start:i]
            start = i


def _write_down(
    loop: Loop,
    api: Api,
    sending: Sending,
    results: Any,
    made: Made,
    chunk: Sequence[Outgoing],
) -> None:
    """Samples first, the record last: what is not in the record counts as not sent."""
    task, jobs, known = made.task, made.jobs, made.known
    updates = {}
    for i, image in enumerate(chunk):
        job = next(j for j in jobs if j["start_frame"] <= i <= j["stop_frame"])
        url = api.frame_url(task.task_id, job["id"], i)
        updates[image.sample_id] = truth.Update(base=known[i], state=SENT, url=url)
    truth.declare_fields(loop)
    truth.write(loop, sending.anno_key, updates)

    # FiftyOne's own bookkeeping, so that its API and other tools can work with the run.
    results.task_ids.append(task.task_id)
    results.job_ids[task.task_id] = [job["id"] for job in jobs]
    results.frame_id_map[task.task_id] = {
        i: {"sample_id": image.sample_id} for i, image in enumerate(chunk)
    }
    for field in results.labels_task_map:
        results.labels_task_map[field].append(task.task_id)
        kind = "label" if field == loop.names.label_field else "suggestion"
        for i, image in enumerate(chunk):
            ids = [box.id for box in known[i] if box.kind == kind]
            if ids:
                results.id_map[field][image.sample_id] = ids
    results.server_id_map["shapes"].update(
        {box.shape_id: box.sent_id for found in known.values() for box in found}
    )
    results.save()
    sendings.write_sending(loop, sending)


def forget_tasks(results: Any, sending: Sending) -> None:
    """Take out of FiftyOne's bookkeeping the tasks that the record does not know, or that are gone."""
    live = {task.task_id for task in sending.live_tasks}
    results._forget_tasks([number for number in results.task_ids if number not in live])
    for field, tasks in results.labels_task_map.items():
        results.labels_task_map[field] = [number for number in tasks if number in live]
