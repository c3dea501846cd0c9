"""Each fault of the double of CVAT does what it says, no more."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from cvat_double import CvatDouble
from cvat_replay import Client, jpeg

TASK = {"name": "t", "labels": [{"name": "cat"}]}


@pytest.fixture
def cvat() -> Iterator[CvatDouble]:
    with CvatDouble() as double:
        yield double


@pytest.fixture
def client(cvat) -> Client:
    return Client(cvat)


@pytest.mark.parametrize("status", [413, 429, 500, 502, 503])
def test_a_status_is_answered_once_and_nothing_is_processed(cvat, client, status):
    cvat.fail("POST", "/api/tasks$", status=status, retry_after=3)
    answer = client.call("POST", "/api/tasks", json=TASK)
    assert answer.status_code == status
    assert answer.headers["Retry-After"] == "3"
    assert answer.headers["content-type"].startswith("text/html")
    assert cvat.tasks == {}
    assert client.call("POST", "/api/tasks", json=TASK).status_code == 201


def test_faults_skip_repeat_and_queue(cvat, client):
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
    start = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(requests.get, cvat.url + "/api/users", timeout=30)
        while not any(request.path == "/api/users" for request in cvat.requests):
            time.sleep(0.01)
        assert client.call("GET", "/api/tasks").status_code == 200
        cvat.restart()
        assert isinstance(hanging.exception(), requests.ConnectionError)
    assert time.monotonic() - start < 5


def test_a_restart_refuses_connections_for_a_while_and_keeps_sessions(cvat, client):
    client.task()
    cvat.restart(down=0.3)
    with pytest.raises(requests.ConnectionError, match="refused"):
        client.call("GET", "/api/tasks")
    for _ in range(50):
        with contextlib.suppress(requests.ConnectionError):
            assert client.call("GET", "/api/tasks").json()["count"] == 1
            break
        time.sleep(0.05)
    else:
        pytest.fail("the double did not come back")


# how uploads go


def test_frames_keep_the_sent_order_only_where_it_is_asked_for(cvat, client):
    names = ["b.jpg", "a.jpg", "c.jpg"]
    for sorting, expected in (("predefined", names), ("lexicographical", sorted(names))):
        task_id = client.task()
        client.upload(task_id, names, sorting_method=sorting)
        meta = client.call("GET", f"/api/tasks/{task_id}/data/meta").json()
        assert [frame["name"] for frame in meta["frames"]] == expected


def test_an_upload_costs_no_memory(cvat, client):
    """600 files of 200 kB in one request; the client streams them, the double keeps none."""
    image = jpeg() + b"\0" * 200_000
    edge = "an-edge"
    head = '--{}\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'

    def body() -> Iterator[bytes]:
        for name, value in (("image_quality", "75"), ("sorting_method", "predefined")):
            yield (head.format(edge, name, "") + value + "\r\n").encode()
        for i in range(600):
            yield head.format(edge, f"client_files[{i}]", f'; filename="{i}.jpg"').encode()
            yield image
            yield b"\r\n"
        yield f"--{edge}--\r\n".encode()

    task_id = client.task()
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    tracemalloc.start()
    try:
        answer = client.call("POST", f"/api/tasks/{task_id}/data", data=body(), headers=kind)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 202
    assert len(cvat.tasks[task_id].frames) == 600
    assert cvat.requests[-1].files[599] == ("client_files[599]", "599.jpg", len(image))
    assert peak < 8e6


# who may


def test_organizations_are_closed_to_strangers(cvat, client):
    cvat.add_organization("fab", members=[cvat.username])
    cvat.add_user("ann1", "x")
    fab = {"X-Organization": "fab"}
    assert client.call("POST", "/api/tasks", json=TASK, headers=fab).status_code == 201
    nope = client.call("GET", "/api/tasks", headers={"X-Organization": "nope"})
    assert (nope.status_code, nope.json()) == (404, {"detail": "nope organization does not exist."})
    stranger = Client(cvat, "ann1", "x")
    assert stranger.call("GET", "/api/tasks", headers=fab).status_code == 403
    assert stranger.call("GET", "/api/tasks/1").status_code == 403
    cvat.add_user("ann2", "x", organization="fab")
    member = Client(cvat, "ann2", "x")
    assert member.call("GET", "/api/tasks", headers=fab).json()["count"] == 1
    assert member.call("GET", "/api/organizations?search=fab").json()["count"] == 1


def test_records_hold_no_secrets(cvat, client):
    client.upload(client.task())
    seen = "\n".join(repr(request) for request in cvat.requests)
    assert cvat.password not in seen
    for session, (_, token) in cvat.state.sessions.items():
        assert session not in seen
        assert token not in seen
    upload = cvat.requests[-1]
    assert (upload.method, upload.status) == ("POST", 202)
    assert upload.form["sorting_method"] == "predefined"
    assert [(name, size) for _, name, size in upload.files] == [
        ("b.jpg", len(jpeg())),
        ("a.jpg", len(jpeg())),
    ]
    cvat.clear_requests()
    assert cvat.requests == []


def test_many_clients_get_distinct_tasks(cvat, client):
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: client.task(), range(40)))
    assert sorted(ids) == list(range(1, 41))
