"""What is out, how far it is, whether something waits to be loaded, and what to do next."""

from __future__ import annotations

import pytest

import unseen
from unseen.annotation.status import is_finished
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone


def only(dataset, **settings):
    (batch,) = unseen.list_annotations(dataset, **settings).batches
    return batch


@pytest.mark.parametrize(
    ("stage", "state", "wanted", "finished"),
    [
        ("annotation", "completed", "annotation", True),
        ("annotation", "rejected", "annotation", False),
        ("annotation", "completed", "validation", False),
        ("validation", "new", "annotation", True),
        ("validation", "completed", "validation", True),
        ("validation", "in progress", "validation", False),
        ("acceptance", "new", "validation", True),
        ("acceptance", "new", "acceptance", False),
        ("acceptance", "completed", "acceptance", True),
        ("unknown", "completed", "annotation", False),
    ],
)
def test_a_later_stage_means_that_the_earlier_ones_are_finished(stage, state, wanted, finished):
    assert is_finished({"stage": stage, "state": state}, wanted) is finished


def test_a_job_waits_from_its_end_until_it_is_loaded_and_again_after_a_correction(cvat, batch):
    cvat.add_user("ann")
    dataset = batch(3)
    unseen.request_annotations(dataset, segment_size=2, assignees=("ann",), task_assignee="ann")
    out = only(dataset)
    (task,) = out.tasks
    assert (task.assignee, task.images, task.gone) == ("ann", 3, False)
    assert task.url == f"{cvat.url}/tasks/{task.task_id}"
    assert [(j.images, j.assignee, j.finished, j.waiting) for j in task.jobs] == [
        (2, "ann", False, False),
        (1, "ann", False, False),
    ]
    assert task.jobs[1].url == f"{task.url}/jobs/{task.jobs[1].job_id}"
    assert (out.images, out.images_finished, out.images_loaded, out.waiting) == (3, 0, 0, False)
    assert 0 <= out.age_days < 0.1

    worker = cvat.annotator(task.jobs[0].job_id)
    worker.set(state="completed")
    done = only(dataset)
    assert (done.images_finished, done.images_loaded, done.waiting) == (2, 0, True)
    assert not only(dataset, stage="validation").waiting
    unseen.load_annotations(dataset)
    loaded = only(dataset)
    assert (loaded.images_loaded, loaded.waiting) == (2, False)
    assert loaded.tasks[0].jobs[0].loaded_at is not None
    worker.draw(0, "particle", [8, 16, 24, 40])
    assert only(dataset).waiting

    cvat.delete_task(task.task_id)
    gone = only(dataset)
    assert [(t.gone, t.jobs) for t in gone.tasks] == [(True, [])]


def test_a_server_that_cannot_be_asked_is_a_problem_and_no_error(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset)
    cvat.fail("GET", "/api/tasks", status=500, times=99)
    out = only(dataset)
    assert "500" in out.problem
    assert [(t.images, t.jobs) for t in out.tasks] == [(1, [])]


def test_a_listing_reads_from_the_server_and_the_database_only(cvat, batch):
    import fiftyone.core.odm as foo

    dataset = batch(1)
    unseen.request_annotations(dataset)
    cvat.annotator(min(cvat.jobs)).set(state="completed")
    before = list(dataset._sample_collection.find())
    cvat.clear_requests()
    assert only(dataset).anno_key == "unseen_batch_01"
    assert list(dataset._sample_collection.find()) == before
    assert {r.method for r in cvat.requests if "auth" not in r.path} == {"GET"}
    # What another process recorded is seen.
    foo.get_db_conn().datasets.update_one(
        {"_id": dataset._doc.id}, {"$unset": {"runs.unseen_batch_01_sending": ""}}
    )
    assert unseen.list_annotations(dataset).batches == []


def test_finished_jobs_make_loading_the_next_action(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, segment_size=2)
    assert overview.now(dataset).batch.waiting_to_load is None  # nobody asked the server
    asked = overview.now_with_server(dataset)
    assert (asked.asked_server, asked.batch.waiting_to_load) == (True, 0)
    cvat.annotator(min(cvat.jobs)).set(state="completed")
    asked = overview.now_with_server(dataset)
    assert asked.batch.waiting_to_load == 2
    assert asked.next_action.operator == "load_annotations"
    assert "2 of 4" in asked.next_action.reason
    unseen.load_annotations(dataset)
    asked = overview.now_with_server(dataset)
    assert asked.batch.waiting_to_load == 0
    assert asked.batch.labelled == 2


def test_a_server_that_cannot_be_asked_is_named_and_the_rest_is_told(cvat, batch, monkeypatch):
    dataset = batch(2)
    unseen.request_annotations(dataset)
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "wrong")
    asked = overview.now_with_server(dataset)
    assert not asked.asked_server
    assert "refused the login" in asked.batch.problem
    assert asked.counts.out == 2
