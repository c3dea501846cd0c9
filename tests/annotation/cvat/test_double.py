"""The double of CVAT against recordings of real ones, FiftyOne's own calls, and its faults."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from cvat_double import NEW, CvatDouble
from cvat_replay import RECORDED, Client, jpeg, replay

TASK = {"name": "t", "labels": [{"name": "cat"}]}


@pytest.fixture
def cvat() -> Iterator[CvatDouble]:
    with CvatDouble() as double:
        yield double


@pytest.mark.parametrize(
    ("version", "scenario"),
    [
        pytest.param(version, scenario, id=f"{version} {scenario['scenario']}")
        for version, recorded in RECORDED.items()
        for scenario in recorded["scenarios"]
    ],
)
def test_what_was_recorded_is_answered_alike(version, scenario):
    with CvatDouble(version) as cvat:
        replay(cvat, scenario, RECORDED[version])


def test_a_session_writes_with_its_csrf_token_only(cvat, client):
    assert client.session.cookies.keys() == ["csrftoken", "sessionid"]
    del client.headers["X-CSRFToken"]
    answer = client.call("POST", "/api/tasks", json=TASK)
    assert (answer.status_code, answer.json()) == (
        403,
        {"detail": "CSRF Failed: CSRF token missing."},
    )


# FiftyOne itself


@pytest.fixture
def wafers(make_wafers):
    """Six samples with boxes, in an order that is not the one of their names."""
    dataset = make_wafers(6, labelled=6, test=0)
    return dataset.select(dataset.values("id")[::-1], ordered=True)


def send(cvat: CvatDouble, view, **more) -> int:
    """Send a view through FiftyOne itself; the id of the (first) task."""
    view.annotate(
        "round1",
        backend="cvat",
        label_field="ground_truth",
        classes=["particle", "scratch"],
        url=cvat.url,
        username=cvat.username,
        password=cvat.password,
        **more,
    )
    return min(cvat.tasks)


@pytest.mark.fiftyone
def test_fiftyone_sends_images_and_boxes_in_its_order(cvat, wafers):
    task = cvat.tasks[send(cvat, wafers)]
    paths = [Path(p) for p in wafers.values("filepath")]
    assert [frame.name for frame in task.frames] == [path.name for path in paths]
    sent = Counter(shape["frame"] for shape in task.shapes)
    assert [sent[i] for i in range(6)] == [len(s.ground_truth.detections) for s in wafers]
    upload = next(r for r in cvat.requests if r.files)
    assert [size for _, _, size in upload.files] == [path.stat().st_size for path in paths]


@pytest.mark.fiftyone
def test_edits_come_back_through_fiftyone(cvat, wafers):
    task = cvat.tasks[send(cvat, wafers, segment_size=4, job_assignees=["nobody"])]
    before = {s.id: {d.id for d in s.ground_truth.detections} for s in wafers}
    first, second, third, *_ = wafers.values("id")
    person = cvat.annotator(min(cvat.jobs))
    moved, renamed = person.shapes(frame=0)[0], person.shapes(frame=1)[0]
    person.move(moved["id"], [6.4, 12.8, 32, 64])
    person.relabel(renamed["id"], "scratch")
    for shape in person.shapes(frame=2):
        person.delete(shape["id"])
    person.draw(2, "particle", [0, 0, 16, 32])
    person.set(state="completed", stage="acceptance")
    assert task.status == "annotation"  # the other job is not done
    dataset = wafers._dataset
    dataset.load_annotations("round1", unexpected="ignore")
    boxes = {d.id: d.bounding_box for d in dataset[first].ground_truth.detections}
    assert boxes[moved["values"]["label_id"]] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    labels = {d.id: d.label for d in dataset[second].ground_truth.detections}
    assert labels[renamed["values"]["label_id"]] == "scratch"
    assert labels.keys() == before[second]
    (drawn,) = dataset[third].ground_truth.detections
    assert drawn.id not in before[third]
    assert drawn.bounding_box == pytest.approx([0, 0, 0.25, 0.5])


@pytest.mark.fiftyone
@pytest.mark.parametrize(("version", "tls"), [("2.15.0", True), (NEW, False)])
def test_fiftyone_waits_for_late_jobs_and_cleans_up(version, tls, wafers):
    with CvatDouble(version, tls) as cvat:
        cvat.job_delay = 1
        cvat.add_organization("fab", members=[cvat.username])
        task = cvat.tasks[send(cvat, wafers, project_name="wafers", organization="fab")]
        assert [project.name for project in cvat.projects.values()] == ["wafers"]
        assert (task.project, task.organization) == (cvat.projects[1], 1)
        wafers._dataset.load_annotations("round1", unexpected="ignore", cleanup=True)
        assert cvat.tasks == {}


# what goes wrong


@pytest.fixture
def client(cvat) -> Client:
    return Client(cvat)


def test_faults_process_nothing_skip_repeat_and_queue(cvat, client):
    cvat.fail("POST", "/api/tasks$", status=413, retry_after=3)
    answer = client.call("POST", "/api/tasks", json=TASK)
    assert (answer.status_code, answer.headers["Retry-After"]) == (413, "3")
    assert answer.headers["content-type"].startswith("text/html")
    assert cvat.tasks == {}
    assert client.call("POST", "/api/tasks", json=TASK).status_code == 201
    cvat.fail("GET", "/api/tasks", status=503, skip=1, times=2)
    cvat.fail("*", "/api/", status=429)
    statuses = [client.call("GET", "/api/tasks").status_code for _ in range(5)]
    assert statuses == [429, 503, 503, 200, 200]


def test_a_cut_during_an_upload_leaves_no_data_and_a_retry_works(cvat, client):
    task_id = client.task()
    cvat.fail("POST", "/data", drop="during")
    with pytest.raises(requests.ConnectionError):
        client.upload(task_id, [f"{i}.jpg" for i in range(300)])
    assert not cvat.tasks[task_id].has_data
    cut = cvat.requests[-1]
    assert 300 * len(jpeg()) / 2 < cut.received < 300 * len(jpeg())
    assert (cut.status, cut.files) == (None, [])
    assert client.upload(task_id).status_code == 202


def test_a_cut_works_over_tls_too():
    with CvatDouble(tls=True) as cvat:
        client = Client(cvat)
        for drop in ("before", "during", "after"):
            cvat.fail("POST", "/api/tasks", drop=drop)
            with pytest.raises(requests.ConnectionError):
                client.call("POST", "/api/tasks", json=TASK)
        assert len(cvat.tasks) == 1


def test_a_hanging_request_does_not_hold_up_others_or_the_end(cvat, client):
    cvat.fail("GET", "/api/users", hang=60)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(requests.get, cvat.url + "/api/users", timeout=30)
        while not any(request.path == "/api/users" for request in cvat.requests):
            time.sleep(0.01)
        assert client.call("GET", "/api/tasks").status_code == 200
        cvat.restart()
        assert isinstance(hanging.exception(), requests.ConnectionError)  # not its own time limit


def test_frames_keep_the_sent_order_only_where_it_is_asked_for(cvat, client):
    names = ["b.jpg", "a.jpg", "c.jpg"]
    for sorting, expected in (("predefined", names), ("lexicographical", sorted(names))):
        task_id = client.task()
        client.upload(task_id, names, sorting_method=sorting)
        meta = client.call("GET", f"/api/tasks/{task_id}/data/meta").json()
        assert [frame["name"] for frame in meta["frames"]] == expected


def test_records_hold_no_secrets(cvat, client):
    client.upload(client.task())
    seen = "\n".join(repr(request) for request in cvat.requests)
    assert cvat.password not in seen
    for session, (_, token) in cvat.state.sessions.items():
        assert session not in seen
        assert token not in seen
