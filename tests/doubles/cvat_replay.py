"""Replays what real servers answered against the double, and a plain client.

`tests/data/cvat_2_15.json` and `cvat_2_54.json` hold what CVAT 2.15.0 and 2.54.1 answered, as scenarios
of exchanges. Each exchange is one request and what was noted of its answer: `answer` (of an exact
recording all of it, else a part), `more_keys`, or a `text`. "<text>" stands for any text, such as a
date, "<any>" for anything. `keep` gives names to values of the answer, which later exchanges name as
`<task>`. What is "prepared" was not recorded: the server had a past.
"""

from __future__ import annotations

import functools
import io
import json
import re
from pathlib import Path
from typing import Any

import requests
from cvat_double import CvatDouble
from PIL import Image

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDED = {
    version: json.loads((DATA / name).read_text(encoding="utf-8"))
    for version, name in (("2.15.0", "cvat_2_15.json"), ("2.54.1", "cvat_2_54.json"))
}


@functools.cache
def jpeg(width: int = 160, height: int = 120) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "JPEG")
    return out.getvalue()


def files(names) -> list[tuple]:
    """Small images of these names as `requests` uploads them; one named broken is none."""
    content = {name: b"no image" if "broken" in name else jpeg() for name in names}
    return [(f"client_files[{i}]", (name, content[name])) for i, name in enumerate(names)]


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
        return self.call("POST", f"/api/tasks/{task_id}/data", data=data, files=files(names))


def replay(cvat: CvatDouble, scenario: dict, recorded: dict) -> None:
    """Play the exchanges of a scenario in their order."""
    cvat.job_delay = recorded.get("job_delay", 0)
    users = {role: cvat.add_user(**{"name": role, **u}) for role, u in recorded["people"].items()}
    users["admin"] = cvat.state.user_named(cvat.username)
    cvat.state.start_ids(**scenario.get("first_ids", {}))
    kept: dict[str, Any] = {role: user.id for role, user in users.items()}
    kept |= {f"{role}_password": user.password for role, user in users.items()}
    for number, exchange in enumerate(scenario["exchanges"]):
        asked, where = _filled(exchange, kept), f"{number} ({exchange['step']})"
        user, headers = asked["as"], {"X-Organization": asked.get("organization")}
        if user != "nobody":
            headers["Authorization"] = f"Token {users[user].key}" if user in users else user
        more = {"json": asked["json"]} if "json" in asked else {}
        if "upload" in asked:
            more["data"] = {"image_quality": 75, "sorting_method": "predefined"}
            more["data"] |= asked.get("data", {})
            more["files"] = files(asked["upload"])
        url = cvat.url + asked["path"]
        answer = requests.request(asked["method"], url, headers=headers, timeout=10, **more)
        assert answer.status_code == asked["status"], f"{where}: {answer.text[:300]}"
        if "text" in asked:
            assert asked["text"] in answer.text, where
            assert not recorded.get("exact") or asked["text"] == answer.text, where
            assert answer.headers["content-type"] == "text/html; charset=utf-8", where
            continue
        value = answer.json() if answer.content else None
        if "answer" in asked:
            wrong = _differs(asked["answer"], value, exact=recorded.get("exact", False))
            assert wrong is None, f"{where}{wrong}"
            assert answer.headers["content-type"] == "application/vnd.cvat+json", where
        if "location" in asked:
            assert answer.headers["location"] == value["url"], where
        assert set(asked.get("more_keys", ())) <= set(value or ()), where
        for name, path in asked.get("keep", {}).items():
            kept[name] = functools.reduce(_inside, path.split("."), value)


def _inside(value: Any, step: str) -> Any:
    return value[int(step) if step.isdigit() else step]


def _filled(value: Any, kept: dict[str, Any]) -> Any:
    """The value with what was kept in place of its names."""
    if isinstance(value, dict):
        return {key: _filled(each, kept) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, kept) for each in value]
    if not isinstance(value, str):
        return value
    if (match := re.fullmatch(r"<(\w+)>", value)) and match[1] in kept:
        return kept[match[1]]
    return re.sub(r"<(\w+)>", lambda match: str(kept.get(match[1], match[0])), value)


def _differs(noted: Any, actual: Any, *, exact: bool) -> str | None:
    """Where the answer is not as it was noted; it may hold more keys unless it is `exact`."""
    if noted == "<any>" or (noted == "<text>" and isinstance(actual, str)):
        return None
    if isinstance(noted, dict) and isinstance(actual, dict):
        if exact and noted.keys() != actual.keys():
            return f": keys {sorted(noted.keys() ^ actual.keys())} are not in both"
        pairs = [(key, noted[key], actual.get(key)) for key in noted]
    elif isinstance(noted, list) and isinstance(actual, list) and len(noted) == len(actual):
        pairs = [(str(i), *pair) for i, pair in enumerate(zip(noted, actual, strict=True))]
    else:
        if isinstance(actual, str):
            actual = re.sub(r"https?://[\d.:]+", "", actual)
        # 1 and 1.0 are the same number in JSON, True is none.
        is_same = noted == actual and isinstance(noted, bool) == isinstance(actual, bool)
        return None if is_same else f": {noted!r} is {actual!r}"
    wrong = ((key, _differs(*pair, exact=exact)) for key, *pair in pairs)
    return next((f".{key}{text}" for key, text in wrong if text), None)
