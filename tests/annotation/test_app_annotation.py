"""The Annotate tab offers exactly our classes, and nothing of the user's is lost."""

from __future__ import annotations

import pytest

from unseen.annotation import app_annotation
from unseen.dataset import writing
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.errors import DatasetError, LabelError

pytestmark = pytest.mark.fiftyone

NAMES = Names()
CLASSES = ["scratch", "particle"]


@pytest.fixture
def scored(wafers):
    writing.declare_score_fields(Loop(wafers, NAMES))
    return wafers


def active(dataset):
    dataset.reload()
    return dataset.active_label_schemas


def test_exactly_the_given_classes_are_offered_in_their_order(wafers):
    schema = app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    assert schema["type"] == "detections"
    assert schema["classes"] == CLASSES
    assert schema["attributes"] == []
    assert not schema.get("read_only")
    wafers.reload()
    assert wafers.label_schemas["ground_truth"] == schema
    assert active(wafers) == ["ground_truth"]


def test_unseen_regions_are_shown_but_not_edited(scored):
    app_annotation.prepare(Loop(scored, NAMES), CLASSES)
    assert active(scored) == ["ground_truth", "unseen_regions"]
    assert scored.label_schemas["unseen_regions"]["read_only"] is True


def test_labels_regions_and_heatmap_are_switched_on_and_others_stay_on(scored):
    import fiftyone as fo

    scored.app_config.active_fields = fo.ActiveFields(paths=["hidden_truth"])
    scored.save()
    app_annotation.prepare(Loop(scored, NAMES), CLASSES)
    app_annotation.prepare(Loop(scored, NAMES), CLASSES)
    scored.reload()
    assert scored.app_config.active_fields.paths == [
        *("hidden_truth", "ground_truth", "unseen_heatmap", "unseen_regions")
    ]


def test_a_series_shows_its_own_regions(scored):
    names = Names(series="b")
    writing.declare_score_fields(Loop(scored, names))
    app_annotation.prepare(Loop(scored, names), CLASSES)
    assert active(scored) == ["ground_truth", "unseen_b_regions"]


def test_schemas_of_other_fields_stay(wafers):
    other = wafers.generate_label_schemas("hidden_truth", scan_samples=False)
    wafers.set_label_schemas({"hidden_truth": other})
    wafers.activate_label_schemas("hidden_truth")
    app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    assert wafers.label_schemas["hidden_truth"] == other
    assert active(wafers) == ["hidden_truth", "ground_truth"]


def test_attributes_of_the_user_stay_and_those_of_evaluations_go(wafers):
    import fiftyone as fo

    samples = wafers.exists("ground_truth")
    truth = samples.values("ground_truth")
    for found in truth:
        for detection in found.detections:
            detection["severity"] = 3
    samples.set_values("ground_truth", truth)
    wafers.clone_sample_field("ground_truth", "found")
    confident = wafers.values("found")
    for found in filter(None, confident):
        for detection in found.detections:
            detection.confidence = 0.5
    wafers.set_values("found", confident)
    wafers.add_dynamic_sample_fields()
    samples.evaluate_detections("found", gt_field="ground_truth", eval_key="iter_00")
    scanned = wafers.generate_label_schemas("ground_truth")
    names = {a["name"] for a in scanned["attributes"]}
    assert {"severity", "iter_00", "iter_00_id"} <= names  # what a scan takes over
    wafers.update_label_schema("ground_truth", scanned)
    schema = app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    kept = {a["name"] for a in schema["attributes"]}
    assert kept == {n for n in names if not n.startswith("iter_00")}
    severity = [a for a in scanned["attributes"] if a["name"] == "severity"]
    assert [a for a in schema["attributes"] if a["name"] == "severity"] == severity
    assert isinstance(fo.load_dataset(wafers.name).label_schemas["ground_truth"], dict)


def test_a_default_class_stays_only_while_it_is_offered(wafers):
    schema = app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    wafers.update_label_schema("ground_truth", {**schema, "default": "scratch"})
    assert app_annotation.prepare(Loop(wafers, NAMES), CLASSES)["default"] == "scratch"
    assert "default" not in app_annotation.prepare(Loop(wafers, NAMES), ["particle"])


def test_a_locked_field_is_unlocked(wafers):
    schema = app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    wafers.update_label_schema("ground_truth", {**schema, "read_only": True})
    assert not app_annotation.is_prepared(Loop(wafers, NAMES))
    app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    assert app_annotation.is_prepared(Loop(wafers, NAMES))


@pytest.mark.parametrize("count", [1, 5, 6, 40])
def test_any_number_of_classes_makes_a_valid_schema(wafers, count):
    classes = [f"class {i}" for i in range(count)]
    schema = app_annotation.prepare(Loop(wafers, NAMES), classes)
    assert schema["classes"] == classes
    assert schema["component"] == ("radio" if count < 6 else "dropdown")


def test_a_missing_label_field_is_made(wafers):
    app_annotation.prepare(Loop(wafers, Names(label_field="defects")), CLASSES)
    assert app_annotation.is_prepared(Loop(wafers, Names(label_field="defects")), CLASSES)
    assert wafers.count("defects") == 0


def test_what_is_prepared_depends_on_field_classes_and_activation(wafers):
    assert not app_annotation.is_prepared(Loop(wafers, NAMES))
    app_annotation.prepare(Loop(wafers, NAMES), CLASSES)
    assert app_annotation.is_prepared(Loop(wafers, NAMES))
    assert app_annotation.is_prepared(Loop(wafers.limit(1), NAMES), CLASSES)
    assert not app_annotation.is_prepared(Loop(wafers, NAMES), [*CLASSES, "stain"])
    assert not app_annotation.is_prepared(Loop(wafers, Names(label_field="hidden_truth")))
    wafers.deactivate_label_schemas("ground_truth")
    assert not app_annotation.is_prepared(Loop(wafers, NAMES))


def test_deleting_the_fields_of_a_loop_takes_their_schemas_along(scored):
    app_annotation.prepare(Loop(scored, NAMES), CLASSES)
    writing.delete_fields(scored, writing.own_fields(scored, "unseen"))
    assert active(scored) == ["ground_truth"]
    assert list(scored.label_schemas) == ["ground_truth"]
    assert app_annotation.is_prepared(Loop(scored, NAMES), CLASSES)


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
        app_annotation.prepare(Loop(wafers, NAMES), classes)
    assert wafers.label_schemas == {}


def test_a_field_that_holds_no_boxes_is_refused(wafers):
    import fiftyone as fo

    wafers.add_sample_field("kind", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    with pytest.raises(DatasetError, match="Classification"):
        app_annotation.prepare(Loop(wafers, Names(label_field="kind")), CLASSES)
