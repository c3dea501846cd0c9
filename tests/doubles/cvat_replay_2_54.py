"""Replays what a CVAT 2.54.1 answered, in `tests/data/cvat_2_54.json`, against the double.

Each exchange is one request and what was noted of its answer: `answer` (a part of it), `more_keys`,
or a `text`. `keep` gives names to values of the answer, which later exchanges name as `<task>`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import requests
from cvat_double import CvatDouble
from cvat_replay import jpeg

FILE = Path(__file__).resolve().parents[1] / "data" / "cvat_2_54.json"


def replay(cvat: CvatDouble) -> int:
    """Play all exchanges in their order; returns how many."""
    cvat.add_organization("fab")
    users = {
        "member": cvat.add_user("annie", organization="fab"),
        "worker": cvat.add_user("worker", organization="fab", is_worker=True),
        "stranger": cvat.add_user("stranger"),
        "admin": cvat.state.user_named(cvat.username),
    }
    kept: dict[str, Any] = {"worker": users["worker"].id, "fab": 1}
    exchanges = json.loads(FILE.read_text(encoding="utf-8"))
    for number, exchange in enumerate(exchanges):
        asked, where = _filled(exchange, kept), f"{number} ({exchange['step']})"
        user, headers = asked["as"], {"X-Organization": asked.get("organization")}
        if user != "nobody":
            headers["Authorization"] = f"Token {users[user].key}" if user in users else user
        more = {"json": asked["json"]} if "json" in asked else {}
        if "upload" in asked:
            more["data"] = {"image_quality": 75, "sorting_method": "predefined"}
            names = enumerate(asked["upload"])
            more["files"] = [(f"client_files[{i}]", (name, jpeg())) for i, name in names]
        url = cvat.url + asked["path"]
        answer = requests.request(asked["method"], url, headers=headers, timeout=10, **more)
        assert answer.status_code == asked["status"], f"{where}: {answer.text[:300]}"
        if "text" in asked:
            assert asked["text"] in answer.text, where
            assert answer.headers["content-type"].startswith("text/html"), where
            continue
        value = answer.json() if answer.content else None
        if "answer" in asked:
            assert _differs(asked["answer"], value) is None, f"{where}: {value}"
        assert set(asked.get("more_keys", ())) <= set(value or ()), where
        for name, path in asked.get("keep", {}).items():
            found = value
            for step in path.split("."):
                found = found[int(step) if step.isdigit() else step]
            kept[name] = found
    return len(exchanges)


def _filled(value: Any, kept: dict[str, Any]) -> Any:
    """The value with what was kept in place of its names."""
    if isinstance(value, dict):
        return {key: _filled(each, kept) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, kept) for each in value]
    if isinstance(value, str) and (match := re.fullmatch(r"<(\w+)>", value)):
        return kept[match[1]]
    if isinstance(value, str):
        return re.sub(r"<(\w+)>", lambda match: str(kept[match[1]]), value)
    return value


def _differs(noted: Any, actual: Any) -> str | None:
    """Where the answer is not as it was noted; it may hold more keys."""
    if isinstance(noted, dict) and isinstance(actual, dict):
        pairs = [(key, noted[key], actual.get(key)) for key in noted]
    elif isinstance(noted, list) and isinstance(actual, list) and len(noted) == len(actual):
        pairs = [(str(i), *pair) for i, pair in enumerate(zip(noted, actual, strict=True))]
    else:
        return None if noted == actual else f": {noted!r} is {actual!r}"
    wrong = ((key, _differs(*pair)) for key, *pair in pairs)
    return next((f".{key}{text}" for key, text in wrong if text), None)
