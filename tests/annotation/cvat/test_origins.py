"""Of each label it is kept who made it, when, in which batch, from which suggestion and model."""

from __future__ import annotations

import csv

import fiftyone as fo
import pytest
from cvat_traces import ranked

import unseen
from unseen.annotation import origins
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

BOX = [8, 16, 24, 32]


def table_of(dataset, tmp_path):
    """The rows of labels from annotators, by class."""
    origins.write_table(Loop(dataset), tmp_path / "boxes.csv")
    with (tmp_path / "boxes.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == dataset.count("ground_truth.detections")
    return {row["class"]: row for row in found if row["batch"]}


def test_a_label_is_told_by_who_drew_or_accepted_it(cvat, batch, annotator, tmp_path):
    for name in ("ann", "bob"):
        cvat.add_user(name)
    dataset = batch(2)
    model = Names().model
    dataset.add_sample_field(model, fo.StringField)
    dataset.set_values(model, ["digest"] * len(dataset))
    classes = ("drawn", "accepted", "later")
    unseen.request_annotations(dataset, classes=classes, assignees=("ann", "bob"), task_size=1)
    ann, bob = annotator(0), annotator(1)
    region = ranked(dataset).first().unseen_regions.detections[0]
    shape = min(ann.shapes(), key=lambda s: s["id"])
    ann.relabel(shape["id"], "accepted")
    drawn = bob.draw(0, "drawn", BOX)
    for person in (ann, bob):
        person.set(state="completed")
    unseen.load_annotations(dataset)
    rows = table_of(dataset, tmp_path)
    accepted = {k: rows["accepted"][k] for k in ("by", "from", "suggestion", "score", "model")}
    wanted = ("ann", "suggestion", region.id, "90", "digest")
    assert tuple(accepted.values()) == wanted
    assert (rows["drawn"]["by"], rows["drawn"]["from"]) == ("bob", "drawn")
    assert rows["drawn"]["batch"] == "unseen_batch_01"
    assert rows["drawn"]["at"] == bob.job.updated_date
    assert [float(rows["drawn"][k]) for k in ("x", "y", "width", "height")] == [
        v / 64 for v in (8, 16, 16, 16)
    ]
    # A later edit is told by who made it; where the label came from stays.
    bob.job.assignee = cvat.state.user_named("ann")
    bob.relabel(drawn, "later")
    unseen.load_annotations(dataset)
    later = table_of(dataset, tmp_path)["later"]
    assert (later["by"], later["from"], later["label_id"]) == (
        "ann",
        "drawn",
        rows["drawn"]["label_id"],
    )


def test_labels_from_elsewhere_are_told_by_the_step_that_saw_them(batch, tmp_path):
    dataset = batch(1)
    origins.write_table(Loop(dataset), tmp_path / "boxes.csv")
    text = (tmp_path / "boxes.csv").read_text().splitlines()
    assert text[0].split(",") == list(origins.COLUMNS)
    assert len(text) == 1 + dataset.count("ground_truth.detections") > 1


def test_clean_takes_the_record_away(one):
    dataset, person = one
    person.draw(0, "particle", BOX)
    person.set(state="completed")
    planned = unseen.clean_dataset(dataset, dry_run=True)
    assert planned.given_up == ["unseen_batch_01"]
    assert "Labels of unseen_batch_01, not loaded yet, could no longer be" in planned.summary()
    unseen.load_annotations(dataset)
    assert dataset.get_field(Names().sources) is not None
    assert not unseen.clean_dataset(dataset).given_up
    assert dataset.get_field(Names().sources) is None
