"""The Annotate tab offers exactly our classes, and nothing of the user's is lost."""

from __future__ import annotations

import itertools

import fiftyone as fo
import pytest

from unseen.annotation import app_annotation
from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
CLASSES = ["scratch", "particle"]


def prepare(dataset, classes=CLASSES, names=NAMES):
    return app_annotation.prepare(Loop(dataset, names), classes)


def active(dataset):
    dataset.reload()
    return dataset.active_label_schemas


@pytest.mark.parametrize(
    "classes", [CLASSES, *([f"class {i}" for i in range(n)] for n in (1, 5, 6, 40))], ids=len
)
def test_exactly_the_given_classes_are_offered_in_their_order(wafers, classes):
    schema = prepare(wafers, classes)
    assert (schema["type"], schema["classes"]) == ("detections", classes)
    assert schema["component"] == ("radio" if len(classes) < 6 else "dropdown")
    assert schema["attributes"] == []
    assert not schema.get("read_only")
    assert active(wafers) == ["ground_truth"]
    assert wafers.label_schemas["ground_truth"] == schema


def test_regions_are_read_only_and_all_that_helps_is_switched_on_in_the_sidebar(wafers):
    writing.declare_score_fields(Loop(wafers, NAMES))
    wafers.app_config.active_fields = fo.ActiveFields(paths=["hidden_truth"])
    wafers.save()
    prepare(wafers)
    prepare(wafers)
    assert active(wafers) == ["ground_truth", "unseen_regions"]
    assert wafers.label_schemas["unseen_regions"]["read_only"] is True
    assert wafers.app_config.active_fields.paths == [
        *("hidden_truth", "ground_truth", "unseen_heatmap", "unseen_regions")
    ]
    writing.delete_fields(wafers, writing.own_fields(Loop(wafers)))
    assert active(wafers) == list(wafers.label_schemas) == ["ground_truth"]


def test_a_series_shows_its_own_regions_and_schemas_of_other_fields_stay(wafers):
    other = wafers.generate_label_schemas("hidden_truth", scan_samples=False)
    wafers.set_label_schemas({"hidden_truth": other})
    wafers.activate_label_schemas("hidden_truth")
    names = Names(series="b")
    writing.declare_score_fields(Loop(wafers, names))
    prepare(wafers, names=names)
    assert wafers.label_schemas["hidden_truth"] == other
    assert active(wafers) == ["hidden_truth", "ground_truth", "unseen_b_regions"]


def test_attributes_of_the_user_stay_and_those_of_evaluations_go(wafers):
    samples = wafers.exists("ground_truth")
    wafers.clone_sample_field("ground_truth", "predicted")
    for field, attribute, value in [
        ("ground_truth", "severity", 3),
        ("predicted", "confidence", 0.5),
    ]:
        labels = samples.values(field)
        for detection in itertools.chain(*(image.detections for image in labels)):
            detection[attribute] = value
        samples.set_values(field, labels)
    wafers.add_dynamic_sample_fields()
    samples.evaluate_detections("predicted", gt_field="ground_truth", eval_key="iter_00")
    scanned = wafers.generate_label_schemas("ground_truth")
    attributes = {a["name"]: a for a in scanned["attributes"]}
    assert {"severity", "iter_00", "iter_00_id"} <= set(attributes)  # what a scan takes over
    wafers.update_label_schema("ground_truth", scanned)
    kept = {a["name"]: a for a in prepare(wafers)["attributes"]}
    assert kept == {n: a for n, a in attributes.items() if not n.startswith("iter_00")}


def test_of_an_earlier_schema_only_what_still_fits_stays(wafers):
    schema = prepare(wafers)
    wafers.update_label_schema("ground_truth", {**schema, "default": "scratch", "read_only": True})
    again = prepare(wafers)
    assert again["default"] == "scratch"
    assert not again.get("read_only")
    assert "default" not in prepare(wafers, ["particle"])


def test_a_missing_label_field_is_made_and_one_without_boxes_refused(wafers):
    prepare(wafers, names=Names(label_field="defects"))
    assert wafers.count("defects") == 0
    wafers.add_sample_field("kind", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    with pytest.raises(DatasetError, match="Classification"):
        prepare(wafers, names=Names(label_field="kind"))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "0 classes"),
        (["particle", "particle"], "'particle' is given twice"),
        (["particle", "Unseen"], "'Unseen'"),
        (["particle", " "], "empty name"),
        ([str(i) for i in range(1001)], "1001 classes"),
    ],
)
def test_unusable_classes_are_refused_before_anything_changes(wafers, classes, message):
    with pytest.raises(LabelError, match=message):
        prepare(wafers, classes)
    assert wafers.label_schemas == {}
