"""Jobs of a CVAT server -> labels, job by job; what was written stays whatever happens next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from unseen.annotation import sendings, snapshots, truth
from unseen.annotation.cvat.api import Api, Frames
from unseen.annotation.cvat.attributes import Attributes
from unseen.annotation.cvat.jobs import is_changed, is_finished
from unseen.annotation.cvat.session import CvatError
from unseen.annotation.cvat.tally import Tally
from unseen.annotation.merge import merge_image
from unseen.annotation.sendings import Sending, SentTask
from unseen.annotation.shapes import FoundBox, ServerLabel, read_job
from unseen.dataset import scope
from unseen.dataset.fields import LOADED, REGION_LABEL, REMOVED, RESERVED_CLASSES, SENT
from unseen.dataset.loop import Loop
from unseen.progress import Progress

if TYPE_CHECKING:
    from unseen.steps.load_annotations import LoadConfig


class Receiver:
    """Takes back the labels of one annotation run."""

    def __init__(
        self,
        loop: Loop,
        api: Api,
        sending: Sending,
        config: LoadConfig,
        tally: Tally,
    ) -> None:
        self.loop, self.api = loop, api
        self.dataset, self.names = loop.dataset, loop.names
        self.sending, self.config, self.tally = sending, config, tally
        self.allowed = {*sending.classes, REGION_LABEL}
        self.snapshot: str | None = None
        self.attributes = Attributes(loop.dataset, loop.names.label_field)

    def receive(self, progress: Progress) -> None:
        """Load every wanted job of every task.

        Raises:
            ServerError: the server failed; what was loaded until then stays.
        """
        if not self.config.dry_run:
            truth.declare_fields(self.loop)
            if self.sending.scopes:
                scope.declare(self.loop)
        tasks = self.sending.live_tasks
        for number, task in enumerate(tasks):
            progress(number, len(tasks), "load annotations")
            self._receive_task(task)
        self._close()
        progress(len(tasks), len(tasks), "load annotations")

    def _receive_task(self, task: SentTask) -> None:
        jobs = self.api.jobs(task.task_id)
        if not jobs and self.api.task(task.task_id) is None:
            self._give_up(task)
            return
        if self.sending.closed:  # late corrections only
            jobs = [job for job in jobs if is_changed(job, task)]
        if not jobs:
            return
        frames = self.api.frames(task.task_id)
        for job in jobs:
            finished = is_finished(job, self.config.stage)
            if not finished and self.config.jobs == "finished":
                self.tally.jobs_waiting += 1
                ids = task.sample_ids[job["start_frame"] : job["stop_frame"] + 1]
                self.tally.unopened += truth.count_unlabelled(self.loop, ids)
                continue
            try:
                annotations = self.api.job_annotations(job["id"])
            except CvatError as error:
                if error.status != 404:
                    raise
                self.tally.notes.append(f"Job {job['id']} of {task.name} was deleted meanwhile.")
                continue
            # After the shapes: a label that is deleted in between must not look like deleted boxes.
            labels, vanished = self._labels(task)
            refused = self.tally.refused
            self._merge_job(task, job, finished, annotations, labels, vanished, frames)
            self.tally.jobs_loaded += 1
            is_whole = self.tally.refused == refused
            task.loaded[str(job["id"])] = {
                "at": sendings.now(),
                # What was refused waits: nothing more need happen on the server.
                "updated": job.get("updated_date") if is_whole else "",
                "finished": finished,
            }
        if not self.config.dry_run:
            sendings.write_sending(self.loop, self.sending)

    def _labels(self, task: SentTask) -> tuple[dict[int, ServerLabel], set[str]]:
        """The server's labels under the names that were sent, and those that are gone."""
        sent = {number: name for name, number in task.labels.items()}
        found = {}
        for label in self.api.labels(task_id=task.task_id):
            name = sent.get(label["id"], label["name"])
            if name != label["name"]:
                self.tally.note(
                    f"Label {name!r} is called {label['name']!r} on the server now; its boxes are "
                    f"taken as {name!r}."
                )
            attributes = {a["id"]: a["name"] for a in label["attributes"]}
            found[label["id"]] = ServerLabel(name, attributes)
        vanished = {name for number, name in sent.items() if number not in found}
        for name in sorted(vanished):
            self.tally.note(
                f"Label {name!r} was deleted on the server, and its boxes with it; the boxes of "
                "this class stay as they are."
            )
        return found, vanished

    def _merge_job(
        self,
        task: SentTask,
        job: Mapping[str, Any],
        finished: bool,
        annotations: Mapping[str, Any],
        labels: Mapping[int, ServerLabel],
        vanished: set[str],
        frames: Frames,
    ) -> None:
        numbers = [
            n
            for n in range(job["start_frame"], job["stop_frame"] + 1)
            if n < min(len(task.sample_ids), len(frames.frames))
        ]
        sizes = {n: (frames.frames[n].width, frames.frames[n].height) for n in numbers}
        shapes = read_job(annotations, labels, sizes)
        for oddity in shapes.oddities:
            self.tally.oddities[oddity.kind] += 1
            self.tally.example(
                oddity.kind, self.api.frame_url(task.task_id, job["id"], max(0, oddity.frame))
            )
        held = truth.read(self.loop, self.sending.anno_key, [task.sample_ids[n] for n in numbers])
        updates: dict[str, truth.Update] = {}
        for n in numbers:
            sample_id = task.sample_ids[n]
            before = held.get(sample_id)
            if before is None:
                self.tally.note(
                    "Some images were deleted from the dataset; their labels are left out."
                )
            elif n in frames.deleted:
                self.tally.removed += 1
                if before.state != REMOVED and (before.document is None or finished):
                    updates[sample_id] = truth.Update(state=REMOVED)
            else:
                boxes = [self.attributes.cleaned(box) for box in shapes.boxes[n]]
                if not self._is_refused(boxes, task, job, n):
                    update = self._merge(before, boxes, finished, vanished)
                    if update is not None:
                        updates[sample_id] = self._in_scope(update, before, sample_id)
        self._write(updates)

    def _merge(
        self,
        before: truth.Truth,
        boxes: Sequence[FoundBox],
        finished: bool,
        vanished: set[str],
    ) -> truth.Update | None:
        """What one image shall hold, or None where nothing changes."""
        merged = merge_image(
            before.base or [],
            before.boxes(),
            boxes,
            new_id=lambda: str(ObjectId()),
            suggestion_class=REGION_LABEL,
            vanished_classes=vanished,
        )
        untouched = before.document is None and not merged.changes.any
        if not finished and (untouched or not merged.boxes):
            # In an open job an image without a box may be empty, or nobody is done with it yet.
            self.tally.unopened += before.document is None
            return None
        self.tally.changes += merged.changes
        document = truth.merged_document(before.document, merged.boxes, before.base or [])
        if document["detections"]:
            self.tally.labelled += 1
        else:
            self.tally.empty += 1
        # An image that was removed and is back again is with the annotators as before.
        state = LOADED if finished else SENT if before.state == REMOVED else before.state
        is_changed = document != before.document
        self.tally.written += is_changed
        if not is_changed and merged.base == before.base and state == before.state:
            return None
        return truth.Update(document if is_changed else None, merged.base, state)

    def _in_scope(self, update: truth.Update, before: truth.Truth, sample_id: str) -> truth.Update:
        """First labels of an image that was asked for in part are complete in that part only."""
        asked = self.sending.scopes.get(sample_id)
        if asked is None or before.document is not None or update.document is None:
            return update
        return replace(update, scope=scope.document(asked))

    def _is_refused(
        self, boxes: Sequence[FoundBox], task: SentTask, job: Mapping[str, Any], frame: int
    ) -> bool:
        new = Counter(box.label for box in boxes if box.label not in self.allowed)
        if not new:
            return False
        self.tally.new_classes += new
        self.tally.example(
            f"class {', '.join(sorted(new))}", self.api.frame_url(task.task_id, job["id"], frame)
        )
        reserved = [name for name in new if name.strip().lower() in RESERVED_CLASSES]
        if self.config.new_classes == "add" and not reserved:
            # Goes into the record with the task, so that a load that breaks off knows it again.
            self.sending.classes = list(dict.fromkeys([*self.sending.classes, *sorted(new)]))
            self.tally.added_classes |= set(new)
            return False
        for name in reserved:
            self.tally.note(
                f"Class {name!r} has a name that the ranking uses itself; rename it in CVAT."
            )
        self.tally.refused += 1
        return True

    def _write(self, updates: Mapping[str, truth.Update]) -> None:
        if self.config.dry_run or not updates:
            return
        changed = [i for i, update in updates.items() if update.document is not None]
        if changed:
            self._take_snapshot()
            # Before the labels: what is noted and was not written is restored to itself.
            snapshots.note_written(self.dataset, str(self.snapshot), changed)
            self.attributes.declare()
        truth.write(self.loop, self.sending.anno_key, updates)

    def _take_snapshot(self) -> None:
        if self.snapshot is None:
            self.snapshot = snapshots.take(
                self.loop, self.sending.anno_key, self.sending.sent_ids(), "load"
            )
            self.tally.snapshots.append(self.snapshot)

    def _give_up(self, task: SentTask) -> None:
        """The task is gone: what did not come back is free for the next batch."""
        self.tally.gone.append(task.name)
        held = truth.read(self.loop, self.sending.anno_key, task.sample_ids)
        lost = [i for i, t in held.items() if t.state not in (LOADED, REMOVED)]
        self.tally.unopened += sum(held[i].document is None for i in lost)
        if lost:
            self.tally.note(
                f"{len(lost)} images of {task.name} never came back; request_annotations sends "
                "them again, and those without labels are in the pool until then."
            )
        if not self.config.dry_run:
            task.gone = True
            self.sending.complete = self.sending.complete and not lost
            truth.release(self.loop, self.sending.anno_key, lost)
            sendings.write_sending(self.loop, self.sending)

    def _close(self) -> None:
        """Closed is what is complete and back; an image that is out again opens it."""
        if self.config.dry_run:
            return
        states = truth.count_states(self.loop, self.sending.sent_ids())
        is_back = self.sending.complete and set(states) <= {LOADED, REMOVED}
        if is_back != self.sending.closed:
            self.sending.closed = is_back
            sendings.write_sending(self.loop, self.sending)
