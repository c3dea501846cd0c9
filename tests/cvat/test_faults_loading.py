"""What can go wrong while labels are loaded, and what it leaves behind."""

from __future__ import annotations

import re

import pytest

import unseen
from unseen.errors import ServerError

pytestmark = pytest.mark.fiftyone


def labels(dataset):
    """Classes per image of the batch in rank order, None where unlabelled."""
    view = dataset.match_tags("batch_01").sort_by("unseen_rank")
    found = view.values("ground_truth.detections.label")
    return [None if f is None else sorted(f) for f in found]


@pytest.fixture
def labelled(cvat, batch):
    """Six images in three tasks, all finished, one box each."""
    dataset = batch(6)
    unseen.request_annotations(
        dataset, task_size=2, classes=("particle", "scratch"), suggestions=False
    )
    for job_id, job in sorted(cvat.jobs.items()):
        worker = cvat.annotator(job_id)
        for frame in range(job.start_frame, job.stop_frame + 1):
            worker.draw(frame, "particle", [8, 16, 24, 40])
        worker.set(state="completed")
    return dataset


EVERYTHING = [["particle"]] * 6


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "retry_after": 3600},
        {"drop": "before"},
        {"drop": "after"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "path", [r"/api/tasks/\d+$", r"/api/jobs\?", r"/api/labels", r"/data/meta", r"/annotations"]
)
def test_a_passing_fault_is_not_noticed(cvat, labelled, fault, path):
    cvat.fail("GET", path, **fault)
    unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "before"}], ids=str)
def test_what_was_loaded_before_a_lasting_fault_stays_and_the_rest_follows(cvat, labelled, fault):
    cvat.fail("GET", r"/api/jobs/\d+/annotations", times=50, skip=1, **fault)
    with pytest.raises(ServerError, match=r"1 jobs were loaded and stay; run this again"):
        unseen.load_annotations(labelled)
    labelled.reload()
    assert labels(labelled) == [["particle"]] * 2 + [None] * 4
    cvat.clear_faults()
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING
    assert result.added == {"particle": 4}


def test_a_restart_of_the_server_is_waited_for(cvat, labelled):
    cvat.fail("GET", r"/annotations", drop="before", times=2)
    unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING


def test_an_expired_session_is_renewed(cvat, labelled):
    expired = []
    from unseen.cvat.api import Api

    original = Api.job_annotations

    def expire_once(self, job_id):
        if not expired:
            expired.append(job_id)
            cvat.expire_sessions()
        return original(self, job_id)

    Api.job_annotations = expire_once
    try:
        unseen.load_annotations(labelled)
    finally:
        Api.job_annotations = original
    assert expired
    assert labels(labelled) == EVERYTHING


def test_a_deleted_task_gives_its_images_back_to_the_pool(cvat, labelled):
    first = min(cvat.tasks)
    cvat.delete_task(first)
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == [None, None] + [["particle"]] * 4
    assert len(result.gone) == 1
    assert "1-2" in result.gone[0]
    assert result.closed == []
    from unseen.dataset import reading
    from unseen.dataset.fields import Names

    lost = labelled.match_tags("batch_01").sort_by("unseen_rank").values("id")[:2]
    assert set(lost) <= set(reading.pool(labelled, Names()).values("id"))
    again = unseen.request_annotations(labelled)  # only the lost ones, under their old ranks
    assert again.sent == 2
    assert " 1-2 " in again.tasks[-1]["name"]


def test_labels_loaded_before_a_task_was_deleted_stay(cvat, labelled):
    unseen.load_annotations(labelled)
    cvat.delete_task(min(cvat.tasks))
    unseen.load_annotations(labelled, anno_key="unseen_batch_01")
    assert labels(labelled) == EVERYTHING


def test_a_deleted_project_takes_its_tasks_along_and_no_label(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, task_size=2, project="wafers", suggestions=False)
    worker = cvat.annotator(min(cvat.jobs))
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    cvat.delete_project(min(cvat.projects))
    result = unseen.load_annotations(dataset)
    assert labels(dataset) == [["particle"], [], None, None]
    assert len(result.gone) == 2


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_load_that_is_killed_while_it_writes_is_finished_by_the_next(
    cvat, labelled, monkeypatch, written
):
    import fiftyone as fo

    clean = labelled.clone()
    try:
        unseen.load_annotations(clean)
        expected = labels(clean)
    finally:
        clean.delete()
    original = fo.Dataset._bulk_write

    def killed(self, ops, **kwargs):
        original(self, ops[:written], **{**kwargs, "ids": kwargs["ids"][:written]})
        raise KeyboardInterrupt

    monkeypatch.setattr(fo.Dataset, "_bulk_write", killed)
    with pytest.raises(KeyboardInterrupt):
        unseen.load_annotations(labelled)
    monkeypatch.setattr(fo.Dataset, "_bulk_write", original)
    labelled.reload()
    assert labels(labelled) == [["particle"]] * written + [None] * (6 - written)
    unseen.load_annotations(labelled)
    assert labels(labelled) == expected == EVERYTHING
    found = labelled.match_tags("batch_01").values("ground_truth.detections.id", unwind=True)
    assert len(found) == len(set(found)) == 6


def test_loading_never_asks_on_the_terminal(cvat, labelled, monkeypatch):
    def asked(*args, **kwargs):
        raise AssertionError("the terminal was asked")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr("getpass.getpass", asked)
    monkeypatch.delenv("FIFTYONE_CVAT_PASSWORD")
    with pytest.raises(unseen.UnseenError, match=re.escape("FIFTYONE_CVAT_PASSWORD")):
        unseen.load_annotations(labelled)
    assert labels(labelled) == [None] * 6


def test_a_server_that_is_gone_does_not_stop_what_another_one_has(
    cvat, labelled, monkeypatch, quick
):
    from dataclasses import replace

    from unseen.dataset import sendings
    from unseen.dataset.fields import Names

    old = sendings.read_sending(labelled, Names(), "unseen_batch_01")
    gone = replace(old, anno_key="unseen_old", url="http://127.0.0.1:9", closed=True)
    sendings.write_sending(labelled, Names(), gone)
    result = unseen.load_annotations(labelled)
    assert labels(labelled) == EVERYTHING
    assert any("unseen_old was not looked at again" in note for note in result.notes)
