"""Replays a recorded scenario against the double, and the plain client that it uses."""

from __future__ import annotations

import functools
import io
import re
from typing import ClassVar

import cvat_recording
import pytest
import requests
from cvat_double import CvatDouble
from PIL import Image

EXCHANGES = cvat_recording.load()
SCENARIOS = list(dict.fromkeys(exchange["scenario"] for exchange in EXCHANGES))
BASIC_FILES = [f"img_{i:02d}.jpg" for i in range(6)]


def exchanges_of(scenario: str) -> list[dict]:
    """The two runs on one project are recorded interleaved; they are replayed as one."""
    group = {scenario}
    if scenario.startswith("project_name"):
        group = {each for each in SCENARIOS if each.startswith("project_name")}
    return [each for each in EXCHANGES if each["scenario"] in group]


@functools.cache
def jpeg(width: int = 160, height: int = 120) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "JPEG")
    return out.getvalue()


class Client:
    """A logged-in client; `call` adds what FiftyOne adds to a call."""

    def __init__(self, cvat: CvatDouble, username: str = "", password: str = "") -> None:
        self.cvat = cvat
        self.session = requests.Session()
        self.verify = cvat.ca_file or True
        self.headers = {"Referer": f"{cvat.url}/api/auth/login"}
        body = {"username": username or cvat.username, "password": password or cvat.password}
        answer = self.call("POST", "/api/auth/login", json=body)
        answer.raise_for_status()
        self.headers["X-CSRFToken"] = answer.cookies["csrftoken"]

    def call(self, method: str, path: str, **more) -> requests.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        url = self.cvat.url + path
        return self.session.request(
            method, url, headers=headers, verify=self.verify, timeout=10, **more
        )

    def task(self, labels=("cat", "dog"), **more) -> int:
        attribute = {"name": "label_id", "input_type": "text", "mutable": True, "values": []}
        body = {"name": "t", "labels": [{"name": n, "attributes": [attribute]} for n in labels]}
        answer = self.call("POST", "/api/tasks", json={**body, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def upload(self, task_id: int, names=("b.jpg", "a.jpg"), **fields) -> requests.Response:
        data = {"image_quality": 75, "sorting_method": "predefined", **fields}
        files = [
            (f"client_files[{i}]", (name, b"no image" if "broken" in name else jpeg()))
            for i, name in enumerate(names)
        ]
        return self.call("POST", f"/api/tasks/{task_id}/data", data=data, files=files)

    def job(self, names=("b.jpg", "a.jpg"), **more) -> int:
        """A task with images; the id of its newest job."""
        task_id = self.task(**more)
        self.upload(task_id, names).raise_for_status()
        return self.call("GET", f"/api/jobs?task_id={task_id}").json()["results"][0]["id"]


class Replay:
    """Plays a scenario's requests; where the recording left steps out, does what `basic` does."""

    CLASSES = ("cat", "dog", "bird")
    # The server had a past: the ids that the next things get in each scenario.
    FIRST_IDS: ClassVar[dict[str, dict[str, int]]] = {
        "segment_size+job_assignees": {"task": 2, "data": 2, "label": 4, "attribute": 10, "job": 2, "shape": 12},
        "task_size": {"task": 3, "label": 7, "attribute": 13, "job": 5, "shape": 20},
        "project_name": {"task": 5, "data": 5, "label": 13, "attribute": 19, "job": 7, "shape": 28},
        "occluded_attr": {"task": 7, "label": 16, "attribute": 22, "job": 9, "shape": 42},
        "two fields": {"task": 14, "label": 37, "attribute": 43, "job": 16, "shape": 86},
        "project_id of": {"project": 3, "task": 18, "data": 18, "label": 49, "attribute": 55, "job": 20, "shape": 131},
        "media_field": {"task": 19},
        "bad arguments": {"task": 32},
        "image the server": {"task": 37, "label": 100, "attribute": 103},
        "labels of an unexpected": {"task": 38, "label": 103, "attribute": 106, "job": 35, "shape": 206, "tag": 2},
        "file names": {"task": 39},
        "new field": {"task": 42},
        "plain REST": {"task": 48, "data": 44, "label": 133, "attribute": 131, "job": 44, "shape": 267},
        "paged lists": {"task": 50, "label": 137, "attribute": 135, "job": 46},
        "annotation guide": {"task": 51},
        "no permission": {"task": 53},
    }  # fmt: skip

    def __init__(self, cvat: CvatDouble, scenario: str) -> None:
        self.cvat, self.scenario = cvat, scenario
        for name in ("ann1", "ann2", "reviewer1"):
            cvat.add_user(name)
        cvat.job_delay = 1
        self.client = Client(cvat)
        Client(cvat, "ann1", "a-Secret").call("POST", "/api/auth/logout")
        if not scenario.startswith("plain REST"):
            cvat.state.user_named("ann1").last_login = None
        for start, first in self.FIRST_IDS.items():
            if scenario.startswith(start):
                cvat.state.start_ids(**first)
        if scenario.startswith("project_id of"):
            labels = [{"name": name, "attributes": []} for name in ("cat", "dog")]
            body = {"name": "made in CVAT", "labels": labels}
            assert self.client.call("POST", "/api/projects", json=body).status_code == 201

    def run(self) -> None:
        for exchange in exchanges_of(self.scenario):
            recorded = cvat_recording.filled(exchange["request"])
            if "error" in exchange["response"]:
                self.cvat.restart(down=5)
                with pytest.raises(requests.ConnectionError):
                    self.client.call(recorded["method"], recorded["path"])
                continue
            self.prepare(exchange)
            answer = self.send(exchange["n"], recorded)
            self.compare(exchange, answer)

    def prepare(self, exchange: dict) -> None:
        path, status = exchange["request"]["path"], exchange["response"]["status"]
        if match := re.match(r"/api/tasks/(\d+)", path) or re.search(r"task_id=(\d+)", path):
            number = int(match[1])
            if number not in self.cvat.tasks and status != 404:
                self.make_task(number)
        if exchange["request"].get("json", {}) and path == "/api/guides":
            self.make_task(exchange["request"]["json"]["task_id"])
        if path.startswith("/api/jobs?task_id=50") and not self.cvat.tasks[50].has_data:
            self.client.upload(50, [f"img_{i:02d}.jpg" for i in range(12)])
        needs_jobs = re.search(r"/annotations|/data/meta|/api/jobs/\d", path)
        if needs_jobs and status < 400 and self.scenario != "basic":
            self.make_jobs(exchange)

        if exchange["n"] == 35:
            self.draw_unrecorded()

    def draw_unrecorded(self) -> None:
        """What an annotator added between the recorded requests of the scenario with segments."""
        known = cvat_recording.known_shapes(exchanges_of(self.scenario))
        for number in (18, 19):
            shape = known[number]
            job = next(j for j in self.cvat.jobs.values() if shape["frame"] in j.frames)
            name = next(x.name for x in job.task.labels if x.id == shape["label_id"])
            person = self.cvat.annotator(job.id)
            assert person.draw(shape["frame"], name, shape["points"]) == number

    def make_task(self, number: int) -> None:
        labels = self.CLASSES
        more = {}
        if self.scenario.startswith("paged"):
            labels = ("cat", "dog", *(f"c{i:02d}" for i in range(12)))
            more = {"segment_size": 1}
        assert self.client.task(labels, **more) == number
        if self.scenario.startswith("no permission"):
            self.cvat.tasks[number].owner = self.cvat.state.user_named("ann2")

    def make_jobs(self, exchange: dict) -> None:
        if self.scenario.startswith("labels of") and not self.cvat.tasks:
            task_id = self.client.task(self.CLASSES)
            self.client.upload(task_id, BASIC_FILES)
            self.client.call("GET", f"/api/tasks/{task_id}/status")
            self.client.call("GET", f"/api/tasks/{task_id}/status")
            body = cvat_recording.filled(exchange["response"]["json"])
            path = exchange["request"]["path"]
            assert self.client.call("PUT", path, json=body).status_code == 200
        for task in list(self.cvat.tasks.values()):
            if not task.has_data:
                self.client.upload(task.id, BASIC_FILES)
            while not task.is_ready:
                self.client.call("GET", f"/api/jobs?task_id={task.id}")

    def send(self, n: int, recorded: dict) -> requests.Response:
        method, path, more = recorded["method"], recorded["path"], {}
        step = EXCHANGES[n]["step"]
        if "multipart" in recorded:
            return self.send_form(n, recorded)
        if "json" in recorded:
            more["json"] = self.with_shapes(n, recorded["json"])
        if "organization='nope'" in step:
            more["headers"] = {"X-Organization": "nope"}
        if path == "/api/auth/login":
            if "password" in recorded["json"]:
                wrong = EXCHANGES[n]["response"]["status"] == 400
                more["json"]["password"] = "wrong" if wrong else self.cvat.password
            return requests.request(method, self.cvat.url + path, timeout=10, **more)
        if step in ("no credentials", "unknown path"):
            return requests.request(method, self.cvat.url + path, timeout=10)
        if step == "wrong basic auth":
            auth = (self.cvat.username, "wrong")
            return requests.request(method, self.cvat.url + path, auth=auth, timeout=10)
        if step == "session cookie but no X-CSRFToken":
            url = self.cvat.url + path
            return self.client.session.request(method, url, timeout=10, **more)
        if self.scenario.startswith("no permission"):
            if self.cvat.state.user_named("reader") is None:
                self.cvat.add_user("reader", read_only=True)
            return Client(self.cvat, "reader", "a-Secret").call(method, path, **more)
        return self.client.call(method, path, **more)

    def with_shapes(self, n: int, body: dict) -> dict:
        """Shapes that were elided in a request are taken from the answers that show them."""
        asked = EXCHANGES[n]["request"]["json"]
        if not any(map(cvat_recording.is_elided, asked.get("shapes", ()))):
            return body
        known = cvat_recording.known_shapes(exchanges_of(self.scenario))
        first = EXCHANGES[n]["response"]["json"]["shapes"][0]["id"]
        shapes = [known.get(first + i, shape) for i, shape in enumerate(body["shapes"])]
        return {**body, "shapes": [{k: v for k, v in s.items() if k != "id"} for s in shapes]}

    def send_form(self, n: int, recorded: dict) -> requests.Response:
        """Files by the names in the answer: in the recorded request some are elided."""
        parts = [part for part in recorded["multipart"] if "filename" not in part]
        fields = {part["name"]: part["value"] for part in parts}
        answer = EXCHANGES[n]["response"].get("json")
        names = answer.get("client_files") if isinstance(answer, dict) else None
        task_id = int(recorded["path"].split("/")[3])
        return self.client.upload(task_id, names or BASIC_FILES, **fields)

    def compare(self, exchange: dict, answer: requests.Response) -> None:
        recorded, n = exchange["response"], exchange["n"]
        what = f"exchange {n} ({exchange['step']})"
        assert answer.status_code == recorded["status"], f"{what}: {answer.text[:300]}"
        if "text" in recorded:
            assert answer.text == recorded["text"], what
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
        if "json" in recorded:
            assert answer.headers["content-type"] == "application/vnd.cvat+json"
            differences = cvat_recording.differences(recorded["json"], answer.json())
            assert not differences, "\n".join([what, *differences[:9]])
        headers = recorded.get("headers", {})
        if "set-cookie" in headers:
            assert set(answer.cookies.keys()) == {"csrftoken", "sessionid"}
        if "location" in headers:
            assert answer.headers["location"] == answer.json()["url"]
