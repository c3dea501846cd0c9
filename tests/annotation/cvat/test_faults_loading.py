"""What can go wrong while labels are loaded, and what it leaves behind."""

from __future__ import annotations

import threading
from dataclasses import replace

import fiftyone as fo
import pytest
from cvat_traces import ranked

import unseen
from unseen.annotation import sendings
from unseen.annotation.cvat.api import Api
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, DatasetError, LockedError, ServerError

pytestmark = pytest.mark.fiftyone


def labels(dataset):
    """Classes per image of the batch in rank order, None where unlabelled."""
    return [
        None if classes is None else sorted(classes)
        for classes in ranked(dataset).values("ground_truth.detections.label")
    ]


@pytest.fixture
def labelled(cvat, batch):
    """Six images in three tasks, all finished, one box each."""
    dataset = batch(6)
    classes = ("particle", "scratch")
    unseen.request_annotations(dataset, task_size=2, classes=classes, suggestions=False)
    for job_id, job in cvat.jobs.items():
        worker = cvat.annotator(job_id)
        for frame in job.frames:
            worker.draw(frame, "particle", [8, 16, 24, 40])
        worker.set(state="completed")
    return dataset


EVERYTHING = [["particle"]] * 6


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "retry_after": 3600},
        {"drop": "before", "times": 2},
        {"drop": "after"},
    ],
    ids=str,
)
def test_a_passing_fault_is_not_noticed(cvat, labelled, fault):
    for path in (r"/api/jobs\?", r"/api/labels", r"/data/meta", r"/annotations"):
        cvat.fail("GET", path, **fault)
    unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING


def test_an_expired_login_is_renewed(cvat, labelled, expiring):
    cvat.clear_requests()
    unseen.load_annotations(labelled)
    assert sum(r.path == "/api/auth/login" for r in cvat.requests) > 1
    assert labels(labelled) == EVERYTHING


def test_loading_never_asks_on_the_terminal(labelled, monkeypatch):
    for question in ("builtins.input", "getpass.getpass"):
        monkeypatch.setattr(question, lambda *a, **k: pytest.fail("asked on the terminal"))
    monkeypatch.delenv("FIFTYONE_CVAT_PASSWORD")
    with pytest.raises(AnnotationError, match="FIFTYONE_CVAT_PASSWORD"):
        unseen.load_annotations(labelled)
    assert labels(labelled) == [None] * 6


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "before"}], ids=str)
def test_what_was_loaded_before_a_lasting_fault_stays_and_the_rest_follows(cvat, labelled, fault):
    cvat.fail("GET", r"/api/jobs/\d+/annotations", times=50, skip=1, **fault)
    with pytest.raises(ServerError) as rehearsed:
        unseen.load_annotations(labelled, dry_run=True)
    assert "were loaded and stay" not in str(rehearsed.value)
    cvat.clear_faults()
    cvat.fail("GET", r"/api/jobs/\d+/annotations", times=50, skip=1, **fault)
    with pytest.raises(ServerError, match=r"1 jobs were loaded and stay; run this again"):
        unseen.load_annotations(labelled)
    labelled.reload()
    assert labels(labelled) == [["particle"]] * 2 + [None] * 4
    cvat.clear_faults()
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING
    assert result.added == {"particle": 4}


def test_a_load_that_breaks_off_leaves_its_report_in_the_records(cvat, labelled):
    cvat.add_label(min(cvat.tasks), "crack")
    worker = cvat.annotator(min(cvat.jobs))
    worker.draw(0, "crack", [1, 1, 9, 9])
    cvat.fail("GET", r"/api/jobs/\d+/annotations", times=50, skip=1, status=500)
    with pytest.raises(ServerError):
        unseen.load_annotations(labelled, new_classes="add")
    record = labelled.get_run_info("unseen_iter_01").config.serialize()
    assert record["class_counts"]["crack"] == 1
    assert record["steps"]["load_annotations"]["result"]["written"] == 2
    cvat.clear_faults()
    worker.draw(1, "crack", [1, 1, 9, 9])
    assert unseen.load_annotations(labelled).new_classes == {}  # it was taken, so it is known


def test_a_deleted_task_gives_its_images_back_to_the_pool(cvat, labelled):
    cvat.delete_task(min(cvat.tasks))
    before = list(labelled._sample_collection.find())
    rehearsed = unseen.load_annotations(labelled, dry_run=True)
    assert (len(rehearsed.gone), rehearsed.unopened) == (1, 2)
    assert list(labelled._sample_collection.find()) == before
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == [None, None] + [["particle"]] * 4
    assert len(result.gone) == 1
    assert "1-2" in result.gone[0]
    assert result.closed == []
    lost = ranked(labelled).values("id")[:2]
    assert set(lost) <= set(Loop(labelled, Names()).pool.values("id"))
    again = unseen.request_annotations(labelled)  # only the lost ones, under their old ranks
    assert again.sent == 2
    assert " 1-2 " in again.tasks[-1]["name"]


def test_a_batch_is_chosen_anew_once_its_tasks_were_deleted(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, suggestions=False)
    anew = {"budget": 2, "strategy": "random", "replace": True}
    with pytest.raises(DatasetError, match="delete its tasks on the annotation server and load"):
        unseen.select_batch(dataset, **anew)
    cvat.delete_task(min(cvat.tasks))
    unseen.load_annotations(dataset)
    assert unseen.select_batch(dataset, **anew).batch == "batch_01"


def test_a_deleted_project_takes_its_tasks_along_and_no_label(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, task_size=2, project="wafers", suggestions=False)
    worker = cvat.annotator(min(cvat.jobs))
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    cvat.delete_project(min(cvat.projects))
    result = unseen.load_annotations(dataset, anno_key="unseen_batch_01")
    assert labels(dataset) == [["particle"], [], None, None]
    assert len(result.gone) == 2


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_load_that_is_killed_while_it_writes_is_finished_by_the_next(
    cvat, labelled, monkeypatch, written
):
    original = fo.Dataset._bulk_write

    def killed(self, ops, **kwargs):
        original(self, ops[:written], **{**kwargs, "ids": kwargs["ids"][:written]})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fo.Dataset, "_bulk_write", killed)
        with pytest.raises(KeyboardInterrupt):
            unseen.load_annotations(labelled)
    labelled.reload()
    assert labels(labelled) == [["particle"]] * written + [None] * (6 - written)
    unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING
    ids = ranked(labelled).values("ground_truth.detections.id", unwind=True)
    assert len(ids) == len(set(ids)) == 6


def also_sent_to_a_server_that_is_gone(dataset, **changes):
    loop = Loop(dataset, Names())
    known = sendings.read_sending(loop, "unseen_batch_01")
    gone = replace(known, anno_key="unseen_old", url="http://127.0.0.1:9", **changes)
    sendings.write_sending(loop, gone)


def test_a_server_that_is_gone_does_not_stop_what_another_one_has(cvat, labelled):
    also_sent_to_a_server_that_is_gone(labelled, closed=True)
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING
    assert any("unseen_old was not checked again" in note for note in result.notes)


def test_what_is_out_on_a_server_that_is_gone_is_an_error_after_everything_else(cvat, labelled):
    also_sent_to_a_server_that_is_gone(labelled, started_at="2000")
    with pytest.raises(AnnotationError, match=r"unseen_old: .*127\.0\.0\.1:9.*3 jobs.*anno_key="):
        unseen.load_annotations(labelled)
    labelled.reload()
    assert labels(labelled) == EVERYTHING
    assert unseen.load_annotations(labelled, anno_key="unseen_batch_01").written == 0


def test_a_job_that_is_deleted_meanwhile_is_named_and_the_others_are_loaded(cvat, labelled):
    cvat.fail("GET", r"/api/jobs/\d+/annotations", status=404)
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == [None, None] + [["particle"]] * 4
    assert result.jobs_loaded == 2
    assert any("was deleted meanwhile" in note for note in result.notes)


def test_two_loads_at_once_are_one_after_the_other(cvat, labelled):
    refusals = []

    def second():
        with pytest.raises(LockedError) as error:
            unseen.load_annotations(labelled)
        refusals.append(str(error.value))

    def progress(done, total, label):
        if not refusals:
            other = threading.Thread(target=second)
            other.start()
            other.join()

    unseen.load_annotations(labelled, progress=progress)
    assert "load_annotations has been running since" in refusals[0]
    assert labels(labelled) == EVERYTHING


def test_images_that_annotators_removed_stay_out_when_their_task_is_deleted(cvat, labelled):
    cvat.annotator(min(cvat.jobs)).delete_frame(0)
    cvat.annotator(min(cvat.jobs)).set(state="in progress")
    unseen.load_annotations(labelled, jobs="all")
    cvat.delete_task(min(cvat.tasks))
    unseen.load_annotations(labelled)
    states = ranked(labelled).values("unseen_annotation")
    assert states == ["removed", None, *["loaded"] * 4]


def test_a_label_deleted_while_its_job_is_loaded_deletes_no_box(cvat, labelled, monkeypatch):
    unseen.load_annotations(labelled)
    original = Api.job_annotations

    def deleted_just_before(self, job_id):
        task = cvat.jobs[job_id].task
        if "particle" in {label.name for label in task.labels}:
            cvat.delete_label(task.id, "particle")
        return original(self, job_id)

    monkeypatch.setattr(Api, "job_annotations", deleted_just_before)
    for job_id in cvat.jobs:
        cvat.annotator(job_id).set(state="completed")
    unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING
