"""Whatever annotators do, however often loads are repeated, undone, cut short or killed, and
whatever else is asked for meanwhile: in the end the labels are those of one clean load.
"""

from __future__ import annotations

import contextlib
import functools

import fiftyone as fo
import pytest
from cvat_traces import ranked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unseen
from unseen.errors import ServerError, UnseenError

pytestmark = pytest.mark.fiftyone

CLASSES = ("particle", "scratch")
IMAGES, PER_JOB = 4, 2

EDITS = ("draw", "draw", "move", "relabel", "delete", "copy", "finish", "reopen")
LOADS = ("load", "load all", "load and lose the network", "load and be killed")
STEPS = {
    "undo": unseen.undo_annotations,
    "undo the undo": unseen.undo_annotations,
    "send": unseen.request_annotations,
    "select": functools.partial(unseen.select_batch, budget=1, strategy="random"),
}
#: Events in the life of a batch: who does what, with numbers that choose image and shape.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from((*EDITS, *LOADS, *STEPS)), st.integers(0, IMAGES - 1), st.integers(0, 40)
    ),
    max_size=14,
)


def act(cvat, event, frame, number):
    """Let an annotator do something."""
    job = next(j for j in cvat.jobs.values() if frame in j.frames)
    worker = cvat.annotator(job.id)
    shapes = worker.shapes(frame)
    box = [number, number, number + 10 + frame, number + 12]
    if event == "draw":
        worker.draw(frame, CLASSES[number % 2], box)
    elif event == "finish":
        worker.set(state="completed")
    elif event == "reopen":
        worker.set(state="in progress")
    elif shapes:
        shape = shapes[number % len(shapes)]["id"]
        if event == "move":
            worker.move(shape, box)
        elif event == "relabel":
            worker.relabel(shape, (*CLASSES, "unseen")[number % 3])
        elif event == "delete":
            worker.delete(shape)
        elif event == "copy":
            worker.copy(shape, job.start_frame + (frame + 1) % PER_JOB)


def ask(dataset, event, batch):
    """Run another step, which may refuse; what was sent stays in its batch."""
    settings = {}
    if event == "undo the undo":
        undos = [key for key in dataset.list_runs() if key.startswith("unseen_snapshot_")]
        settings = {"snapshot": undos[-1] if undos else "none"}
    elif event == "send":
        settings = {"images": "batch", "segment_size": PER_JOB, "classes": CLASSES}
    with contextlib.suppress(UnseenError):
        STEPS[event](dataset, **settings)
    dataset.reload()
    assert dataset.match_tags("batch_01").values("id") == batch


def load(cvat, dataset, event, number, monkeypatch):
    """Load as the event says; one that is cut short or killed does not end the history."""
    if event == "load":
        unseen.load_annotations(dataset)
    elif event == "load all":
        unseen.load_annotations(dataset, jobs="all")
    elif event == "load and lose the network":
        cvat.fail("GET", "/api/jobs/", status=500, times=9, skip=number % 4)
        try:
            unseen.load_annotations(dataset, jobs="all")
        except ServerError:
            pass
        finally:
            cvat.clear_faults()
    else:
        original = fo.Dataset._bulk_write

        def killed(self, ops, ids=None, **kwargs):
            original(self, ops[: number % 3], ids=(ids or [])[: number % 3], **kwargs)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(fo.Dataset, "_bulk_write", killed)
            with contextlib.suppress(KeyboardInterrupt):
                unseen.load_annotations(dataset, jobs="all")
        dataset.reload()


def on_the_server(cvat):
    """(class, box) of every shape of a real class, per frame."""
    return [
        sorted(
            (s["label"], [round(v, 3) for v in s["points"]])
            for job in cvat.jobs.values()
            if frame in job.frames
            for s in cvat.annotator(job.id).shapes(frame)
            if s["label"] != "unseen"
        )
        for frame in range(IMAGES)
    ]


def in_the_dataset(dataset):
    def corners(x, y, w, h):
        return [round(v * 64, 3) for v in (x, y, x + w, y + h)]

    return [
        sorted((d.label, corners(*d.bounding_box)) for d in boxes)
        for boxes in ranked(dataset).values("ground_truth.detections")
    ]


@settings(
    max_examples=6 * settings().max_examples // 100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(events=EVENTS, reissue=st.booleans())
def test_every_history_ends_like_one_clean_load(cvat, batch, monkeypatch, events, reissue):
    dataset = batch(IMAGES)
    sent = dataset.match_tags("batch_01").values("id")
    for task_id in list(cvat.tasks):
        cvat.delete_task(task_id)  # of the example before
    cvat.reissue_ids = reissue
    unseen.request_annotations(dataset, segment_size=PER_JOB, classes=CLASSES)
    assert len(cvat.jobs) == IMAGES // PER_JOB
    for event, frame, number in events:
        if event in LOADS:
            load(cvat, dataset, event, number, monkeypatch)
        elif event in STEPS:
            ask(dataset, event, sent)
        else:
            act(cvat, event, frame, number)
    for job_id in cvat.jobs:
        cvat.annotator(job_id).set(state="completed")
    unseen.load_annotations(dataset)
    assert in_the_dataset(dataset) == on_the_server(cvat)
    ids = ranked(dataset).values("ground_truth.detections.id", unwind=True)
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(dataset.values("unseen_regions.detections.id", unwind=True))
    assert unseen.load_annotations(dataset).written == 0
