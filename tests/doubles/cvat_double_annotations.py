"""Tags, shapes and tracks of tasks and jobs: what CVAT accepts, keeps and gives back."""

from __future__ import annotations

import copy

from cvat_double_state import CvatState
from cvat_double_things import Job, Label, Rejected, Task, all_labels

SHAPE_TYPES = [
    "rectangle",
    "polygon",
    "polyline",
    "points",
    "ellipse",
    "cuboid",
    "mask",
    "skeleton",
]
KINDS = ("tags", "shapes", "tracks")
TAG = {"group": 0, "source": "manual", "attributes": []}
#: A shape on one frame of a track.
TRACKED = {
    "occluded": False,
    "outside": False,
    "z_order": 0,
    "rotation": 0.0,
    "points": [],
    "attributes": [],
}
DEFAULTS = {
    "tags": TAG,
    "shapes": {**TRACKED, "group": 0, "source": "manual", "elements": []},
    "tracks": {**TAG, "shapes": [], "elements": []},
}


#: What is kept of a tag, shape or track; other keys are dropped without a word.
KEYS = {kind: {"id", "frame", "label_id", "type", *default} for kind, default in DEFAULTS.items()}


def completed(state: CvatState, kind: str, item: dict) -> dict:
    """A copy with every default and with ids; ids that came along are kept."""
    known = {key: copy.deepcopy(value) for key, value in item.items() if key in KEYS[kind]}
    made = {**copy.deepcopy(DEFAULTS[kind]), **known}
    if made.get("id") is None:
        made["id"] = state.next_id(kind[:-1])
    for each in made.get("elements", ()):
        each.update({**copy.deepcopy(DEFAULTS[kind]), **each, "frame": made["frame"]})
        each.setdefault("id", state.next_id(kind[:-1]))
    if kind == "tracks":
        made["shapes"] = [
            {**copy.deepcopy(TRACKED), "id": state.next_id("tracked"), **shape}
            for shape in made["shapes"]
        ]
    if isinstance(made.get("rotation"), int):
        made["rotation"] = float(made["rotation"])
    return made


def check(state: CvatState, task: Task, body: dict) -> None:
    """Raise `Rejected` as CVAT does; boxes outside the image and foreign frames pass."""
    is_strict = state.version.has("shapes are checked")
    if not isinstance(body, dict):
        raise Rejected({"non_field_errors": ["Invalid data. Expected a dictionary."]})
    for kind in KINDS:
        wrong = [_missing(kind, item) for item in body.get(kind, ())]
        if is_strict and kind == "shapes":
            pairs = zip(wrong, body.get(kind, ()), strict=True)
            wrong = [missing or _malformed(item) for missing, item in pairs]
        if any(wrong):
            raise Rejected({kind: wrong})
    known = {label.id: label for label in all_labels(task.labels)}
    for kind in KINDS:
        for item in body.get(kind, ()):
            _check_ids(known, item)


def _missing(kind: str, item: dict) -> dict:
    required = ("type", "frame", "label_id") if kind == "shapes" else ("frame", "label_id")
    wrong = {key: ["This field is required."] for key in required if key not in item}
    shape_type = item.get("type")
    if kind == "shapes" and shape_type is not None and shape_type not in SHAPE_TYPES:
        wrong["type"] = [f'"{shape_type}" is not a valid choice.']
    return wrong


def _malformed(shape: dict) -> dict:
    """What newer versions say of a shape that older ones take."""
    kind, points = shape["type"], shape.get("points") or []
    if shape["frame"] < 0:
        return {"frame": ["Ensure this value is greater than or equal to 0."]}
    if kind == "rectangle" and len(points) != 4:
        return {"points": ["invalid length for shape type 'rectangle'"]}
    if kind == "skeleton" and not shape.get("elements"):
        return {"elements": ["at least one required for skeleton shape"]}
    return {}


def _check_ids(known: dict[int, Label], item: dict) -> None:
    label = known.get(item["label_id"])
    if label is None:
        raise Rejected([f"label_id `{item['label_id']}` is invalid"])
    specs = {attribute.id for attribute in label.attributes}
    tracked = [a for shape in item.get("shapes", ()) for a in shape.get("attributes", ())]
    for attribute in [*item.get("attributes", ()), *tracked]:
        if attribute["spec_id"] not in specs:
            raise Rejected([f"spec_id `{attribute['spec_id']}` is invalid"])
    for element in item.get("elements", ()):
        _check_ids(known, element)


def replace(state: CvatState, task: Task, jobs: list[Job], body: dict) -> dict:
    """PUT: the annotations of a task or of one job become those of the body."""
    if state.version.has("a PUT must bring no ids"):
        for kind in KINDS:
            with_ids = [{"id": ["must be absent"]} if "id" in i else {} for i in body.get(kind, ())]
            if any(with_ids):
                raise Rejected({kind: with_ids})
    check(state, task, body)
    for job in jobs:
        for kind in KINDS:
            setattr(job, kind, [])
    return create(state, task, jobs, body)


def create(state: CvatState, task: Task, jobs: list[Job], body: dict) -> dict:
    check(state, task, body)
    answer = {"version": 0, "tags": [], "shapes": [], "tracks": []}
    for kind in KINDS:
        for item in body.get(kind, ()):
            # A job takes every frame; a task gives each shape to the job that has its frame.
            homes = jobs if len(jobs) == 1 else [j for j in jobs if item["frame"] in j.frames]
            for job in homes[:1]:
                made = completed(state, kind, item)
                getattr(job, kind).append(made)
                answer[kind].append(made)
    state.touch(*jobs)
    return copy.deepcopy(answer)


def update(state: CvatState, task: Task, jobs: list[Job], body: dict) -> dict:
    check(state, task, body)
    remove(state, task, jobs, body)
    return create(state, task, jobs, body)


def remove(state: CvatState, task: Task, jobs: list[Job], body: dict) -> dict:
    check(state, task, body)
    for kind in KINDS:
        gone = {item.get("id") for item in body.get(kind, ())}
        for job in jobs:
            setattr(job, kind, [each for each in getattr(job, kind) if each["id"] not in gone])
    state.touch(*jobs)
    return copy.deepcopy({"version": 0, **{kind: body.get(kind, []) for kind in KINDS}})


def shown(task: Task, jobs: list[Job]) -> dict:
    """GET: sorted by frame, ties in no useful order, every attribute of the label present."""
    labels = {label.id: label for label in all_labels(task.labels)}
    answer: dict = {"version": 0}
    for kind in KINDS:
        items = [_with_attributes(labels, each) for job in jobs for each in getattr(job, kind)]
        # Ties come back unordered; the remainder mixes them, always alike.
        answer[kind] = sorted(items, key=lambda item: (item["frame"], item["id"] * 7 % 11))
    return answer


def _with_attributes(labels: dict[int, Label], item: dict) -> dict:
    first = ("id", "label_id", "type", "frame", "group", "source")
    made = {key: item[key] for key in first if key in item}
    made |= {key: copy.deepcopy(value) for key, value in item.items() if key not in made}
    present = {attribute["spec_id"] for attribute in item["attributes"]}
    made["attributes"] += [
        {"spec_id": each.id, "value": each.default_value}
        for each in labels[item["label_id"]].attributes
        if each.id not in present
    ]
    # Some servers mix them; clients must look for the spec, not for the place.
    made["attributes"].sort(key=lambda attribute: (attribute["spec_id"] + made["id"]) * 7 % 11)
    if "elements" in made:
        made["elements"] = [_with_attributes(labels, each) for each in made["elements"]]
    if "points" in made:
        made["points"] = [float(number) for number in made["points"]]
    return made
