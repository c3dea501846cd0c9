"""One turn of the loop, run again and again as a person or cron would."""

from __future__ import annotations

import hmac
import time

import pytest
from starlette.testclient import TestClient

import unseen
from unseen.annotation import sendings
from unseen.cli.serve import Runner, application
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

TURN = {"budget": 2}


@pytest.fixture
def turn(monkeypatch, tmp_path):
    """`next_iteration` with training as short as it can be."""
    from unseen.steps.next_iteration import run as module

    real = {"train_unet": module.train_unet, "train_detector": module.train_detector}

    def short(name, **fixed):
        def run(collection, **settings):
            return real[name](collection, **{**settings, **fixed})

        run.__name__ = name
        monkeypatch.setattr(module, name, run)

    short("train_unet", steps=2, batch_size=2, crop_size=32, channels=(4, 8))
    short("train_detector", architecture="small", steps=1, batch_size=1, image_size=64)

    def go(dataset, **settings):
        return unseen.next_iteration(dataset, model_dir=str(tmp_path), **{**TURN, **settings})

    return go


def finish(cvat, task_id, label="particle"):
    """Somebody draws one box in each image of a task and hands its jobs back."""
    for job_id, job in list(cvat.jobs.items()):
        if job.task.id == task_id:
            worker = cvat.annotator(job_id)
            for frame in range(job.start_frame, job.stop_frame + 1):
                worker.draw(frame, label, [8, 16, 24, 40])
            worker.set(state="completed")


def ran(result):
    return list(result.steps)


def test_without_labels_it_says_what_to_do_first(turn, make_wafers):
    dataset = make_wafers(6, labelled=0, test=0)
    result = turn(dataset)
    assert ran(result) == []
    assert "split the dataset and label its initial images" in result.waits_for


def test_the_loop_closes_itself(turn, cvat, make_wafers):
    dataset = make_wafers(9, labelled=0, test=3)
    unseen.split_dataset(dataset, initial=3)
    classes = ("particle", "scratch")
    unseen.request_annotations(dataset, images="initial", classes=classes, segment_size=1)
    waiting = turn(dataset)
    assert ran(waiting) == ["load_annotations"]
    assert "3 of 3 images of initial are still with the annotators" in waiting.waits_for

    finish(cvat, 1)
    first = turn(dataset, send=True)
    assert first.waits_for is None
    assert first.sent
    assert ran(first) == [
        "load_annotations",
        "train_unet",
        "score_samples",
        "select_batch",
        "request_annotations",
        "train_detector",
        "apply_detector",
        "evaluate_detector",
    ]
    # Sent the way the last one was: the same classes and jobs.
    assert [label.name for label in cvat.tasks[2].labels] == [*classes, "unseen"]
    assert len([j for j in cvat.jobs.values() if j.task.id == 2]) == 2

    again = turn(dataset, send=True)
    assert ran(again) == ["load_annotations"]
    assert "2 of 2 images of batch_01 are still with the annotators" in again.waits_for

    finish(cvat, 2, "scratch")
    second = turn(dataset, detector=False)
    assert second.batch == "batch_02"
    assert not second.sent
    assert "train_detector" not in second.steps
    record = dataset.get_run_info("unseen_iter_01").config.serialize()
    assert record["class_counts"] == {"particle": 3, "scratch": 2}


def test_part_of_a_batch_is_enough_where_that_is_asked_for(turn, cvat, make_wafers):
    dataset = make_wafers(8, labelled=4, test=2)
    unseen.split_dataset(dataset, initial=4)
    unseen.select_batch(dataset, budget=2, strategy="random")
    unseen.request_annotations(dataset, segment_size=1, suggestions=False)
    worker = cvat.annotator(min(cvat.jobs))
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    assert "1 of 2 images of batch_01" in turn(dataset, detector=False).waits_for
    result = turn(dataset, detector=False, min_loaded=0.5)
    assert result.batch == "batch_02"
    out = set(dataset.match_tags("batch_01").values("id"))
    assert not out & set(dataset.match_tags("batch_02").values("id"))


def test_what_is_done_for_these_labels_is_not_done_again(turn, make_wafers, monkeypatch):
    from unseen.errors import UnseenError
    from unseen.steps.next_iteration import run as module

    dataset = make_wafers(8, labelled=4, test=2)
    unseen.split_dataset(dataset, initial=4)
    select = module.select_batch

    def broken(*args, **kwargs):
        raise UnseenError("no selection today")

    monkeypatch.setattr(module, "select_batch", broken)
    with pytest.raises(UnseenError, match="no selection today"):
        turn(dataset)
    monkeypatch.setattr(module, "select_batch", select)
    assert "train_unet" not in turn(dataset).steps  # trained before the failure
    dataset.clear_sample_field("unseen_rank")
    dataset.untag_samples("batch_01")
    sample = dataset.match_tags("initial").first()
    sample.ground_truth.detections[0].label = "scratch"
    sample.save()
    assert "train_unet" in turn(dataset).steps  # other labels


def test_a_batch_that_was_not_sent_is_named(turn, make_wafers):
    dataset = make_wafers(8, labelled=4, test=0)
    unseen.split_dataset(dataset, initial=4, test_count=0)
    unseen.select_batch(dataset, budget=2, strategy="random")
    result = turn(dataset)
    assert "batch_01" in result.waits_for
    assert "Send it with request_annotations" in result.waits_for


def test_an_empty_pool_ends_the_loop_without_an_error(turn, make_wafers):
    dataset = make_wafers(4, labelled=4, test=2)
    unseen.split_dataset(dataset, initial=4)
    result = turn(dataset)
    assert result.waits_for is None
    assert any("pool is empty" in line for line in result.done)
    assert "evaluate_detector" in result.steps


def test_a_budget_beyond_the_pool_takes_what_is_left(turn, make_wafers):
    dataset = make_wafers(5, labelled=4, test=0)
    unseen.split_dataset(dataset, initial=4, test_count=0)
    result = turn(dataset, budget=10)
    assert len(dataset.match_tags(result.batch)) == 1
    assert any("No detector" in line for line in result.done)
    assert sendings.read_sendings(Loop(dataset, Names())) == []


def test_removed_and_excluded_images_are_not_waited_for(turn, make_wafers):
    dataset = make_wafers(10, labelled=4, test=0)
    unseen.split_dataset(dataset, initial=4, test_count=0)
    unseen.select_batch(dataset, budget=3, strategy="random")
    unseen.request_annotations(dataset, backend="app", classes=("particle", "scratch"))
    first, second, third = dataset.match_tags("batch_01")
    waiting = turn(dataset, detector=False)
    assert "3 of 3 images of batch_01" in waiting.waits_for
    first["unseen_annotation"] = "removed"
    second.tags.append("excluded")
    third["ground_truth"] = third.hidden_truth
    for sample in (first, second, third):
        sample.save()
    assert turn(dataset, detector=False).batch == "batch_02"
    dataset.match_tags("batch_02").set_values("unseen_annotation", ["removed"] * 2)
    result = turn(dataset, detector=False)
    assert any("Every image of batch_02 was removed or excluded" in line for line in result.done)
    assert result.batch == "batch_02"
    assert set(dataset.match_tags("batch_02").values("unseen_annotation")) == {None}


def test_a_share_is_not_missed_by_rounding(turn, make_wafers):
    dataset = make_wafers(108, labelled=0, test=0)
    unseen.split_dataset(dataset, initial=100, test_count=0)
    for sample in dataset.match_tags("initial").limit(7):
        sample["ground_truth"] = sample.hidden_truth
        sample.save()
    assert 0.07 * 100 > 7
    assert turn(dataset, detector=False, min_loaded=0.08).waits_for
    assert turn(dataset, detector=False, min_loaded=0.07).waits_for is None


def test_the_detector_is_finished_while_people_label(turn, cvat, make_wafers, monkeypatch):

    dataset = make_wafers(7, labelled=4, test=2)
    unseen.split_dataset(dataset, initial=4)
    unseen.request_annotations(dataset, images="test", suggestions=False, task_size=1)
    for job_id in cvat.jobs:
        cvat.annotator(job_id).set(state="completed")
    cvat.fail("POST", "/api/tasks", status=400, times=99)
    with pytest.raises(unseen.UnseenError, match="400"):
        turn(dataset, send=True)
    record = dataset.get_run_info("unseen_iter_00").config.serialize()
    assert "evaluate_detector" in record["steps"]  # although nothing could be sent
    cvat.clear_faults()

    finished = record["steps"]["next_iteration"]["finished"]
    config = dataset.get_run_info("unseen_iter_00").config
    config.steps["next_iteration"]["finished"] = [f for f in finished if "detector" not in f]
    dataset.update_run_config("unseen_iter_00", config)  # as if it had been cut short
    late = turn(dataset, send=True)
    assert late.sent
    assert [s for s in late.steps if "detector" in s] == [
        "train_detector",
        "apply_detector",
        "evaluate_detector",
    ]
    assert not [s for s in turn(dataset).steps if "detector" in s]


def test_a_batch_is_sent_like_the_last_batch_and_not_like_the_test_split(turn, cvat, make_wafers):
    dataset = make_wafers(8, labelled=4, test=2)
    unseen.split_dataset(dataset, initial=4)
    unseen.select_batch(dataset, budget=2, strategy="random")
    unseen.request_annotations(dataset, segment_size=1)
    unseen.request_annotations(dataset, images="test", suggestions=False, task_size=1)
    for task_id in list(cvat.tasks):
        finish(cvat, task_id)
    assert turn(dataset, send=True, detector=False).sent
    newest = max(cvat.tasks)
    assert len([j for j in cvat.jobs.values() if j.task.id == newest]) == 2
    assert "unseen" in [label.name for label in cvat.tasks[newest].labels]


def test_a_finished_job_brings_the_next_batch_by_itself(turn, cvat, make_wafers):
    """The service, its address for webhooks and CVAT; only the browser of the annotator is missing."""
    dataset = make_wafers(9, labelled=0, test=0)
    unseen.split_dataset(dataset, initial=3, test_share=0)
    classes = ("particle", "scratch")
    unseen.request_annotations(dataset, images="initial", classes=classes, segment_size=1)
    secret = "a secret of sixteen letters"
    runner = Runner(lambda progress: turn(dataset, send=True, progress=progress), poll=1000)
    client = TestClient(application(runner, secret))
    runner.start()
    try:
        wait_for(lambda: runner.state()["turns"] == 1)
        assert "still with the annotators" in client.get("/health").json()["last"]["waits_for"]
        finish(cvat, 1)
        body = b'{"event": "update:job", "job": {"id": 3, "state": "completed"}}'
        signature = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"X-Signature-256": signature}
        assert client.post("/webhook", content=body, headers=headers).status_code == 202
        wait_for(lambda: runner.state()["turns"] == 2)
        state = client.get("/health").json()
        assert (state["status"], state["last"]["batch"], state["last"]["sent"]) == (
            "ok",
            "batch_01",
            True,
        )
        assert len(cvat.tasks) == 2
    finally:
        runner.stop()
    assert Loop(dataset).iteration() == 0  # and batch_01 waits for its labels


def wait_for(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited for a minute")
