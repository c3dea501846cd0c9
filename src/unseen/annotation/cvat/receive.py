"""Labels from a CVAT server, job by job; what was written stays whatever happens next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from unseen.annotation import sendings, snapshots, truth
from unseen.annotation.cvat.api import Api, Frames
from unseen.annotation.cvat.attributes import Attributes
from unseen.annotation.cvat.connections import Connections
from unseen.annotation.cvat.events import note_time
from unseen.annotation.cvat.send import remove_section
from unseen.annotation.cvat.server import CvatError, HiddenError
from unseen.annotation.merge import Changes, KnownBox, merge_image, without_values
from unseen.annotation.sendings import Sending, SentTask
from unseen.annotation.shapes import SCORE, ServerBox, ServerLabel, read_job
from unseen.annotation.status import frames_of, is_changed, is_finished, removed_in
from unseen.dataset import scope
from unseen.dataset.fields import LOADED, REGION_LABEL, REMOVED, RESERVED_CLASSES, SENT
from unseen.dataset.loop import Loop
from unseen.dataset.runs import refresh
from unseen.errors import AnnotationError, ServerError
from unseen.progress import Progress

if TYPE_CHECKING:
    from unseen.steps.load_annotations import LoadConfig

#: How many links to oddities a report holds.
EXAMPLES = 20


@dataclass
class Tally:
    """The counts of one load, over all jobs of all annotation runs; see `LoadResult`."""

    changes: Changes = field(default_factory=Changes)
    jobs_loaded: int = 0
    jobs_waiting: int = 0
    labelled: int = 0
    empty: int = 0
    unopened: int = 0
    removed: int = 0
    refused: int = 0
    written: int = 0
    new_classes: Counter[str] = field(default_factory=Counter)
    added_classes: set[str] = field(default_factory=set)  #: of these, the ones that were taken
    oddities: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note once."""
        if text not in self.notes:
            self.notes.append(text)

    def example(self, what: str, url: str) -> None:
        """Keep a link to something odd, while there are few."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{what}: {url}")


def load(
    loop: Loop, config: LoadConfig, runs: Sequence[Sending], tally: Tally, progress: Progress
) -> None:
    """Load these annotation runs, open and closed ones; `tally` is added to.

    Each run is tried. Raises AnnotationError in the end if a server failed; what was loaded stays.
    """
    connections = Connections()
    problems = {}
    for sending in runs:
        try:
            api = connections.of(sending)
            Receiver(loop, api, sending, config, tally).receive(progress)
        except AnnotationError as error:
            if sending.closed:
                # Nothing more is expected from it: old servers may be gone.
                tally.note(f"{sending.anno_key} was not checked again: {error}")
            else:
                problems[sending.anno_key] = error
    refresh(loop.dataset)  # so that FiftyOne knows the records as they are now
    if not problems:
        return
    text = "; ".join(f"{k}: {e}" if len(runs) > 1 else str(e) for k, e in problems.items())
    if tally.jobs_loaded and not config.dry_run:
        text += f". {tally.jobs_loaded} jobs were loaded and stay; run this again to load the rest"
    if len(runs) > len(problems):
        text += ". Pass anno_key= to load one annotation run by itself"
    is_server = all(isinstance(e, ServerError) for e in problems.values())
    raise (ServerError if is_server else AnnotationError)(text) from next(iter(problems.values()))


class Receiver:
    """Takes back the labels of one annotation run."""

    def __init__(
        self, loop: Loop, api: Api, sending: Sending, config: LoadConfig, tally: Tally
    ) -> None:
        self.loop, self.api = loop, api
        self.sending, self.config, self.tally = sending, config, tally
        self.allowed = {*sending.classes, REGION_LABEL}
        self.snapshot: str | None = None
        self.attributes = Attributes(loop)
        self.keeps_time = True

    def receive(self, progress: Progress) -> None:
        """Load every wanted job of every task."""
        if not self.config.dry_run:
            truth.declare_fields(self.loop)
            if self.sending.scopes:
                scope.declare(self.loop)
        tasks = self.sending.live_tasks
        hidden: HiddenError | None = None
        for number, task in enumerate(tasks):
            progress(number, len(tasks), "load annotations")
            try:
                self._receive_task(task)
            except HiddenError as error:  # the other tasks need not wait for it
                hidden = hidden or error
        self._close()
        progress(len(tasks), len(tasks), "load annotations")
        if hidden is not None:
            raise hidden

    def _receive_task(self, task: SentTask) -> None:
        jobs = self.api.find_jobs(task.task_id)
        if jobs is None:
            self._give_up(task)
            return
        frames = self.api.frames(task.task_id)
        if self.sending.closed:  # late corrections only
            jobs = [job for job in jobs if is_changed(job, task, frames.deleted)]
        if not jobs:
            return
        before = dict(task.loaded)
        for job in jobs:
            finished = is_finished(job, self.config.stage)
            if not finished and self.config.jobs == "finished":
                self.tally.jobs_waiting += 1
                ids = [i for n, i in task.own.items() if n in frames_of(job)]
                self.tally.unopened += truth.count_unlabelled(self.loop, ids)
                continue
            try:
                shapes = self._shapes(task, job)
            except CvatError as error:
                if error.status != 404:
                    raise
                self.tally.notes.append(f"Job {job['id']} of {task.name} was deleted meanwhile.")
                continue
            refused = self.tally.refused
            self._merge_job(task, job, finished, *shapes, frames)
            self.tally.jobs_loaded += 1
            is_whole = self.tally.refused == refused
            task.loaded[str(job["id"])] = {
                "at": sendings.now(),
                # A job with refused images waits, even if nothing more happens on the server.
                "updated": job.get("updated_date") if is_whole else "",
                "finished": finished,
                "removed": removed_in(job, frames.deleted),
            }
        if not self.config.dry_run:
            self.keeps_time = self.keeps_time and note_time(self.api, task, before)
            sendings.write_task(self.loop, self.sending, task)

    def _shapes(
        self, task: SentTask, job: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What is drawn in a job, and the labels of its task."""
        annotations = self.api.job_annotations(job["id"])
        # After the shapes: a label deleted in between must not look like deleted boxes.
        labels = self.api.labels("task", task.task_id)
        if self._is_moved(task, labels):
            self._adopt(task, labels)
            return self._shapes(task, job)  # these may be from before, with the former labels
        return annotations, labels

    def _is_moved(self, task: SentTask, labels: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the task came into a project, whose labels have the names and other ids."""
        numbers, names = {label["id"] for label in labels}, {label["name"] for label in labels}
        if numbers & set(task.labels.values()) or not names & set(task.labels):
            return False
        on_server = self.api.task(task.task_id) or {}
        return on_server.get("project_id") not in (None, self.sending.project_id)

    def _adopt(self, task: SentTask, labels: Sequence[Mapping[str, Any]]) -> None:
        """Know the classes of a moved task by their new ids.

        Shapes keep their ids, and lose the values of their attributes: nobody has deleted those.
        """
        there = {label["name"]: label["id"] for label in labels}
        task.labels = {name: there.get(name, -1) for name in task.labels}
        if self.config.dry_run:
            return
        held = truth.read(self.loop, self.sending.anno_key, task.own.values())
        bare = {
            i: truth.Update(base=[without_values(box) for box in image.base])
            for i, image in held.items()
            if image.base
        }
        truth.write(self.loop, self.sending.anno_key, bare)
        sendings.write_task(self.loop, self.sending, task)

    def _named(
        self, task: SentTask, found: Sequence[Mapping[str, Any]]
    ) -> tuple[dict[int, ServerLabel], set[str]]:
        """The server's labels under the names that were sent, and those that are gone."""
        sent = {number: name for name, number in task.labels.items()}
        labels = {}
        for label in found:
            name = sent.get(label["id"], label["name"])
            if name != label["name"]:
                self.tally.note(
                    f"Label {name!r} is called {label['name']!r} on the server now; its boxes are "
                    f"taken as {name!r}."
                )
            attributes = {a["id"]: a["name"] for a in label["attributes"]}
            labels[label["id"]] = ServerLabel(name, attributes)
        vanished = {name for name, number in task.labels.items() if number not in labels}
        for name in sorted(vanished):
            self.tally.note(
                f"Label {name!r} was deleted on the server, and its boxes with it; the boxes of "
                "this class stay as they are."
            )
        return labels, vanished

    def _merge_job(
        self,
        task: SentTask,
        job: Mapping[str, Any],
        finished: bool,
        annotations: Mapping[str, Any],
        found: Sequence[Mapping[str, Any]],
        frames: Frames,
    ) -> None:
        labels, vanished = self._named(task, found)
        end = min(job["stop_frame"] + 1, len(task.sample_ids), len(frames.sizes))
        shown = range(job["start_frame"], end)
        ids = {n: i for n, i in task.own.items() if n in shown}
        shapes = read_job(annotations, labels, {n: frames.sizes[n] for n in shown})
        for n in set(shown) - set(ids) - frames.deleted if finished else ():
            drawn = [[box.label, *box.box] for box in shapes.boxes[n] if box.label != REGION_LABEL]
            task.repeats[str(n)] |= {**_who(job), "boxes": drawn}
        job_url = self.api.job_url(task.task_id, job["id"])
        for oddity in shapes.oddities:
            self.tally.oddities[oddity.kind] += 1
            self.tally.example(oddity.kind, f"{job_url}?frame={max(0, oddity.frame)}")
        held = truth.read(self.loop, self.sending.anno_key, ids.values())
        updates: dict[str, truth.Update] = {}
        for n, sample_id in ids.items():
            before = held.get(sample_id)
            if before is None:
                self.tally.note("Images deleted from the dataset were skipped.")
            elif n in frames.deleted:
                self.tally.removed += 1
                if before.state != REMOVED and (before.document is None or finished):
                    updates[sample_id] = truth.Update(state=REMOVED)
            else:
                boxes = [
                    box if box.label == REGION_LABEL else self.attributes.cleaned(box)
                    for box in shapes.boxes[n]
                ]
                if not self._is_refused(boxes, f"{job_url}?frame={n}"):
                    update = self._merge(before, boxes, finished, vanished, job)
                    if update is not None:
                        updates[sample_id] = self._in_scope(update, before, sample_id)
        self._write(updates)

    def _merge(
        self,
        before: truth.Truth,
        boxes: Sequence[ServerBox],
        finished: bool,
        vanished: set[str],
        job: Mapping[str, Any],
    ) -> truth.Update | None:
        """The new state of one image, or None if nothing changes."""
        merged = merge_image(
            before.base or [],
            before.boxes(),
            boxes,
            new_id=lambda: str(ObjectId()),
            suggestion_class=REGION_LABEL,
            vanished_classes=vanished,
        )
        untouched = before.document is None and not merged.changes.edits
        if not finished and (untouched or not merged.boxes):
            # In an open job, an image without a box may be empty or not be labelled yet.
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
        is_new = document != before.document
        self.tally.written += is_new
        if not is_new and merged.base == before.base and state == before.state:
            return None
        sources = {i: self._source(known, before, job) for i, known in merged.sources.items()}
        return truth.Update(document if is_new else None, merged.base, state, sources=sources)

    def _source(
        self, known: KnownBox | None, before: truth.Truth, job: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Who made or changed a label and when; of a new one also where it came from."""
        facts = _who(job)
        if known is not None and known.kind == "label":
            return facts
        facts |= {"batch": self.sending.anno_key, "from": known.kind if known else "drawn"}
        if known is not None and known.kind == "suggestion":
            facts |= {"suggestion": known.id, "score": known.attributes.get(SCORE)}
            facts |= {"model": before.model}
        elif known is not None:
            facts |= {"model": self.sending.predictions}
        return facts

    def _in_scope(self, update: truth.Update, before: truth.Truth, sample_id: str) -> truth.Update:
        """The first labels of an image that was sent in part are complete in that part only."""
        asked = self.sending.scopes.get(sample_id)
        if asked is None or before.document is not None or update.document is None:
            return update
        return replace(update, scope=scope.document(asked))

    def _is_refused(self, boxes: Sequence[ServerBox], url: str) -> bool:
        """Whether the image stays as it is, because it holds classes that were not sent."""
        new = Counter(box.label for box in boxes if box.label not in self.allowed)
        if not new:
            return False
        self.tally.new_classes += new
        self.tally.example(f"class {', '.join(sorted(new))}", url)
        reserved = [name for name in new if name.strip().lower() in RESERVED_CLASSES]
        if self.config.new_classes == "add" and not reserved:
            # Recorded with the task, so that an interrupted load knows it again.
            self.sending.classes = list(dict.fromkeys([*self.sending.classes, *sorted(new)]))
            self.tally.added_classes |= set(new)
            return False
        for name in reserved:
            self.tally.note(f"The name of class {name!r} is reserved; rename it in CVAT.")
        self.tally.refused += 1
        return True

    def _write(self, updates: Mapping[str, truth.Update]) -> None:
        if self.config.dry_run or not updates:
            return
        changed = [i for i, update in updates.items() if update.document is not None]
        if changed:
            if self.snapshot is None:
                ids = self.sending.sent_ids()
                self.snapshot = snapshots.take(self.loop, self.sending.anno_key, ids, "load")
                self.tally.snapshots.append(self.snapshot)
            # Before the labels: restoring what was noted but not written does no harm.
            snapshots.note_written(self.loop.dataset, self.snapshot, changed)
            self.attributes.declare()
        truth.write(self.loop, self.sending.anno_key, updates)

    def _give_up(self, task: SentTask) -> None:
        """The task is gone: images that did not come back are free for the next batch."""
        self.tally.gone.append(task.name)
        held = truth.read(self.loop, self.sending.anno_key, task.own.values())
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
            sendings.write_task(self.loop, self.sending, task)

    def _close(self) -> None:
        """Close the run if every image is back, and open it again if one is out."""
        if self.config.dry_run:
            return
        states = truth.count_states(self.loop, self.sending.sent_ids())
        is_back = self.sending.complete and set(states) <= {LOADED, REMOVED}
        if is_back != self.sending.closed:
            self.sending.closed = is_back
            sendings.write_sending(self.loop, self.sending)
            if is_back:
                remove_section(self.api, self.sending)


def _who(job: Mapping[str, Any]) -> dict[str, Any]:
    """Who works on a job, and when it changed last."""
    return {"by": (job.get("assignee") or {}).get("username"), "at": job.get("updated_date")}
