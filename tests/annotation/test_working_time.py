"""How long people worked: by what CVAT told of each job, or by clicks in the App."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from bson import ObjectId

import unseen
from unseen.annotation import queue, sendings, working_time
from unseen.annotation.sendings import Sending, SentTask
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone


def batch(number, seconds, images="batch"):
    """A request of two tasks; None is a job without a time."""
    tasks = [
        SentTask(
            task_id=n,
            name="task",
            sample_ids=[str(n)],
            first_rank=n,
            url="http://x",
            labels={},
            sent_at="2026-01-01",
            loaded={"7": {"seconds": worked} if worked is not None else {}},
        )
        for n, worked in enumerate(seconds, start=1)
    ]
    return Sending(
        anno_key="key",
        images=images,
        iteration=number,
        backend="cvat",
        label_field="ground_truth",
        classes=[],
        parameters={},
        token="1",
        started_at="2026-01-01T00:00:00+00:00",
        tasks=tasks,
    )


@pytest.mark.parametrize(
    ("seconds", "hours"),
    [
        ({}, {0: 0.0}),
        ({0: (900, 900)}, {0: 0.5}),
        ({1: (3600, 0), 2: (1800,)}, {0: 0.0, 1: 1.0, 2: 1.5}),
        ({0: (1800,), 1: (900, None), 2: (1800,)}, {0: 0.5}),  # later hours are unknown
    ],
)
def test_hours_add_up_while_every_job_has_a_time(empty, seconds, hours):
    records = [batch(n, of, "batch" if n else "initial") for n, of in seconds.items()]
    assert working_time.hours_until(Loop(empty), [batch(0, (60,), "test"), *records]) == hours


@pytest.fixture
def app(make_wafers):
    """Two initial images that are labelled in the App, and their ids."""
    dataset = make_wafers(4, labelled=0, test=0)
    unseen.split_dataset(dataset, initial=2, test_count=0)
    unseen.request_annotations(dataset, images="initial", backend="app", classes=("particle",))
    return Loop(dataset), list(dataset.match_tags("initial").sort_by("filepath").values("id"))


def pass_time(loop, sample_id, seconds):
    """The image was opened so long ago."""
    since = (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat()
    change = {"$set": {f"{loop.names.working_time}.since": since}}
    loop.dataset._sample_collection.update_one({"_id": ObjectId(sample_id)}, change)


def test_clicks_in_the_app_tell_how_long_images_were_open(app):
    loop, (first, second) = app
    (record,) = sendings.read_sendings(loop)
    assert working_time.worked(loop, record) == working_time.Worked(0, [], is_whole=False)
    working_time.note_click(loop, None, first)
    pass_time(loop, first, 20)
    working_time.note_click(loop, first, second)
    pass_time(loop, second, 9999)  # somebody was away
    working_time.note_click(loop, second, first)
    pass_time(loop, first, 10)  # open a second time
    working_time.note_click(loop, first, None)
    working_time.note_click(loop, first, None)  # a click more does not count
    known = working_time.worked(loop, record)
    assert known.seconds == pytest.approx(30 + working_time.LONGEST, abs=1)
    assert sorted(known.ids) == sorted([first, second])
    assert not known.is_whole  # of images without labels nothing is known yet
    queue.mark_empty(loop, [first, second])
    assert working_time.worked(loop, record).is_whole
    assert list(working_time.hours_until(loop, [record])) == [0]
    (status,) = unseen.list_annotations(loop.dataset).batches
    assert status.seconds_per_image == pytest.approx(165, abs=1)
    assert status.seconds_per_box is None


def test_an_image_that_is_gone_or_was_never_opened_has_no_time(app):
    loop, (first, second) = app
    working_time.note_click(loop, first, str(ObjectId()))
    assert loop.dataset[first][loop.names.working_time] == {"seconds": 0.0, "since": None}
    assert loop.dataset[second][loop.names.working_time] is None
