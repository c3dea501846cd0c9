"""Whatever goes wrong while sending: every image arrives once, and nothing half-made stays."""

from __future__ import annotations

import time
from collections import defaultdict
from threading import get_ident

import pytest
from cvat_replay import Client
from cvat_traces import frames_of, ranked, ranked_names, state_of

import unseen
from unseen.annotation import sendings
from unseen.annotation.cvat import send
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, Cancelled, ServerError

pytestmark = pytest.mark.fiftyone

#: Every kind of request while a task is made.
CREATE, DATA, STATUS, META = "/api/tasks$", "/data$", "/status$|/api/requests/", "/data/meta"
SHAPES, JOBS, LABELS, GUIDE = "/annotations$", r"/api/jobs\?", "/api/labels", "/api/guides"
STEPS = [
    ("POST", CREATE),
    ("POST", DATA),
    ("GET", STATUS),
    ("GET", JOBS),
    ("GET", META),
    ("GET", LABELS),
    ("PUT", SHAPES),
    ("PATCH", "/api/tasks/"),
    ("PATCH", "/api/jobs/"),
    ("POST", GUIDE),
]


def arrived(cvat, dataset) -> None:
    """Every image of the batch is on the server once, in order, with its two suggestions."""
    names = ranked_names(dataset)
    assert frames_of(cvat) == names
    assert sum(len(t.shapes) for t in cvat.tasks.values()) == 2 * len(names)
    assert len({t.name.rpartition("[")[2] for t in cvat.tasks.values()}) == 1
    record = sendings.read_sending(Loop(dataset, Names()), "unseen_batch_01")
    assert sorted(t.task_id for t in record.live_tasks) == sorted(cvat.tasks)
    assert record.complete


def ranks(cvat) -> list[str]:
    return [t.name.split(" ")[2] for _, t in sorted(cvat.tasks.items())]


@pytest.fixture
def people(cvat):
    cvat.add_user("ann")
    return {"assignees": ("ann",), "task_assignee": "ann"}


@pytest.fixture
def half_sent(cvat, batch):
    """A factory: a batch of four of which the first task of two was sent before a failure."""

    def send(**settings):
        dataset = batch(4)
        cvat.fail("POST", DATA, status=413, skip=1, times=9)
        with pytest.raises(ServerError):
            unseen.request_annotations(dataset, task_size=2, **settings)
        cvat.clear_faults()
        return dataset

    return send


# faults that pass by themselves


@pytest.mark.parametrize("how", ["before", "during", "after"])
def test_a_connection_that_is_cut_at_any_request_is_made_good(cvat, batch, people, how):
    dataset = batch(2)
    for method, path in [*STEPS, ("POST", "/api/projects")]:
        if how != "during" or method != "GET":  # a GET has no body to break off
            cvat.fail(method, path, drop=how)
    unseen.request_annotations(dataset, project="wafers", **people)
    assert not cvat._faults
    assert len(cvat.tasks) == 1  # no double of one whose creation was never answered
    assert [p.name for p in cvat.projects.values()] == ["wafers"]
    arrived(cvat, dataset)


def test_a_task_that_appears_after_its_request_was_given_up_is_removed(
    cvat, batch, quick, monkeypatch
):
    monkeypatch.setattr(quick, "read", 0.3)
    dataset = batch(2)
    cvat.fail("POST", CREATE, hang=0.6)
    cvat.fail("POST", DATA, hang=0.7)
    unseen.request_annotations(dataset)
    assert len([r for r in cvat.requests if (r.method, r.path) == ("POST", "/api/tasks")]) == 2
    arrived(cvat, dataset)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_passing_errors_at_any_request_are_made_good(cvat, batch, people, status):
    dataset = batch(2)
    for method, path in STEPS[:7]:
        cvat.fail(method, path, status=status)
    unseen.request_annotations(dataset, **people)
    arrived(cvat, dataset)


def test_the_pause_that_a_server_asks_for_is_kept_and_capped(cvat, batch, quick, monkeypatch):
    dataset = batch(2)
    pauses, sleep = defaultdict(list), time.sleep  # by thread: FiftyOne's have their own
    monkeypatch.setattr(time, "sleep", lambda s: pauses[get_ident()].append(s) or sleep(s))
    for method, path, status, asked in [
        ("POST", CREATE, 429, 3600),
        ("POST", DATA, 429, 3600),
        ("GET", META, 503, 3600),
        ("PUT", SHAPES, 503, "soon"),  # no number, and counts as nothing
    ]:
        cvat.fail(method, path, status=status, retry_after=asked)
    unseen.request_annotations(dataset)
    ours = pauses[get_ident()]
    assert max(ours) == quick.longest_pause
    assert ours.count(quick.longest_pause) == 3
    arrived(cvat, dataset)


def test_a_login_that_expires_is_renewed_without_losing_anything(cvat, batch, expiring):
    dataset = batch(4)
    unseen.request_annotations(dataset, task_size=2)
    assert sum(r.path == "/api/auth/login" for r in cvat.requests) > 3
    arrived(cvat, dataset)


def test_a_restart_of_the_server_is_sat_out(cvat, batch, quick, monkeypatch):
    monkeypatch.setattr(quick, "retries", 8)
    monkeypatch.setattr(quick, "backoff", 0.02)
    dataset = batch(4)

    def progress(done, total, label):
        if label == "send images" and done == 2 and len(cvat.tasks) == 1:
            cvat.restart(down=0.4)

    unseen.request_annotations(dataset, task_size=2, progress=progress)
    arrived(cvat, dataset)


# faults that stay


def test_a_server_that_fails_for_good_leaves_nothing(cvat, batch):
    dataset = batch(2)
    before = state_of(dataset)
    message = r"500 .*Server Error.*Nothing was sent; .* is removed"
    for method, path in STEPS[:7]:
        cvat.fail(method, path, status=500, times=1000)
        with pytest.raises(ServerError, match=message):
            unseen.request_annotations(dataset)
        cvat.clear_faults()
        assert (cvat.tasks, state_of(dataset)) == ({}, before), path
    unseen.request_annotations(dataset)
    arrived(cvat, dataset)


@pytest.mark.parametrize(
    ("fault", "match", "uploads"),
    [
        ({"status": 413}, r"answered 413 .*lower task_size", 1),
        ({"drop": "during"}, r"cannot be reached .*lower task_size", send.ATTEMPTS),
    ],
    ids=["too large", "always cut"],
)
def test_an_upload_that_is_refused_or_always_cut_points_to_the_size(
    cvat, batch, fault, match, uploads
):
    dataset = batch(2)
    before = state_of(dataset)
    cvat.fail("POST", DATA, times=5, **fault)
    with pytest.raises(ServerError, match=match):
        unseen.request_annotations(dataset)
    assert sum(r.path.endswith("/data") for r in cvat.requests) == uploads
    assert (cvat.tasks, state_of(dataset)) == ({}, before)


@pytest.mark.parametrize(("method", "path"), [("POST", CREATE), ("POST", DATA), ("GET", META)])
def test_a_server_that_hangs_ends_in_an_error(cvat, batch, quick, monkeypatch, method, path):
    for limits, name, value in [(quick, "read", 0.1), (quick, "cuts", 1), (send, "ATTEMPTS", 2)]:
        monkeypatch.setattr(limits, name, value)
    cvat.fail(method, path, hang=1.5, times=100)
    with pytest.raises(ServerError, match=f"did not answer {method} .* in time"):
        unseen.request_annotations(batch(1))


def test_a_guide_that_is_refused_is_no_reason_to_fail(cvat, batch, caplog):
    dataset = batch(2)
    cvat.fail("POST", GUIDE, status=404)
    unseen.request_annotations(dataset)
    arrived(cvat, dataset)
    assert "the task guide was not accepted" in caplog.text


def test_a_server_that_is_gone_in_the_middle_leaves_a_record_by_which_the_next_run_tidies_up(
    cvat, batch, quick, monkeypatch
):
    monkeypatch.setattr(quick, "retries", 1)
    dataset = batch(2)
    cvat.fail("POST", CREATE, drop="after")
    note = cvat.note

    def cut_the_rest(request):
        """From the creation of the task on, every connection is cut."""
        hit = note(request)
        if hit is not None and not cvat._faults:
            cvat.fail("*", ".", drop="before", times=10_000)
        return hit

    monkeypatch.setattr(cvat, "note", cut_the_rest)
    with pytest.raises(ServerError, match="could not be removed yet; the next run does so"):
        unseen.request_annotations(dataset)
    assert list(cvat.tasks) == [1]
    cvat.clear_faults()
    unseen.request_annotations(dataset)
    assert 1 not in cvat.tasks
    arrived(cvat, dataset)


# in the middle of a batch


def test_a_failure_at_task_3_of_5_keeps_two_and_the_next_run_sends_the_other_three(cvat, batch):
    dataset = batch(10)
    cvat.fail("POST", DATA, status=413, skip=2, times=99)
    with pytest.raises(ServerError) as error:
        unseen.request_annotations(dataset, task_size=2)
    for part in (
        "2 tasks are with the annotators and stay",
        "unseen_batch_01 1-2 [",
        "unseen_batch_01 3-4 [",
        "4 of 10 images were sent",
    ):
        assert part in str(error.value)
    assert ranks(cvat) == ["1-2", "3-4"]
    assert ranked(dataset).values("unseen_annotation") == ["sent"] * 4 + [None] * 6
    kept = set(cvat.tasks)
    cvat.clear_faults()
    result = unseen.request_annotations(dataset, task_size=2)
    assert (result.sent, result.images, result.complete) == (6, 10, True)
    assert kept < set(cvat.tasks)
    assert ranks(cvat) == ["1-2", "3-4", "5-6", "7-8", "9-10"]
    arrived(cvat, dataset)


@pytest.mark.parametrize(
    ("stop", "share"), [(KeyboardInterrupt, 0.1), (Cancelled, 1.75), (KeyboardInterrupt, 2.85)]
)
def test_a_stop_in_the_middle_of_a_task_removes_it(cvat, batch, stop, share):
    dataset = batch(4)
    before = state_of(dataset)

    def progress(done, total, label):
        if label == "send images" and done >= share:
            raise stop

    with pytest.raises(stop):
        unseen.request_annotations(dataset, task_size=2, progress=progress)
    if share < 2:
        assert (cvat.tasks, state_of(dataset)) == ({}, before)
    else:
        assert ranks(cvat) == ["1-2"]
    unseen.request_annotations(dataset, task_size=2)
    arrived(cvat, dataset)


@pytest.mark.parametrize("part", ["truth.write", "sendings.write_task"])
def test_what_a_killed_run_left_is_removed_by_the_next_by_its_token(cvat, batch, monkeypatch, part):
    dataset = batch(4)
    write_down = send._record_task

    def killed(*arguments):
        if arguments[2].task.first_rank == 3:
            with monkeypatch.context() as patch:
                patch.setattr(f"unseen.annotation.cvat.send.{part}", lambda *a: 1 / 0)
                write_down(*arguments)
        write_down(*arguments)

    monkeypatch.setattr(send, "_record_task", killed)
    with pytest.raises(ZeroDivisionError):
        unseen.request_annotations(dataset, task_size=2)
    assert ranks(cvat) == ["1-2", "3-4"]
    monkeypatch.setattr(send, "_record_task", write_down)
    result = unseen.request_annotations(dataset, task_size=2)
    assert result.sent == 2
    assert sorted(cvat.tasks) == [1, 3]
    arrived(cvat, dataset)
    results = dataset.load_annotation_results("unseen_batch_01")
    assert results.task_ids == [1, 3]
    assert set(map(tuple, results.labels_task_map.values())) == {(1, 3)}


@pytest.mark.parametrize("killed", ["_register", "_prepare_project", "Sender"])
def test_a_run_that_is_killed_before_its_first_task_goes_on(cvat, batch, monkeypatch, killed):
    dataset = batch(2)
    with monkeypatch.context() as patch:
        patch.setattr(send, killed, lambda *a: 1 / 0)
        patch.setattr("unseen.annotation.sendings.delete_sending", lambda *a: None)
        with pytest.raises(ZeroDivisionError):
            unseen.request_annotations(dataset, project="wafers")
    unseen.request_annotations(dataset)
    assert [p.name for p in cvat.projects.values()] == ["wafers"]
    arrived(cvat, dataset)


def test_a_killed_runs_task_that_people_work_on_is_kept_and_named(cvat, batch, monkeypatch):
    dataset = batch(2)
    with monkeypatch.context() as patch:
        patch.setattr(send, "_record_task", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            unseen.request_annotations(dataset)
    person = cvat.annotator(1)
    person.draw(0, "particle", [1, 1, 9, 9])
    person.set(state="in progress")
    for _ in range(2):
        named = r"CVAT task 1 .*begun to work on it.*delete .*rename"
        with pytest.raises(AnnotationError, match=named):
            unseen.request_annotations(dataset)
        assert list(cvat.tasks) == [1]
    Client(cvat).call("PATCH", "/api/tasks/1", json={"name": "kept"})
    unseen.request_annotations(dataset)
    assert sorted(cvat.tasks) == [1, 2]


# what people do on the server between two runs


def test_a_renamed_task_is_still_ours_and_a_restored_backup_is_left_alone(cvat, half_sent):
    dataset = half_sent()
    client = Client(cvat)
    copy = client.task(name=cvat.tasks[1].name)
    client.upload(copy, frames_of(cvat)[:2])
    client.call("PATCH", "/api/tasks/1", json={"name": "for Ann"})
    assert unseen.request_annotations(dataset, task_size=2).sent == 2
    assert copy in cvat.tasks
    cvat.delete_task(copy)
    assert frames_of(cvat) == ranked_names(dataset)


def test_a_task_that_was_deleted_is_sent_again_under_its_own_ranks(cvat, batch):
    dataset = batch(6)
    unseen.request_annotations(dataset, task_size=2)
    cvat.delete_task(1)
    cvat.delete_task(3)
    result = unseen.request_annotations(dataset, task_size=6)
    assert (result.sent, result.images, result.complete) == (4, 6, True)
    assert ranks(cvat) == ["3-4", "1-2", "5-6"]
    assert sorted(frames_of(cvat)) == sorted(ranked_names(dataset))
    assert dataset.load_annotation_results("unseen_batch_01").task_ids == sorted(cvat.tasks)


def test_images_that_came_back_are_not_sent_again_when_their_task_is_deleted(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, task_size=2)
    cvat.annotator(1).set(state="completed")
    unseen.load_annotations(dataset)
    cvat.delete_task(1)
    cvat.delete_task(2)
    assert unseen.request_annotations(dataset).sent == 2
    assert frames_of(cvat) == ranked_names(dataset)[2:]


def test_a_project_that_was_renamed_is_still_the_one_and_one_deleted_is_made_anew(cvat, half_sent):
    dataset = half_sent(project="wafers")
    cvat.projects[1].name = "old wafers"
    unseen.request_annotations(dataset, task_size=2)
    assert list(cvat.projects) == [1]
    arrived(cvat, dataset)
    cvat.delete_project(1)
    assert unseen.request_annotations(dataset, task_size=2).sent == 4
    assert [(p.id, p.name) for p in cvat.projects.values()] == [(2, "wafers")]
    assert {t.project.id for t in cvat.tasks.values()} == {2}
    arrived(cvat, dataset)


def test_a_project_of_ours_goes_with_its_failure_and_one_of_others_stays(cvat, batch):
    dataset = batch(2)
    cvat.fail("POST", DATA, status=413, times=9)
    with pytest.raises(ServerError):
        unseen.request_annotations(dataset, project="wafers")
    assert cvat.projects == {}
    labels = [{"name": n, "attributes": []} for n in ("particle", "scratch", "unseen")]
    Client(cvat).call("POST", "/api/projects", json={"name": "wafers", "labels": labels})
    with pytest.raises(ServerError):
        unseen.request_annotations(dataset, project="wafers")
    assert [p.name for p in cvat.projects.values()] == ["wafers"]
