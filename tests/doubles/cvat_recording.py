"""The recorded exchange with a real CVAT 2.15: reading it, and comparing an answer with it.

Parts that repeat are elided in the recording: `"<5 more>"` in a list, `"<the same as in exchange
77>"`, `{"<like the json of exchange 13, but for>": {...}}`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ELIDED = "<elided>"
FILE = Path(__file__).resolve().parents[1] / "data" / "cvat_exchanges.json"
# Values that belong to the recorded server, its clock or its random numbers.
OWN = {"key", "color", "description", "message", "created_date", "updated_date", "date_joined"}
OWN |= {"last_login"}


def load() -> list[dict]:
    """All exchanges, references between them resolved; element i has `n` = i."""
    exchanges = json.loads(FILE.read_text(encoding="utf-8"))
    for exchange in exchanges:
        answer = exchange["response"]
        if "json" in answer:
            answer["json"] = _resolved(exchanges, answer["json"])
    return exchanges


def _resolved(exchanges: list[dict], value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"<the same as in .* (\d+)>", value)):
        return _resolved(exchanges, exchanges[int(match[1])]["response"]["json"])
    if isinstance(value, dict) and len(value) == 1:
        (key, changes), *_ = value.items()
        if match := re.fullmatch(r"<like the json of exchange (\d+), but for>", key):
            base = _resolved(exchanges, exchanges[int(match[1])]["response"]["json"])
            made = {**base, **changes}
            if "tasks" in made:  # the recording takes a project's answers for alike without it
                made["tasks"] = {**made["tasks"], "count": ELIDED}
            return made
    return value


def known_shapes(exchanges: list[dict]) -> dict[int, dict]:
    """Every shape that the answers of these exchanges show, by id, first seen."""
    shapes: dict[int, dict] = {}
    for exchange in exchanges:
        answer = exchange["response"].get("json")
        for shape in answer.get("shapes", ()) if isinstance(answer, dict) else ():
            if isinstance(shape, dict) and "id" in shape:
                shapes.setdefault(shape["id"], shape)
    return shapes


def is_elided(value: Any) -> bool:
    return isinstance(value, str) and re.match(r"<\d+ more", value) is not None


def filled(value: Any) -> Any:
    """The value with copies of the element before in place of `"<5 more>"`, so counts are right."""
    if isinstance(value, dict):
        return {key: filled(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    made: list = []
    for each in value:
        if is_elided(each):
            made += [made[-1]] * int(re.findall(r"\d+", each)[0])
        else:
            made.append(filled(each))
    return made


def differences(recorded: Any, actual: Any, where: str = "$") -> list[str]:
    """How an answer differs from the recorded one: in keys, types, lengths or values.

    Values are compared but for dates, colours and the like, and the host of addresses; of `url`
    also the numbers are left out. Lists of objects with an `id` or `spec_id` are compared by it:
    the order of shapes on a frame and of a shape's attributes means nothing. Of a list that is
    elided in the recording only the recorded elements are looked for.
    """
    if recorded == ELIDED:
        return []
    if isinstance(recorded, dict) and isinstance(actual, dict):
        if recorded.keys() != actual.keys():
            return [f"{where}: keys {sorted(recorded.keys() ^ actual.keys())} are not in both"]
        wrong = []
        for key in recorded:
            inside, pair = f"{where}.{key}", (recorded[key], actual[key])
            if key in OWN:
                pair = (type(pair[0]), type(pair[1]))
            elif key == "url":
                pair = tuple(re.sub(r"https?://[^/]+|\d+", "", url) for url in pair)
            wrong += differences(*pair, inside)
        return wrong
    if isinstance(recorded, list) and isinstance(actual, list):
        return _list_differences(recorded, actual, where)
    if isinstance(recorded, str) and isinstance(actual, str):
        recorded, actual = (re.sub(r"https?://[\d.:]+", "", text) for text in (recorded, actual))
    # 1 and 1.0 are the same number in JSON, True is none.
    same_type = isinstance(recorded, bool) == isinstance(actual, bool)
    return [] if recorded == actual and same_type else [f"{where}: {recorded!r} is {actual!r}"]


def _list_differences(recorded: list, actual: list, where: str) -> list[str]:
    kept = [each for each in recorded if not is_elided(each)]
    if len(kept) == len(recorded) and len(recorded) != len(actual):
        return [f"{where}: {len(recorded)} elements are {len(actual)}"]
    for name in ("id", "spec_id"):
        if not kept or not all(isinstance(each, dict) and name in each for each in kept):
            continue
        by_id = {each.get(name): each for each in actual if isinstance(each, dict)}
        missing = [f"{where}: no {name} {e[name]}" for e in kept if e[name] not in by_id]
        return missing or [
            text
            for each in kept
            for text in differences(each, by_id[each[name]], f"{where}[{name}={each[name]}]")
        ]
    pairs = zip(kept, actual, strict=False)
    return [text for i, (a, b) in enumerate(pairs) for text in differences(a, b, f"{where}[{i}]")]
