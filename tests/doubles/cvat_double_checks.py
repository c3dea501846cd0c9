"""What CVAT says of a name or label it does not accept."""

from __future__ import annotations

from cvat_double_things import Json, Label, Rejected


def check_named(body: Json, partial: bool = False) -> None:
    """The checks of a task's or project's own name and of its labels."""
    if not isinstance(body, dict):
        raise Rejected({"non_field_errors": ["Invalid data. Expected a dictionary."]})
    wrong: dict[str, Json] = {}
    if not partial or "name" in body:
        wrong |= wrong_name(body, 256)
    labels = [_wrong_label(label) for label in body.get("labels") or ()]
    if any(labels):
        wrong["labels"] = labels
    if wrong:
        raise Rejected(wrong)
    names = [label["name"] for label in body.get("labels") or () if "name" in label]
    if len(set(names)) < len(names):
        raise Rejected(["All label names must be unique"])


def check_new_names(labels: list[Label], bodies: list[dict]) -> None:
    """A PATCH must not add a label under a name that is there already."""
    known = {label.name for label in labels}
    if any(body.get("id") is None and body.get("name") in known for body in bodies):
        raise Rejected(["All label names must be unique"])


def wrong_name(body: dict, longest: int) -> dict[str, list[str]]:
    if "name" not in body:
        return {"name": ["This field is required."]}
    if not str(body["name"]).strip():
        return {"name": ["This field may not be blank."]}
    if len(body["name"]) > longest:
        return {"name": [f"Ensure this field has no more than {longest} characters."]}
    return {}


def _wrong_label(label: dict) -> dict:
    wrong: dict[str, Json] = {} if label.get("id") else wrong_name(label, 64)
    attributes = []
    for attribute in label.get("attributes") or ():
        missing = {} if attribute.get("id") else wrong_name(attribute, 64)
        for key in ("mutable", "input_type", "values"):
            if key not in attribute:
                missing[key] = ["This field is required."]
        attributes.append(missing)
    if any(attributes):
        wrong["attributes"] = attributes
    return wrong
