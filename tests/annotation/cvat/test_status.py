"""What is out, how far it is, and whether something waits to be loaded."""

from __future__ import annotations

import pytest

import unseen

pytestmark = pytest.mark.fiftyone


def only(dataset, **settings):
    (found,) = unseen.list_annotations(dataset, **settings).batches
    return found


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
    found = only(dataset)
    assert "500" in found.problem
    assert [(t.images, t.jobs) for t in found.tasks] == [(1, [])]


def test_what_another_process_recorded_is_seen(cvat, batch):
    import fiftyone.core.odm as foo

    dataset = batch(1)
    unseen.request_annotations(dataset)
    assert only(dataset).anno_key == "unseen_batch_01"
    foo.get_db_conn().datasets.update_one(
        {"_id": dataset._doc.id}, {"$unset": {"runs.unseen_batch_01_sending": ""}}
    )
    assert unseen.list_annotations(dataset).batches == []


def test_a_listing_changes_nothing(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset)
    cvat.annotator(min(cvat.jobs)).set(state="completed")
    before = list(dataset._sample_collection.find())
    cvat.clear_requests()
    unseen.list_annotations(dataset)
    assert list(dataset._sample_collection.find()) == before
    assert {r.method for r in cvat.requests if "auth" not in r.path} == {"GET"}
