"""What an evaluation leaves is what FiftyOne's own `evaluate_detections` leaves."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone import ViewField as F

from unseen.dataset import evaluations, scope
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop
from unseen.dataset.matching import match

pytestmark = pytest.mark.fiftyone

TRUE, FOUND = "ground_truth", "predictions_00"
NAMES = Names()


def box(rng, cells):
    """On a coarse grid, of which many overlap equally, or of tenths, which are never exact."""
    corner = rng.integers(0, cells - 1, 2)
    return (np.concatenate([corner, rng.integers(1, 4, 2)]) / cells).tolist()


def boxes(rng, number, cells, labels, **attributes):
    return fo.Detections(
        detections=[
            fo.Detection(
                label=str(rng.choice(labels)),
                bounding_box=box(rng, cells),
                **{name: draw() for name, draw in attributes.items()},
            )
            for _ in range(number)
        ]
    )


def make(seed, images=30, *, ties=True):
    """Boxes with ties of overlap and confidence, crowds, empty and missing lists, unusable boxes."""
    rng = np.random.default_rng(seed)
    cells = (8, 10, 4)[seed % 3]
    dataset = fo.Dataset()
    dataset.add_sample_field(TRUE, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    dataset.add_sample_field(FOUND, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    samples = []
    for i in range(images):
        sample = fo.Sample(filepath=f"/{i}.png")
        if rng.random() < 0.9:
            crowd = {"iscrowd": lambda: int(rng.random() < 0.2)} if rng.random() < 0.4 else {}
            sample[TRUE] = boxes(rng, rng.integers(0, 9), cells, ["a", "b", "c"], **crowd)
        if rng.random() < 0.9:
            confidence = {"confidence": lambda: rng.integers(0, 6) / 5 if ties else rng.random()}
            sample[FOUND] = boxes(rng, rng.integers(0, 12), cells, ["b", "c", "d"], **confidence)
            if sample.has_field(TRUE):
                for d in sample[TRUE].detections[::2]:
                    again = fo.Detection(label=d.label, bounding_box=d.bounding_box, confidence=1.0)
                    sample[FOUND].detections.append(again)
        for field in (TRUE, FOUND):
            if sample.has_field(field) and sample[field] and rng.random() < 0.2:
                bad = fo.Detection(label="a", bounding_box=[0.5, 0.5, 0, 0.1], confidence=1.0)
                sample[field].detections.insert(0, bad)
        samples.append(sample)
    dataset.add_samples(samples, progress=False)
    loop = Loop(dataset, NAMES)
    scope.write(loop, {sample.id: [[0, 0, 0.6, 0.6]] for sample in samples[::5]})
    return loop


def evaluate(loop, key="ours", *, iou=0.5, min_confidence=0.5):
    matched = match(loop, FOUND, ["a", "e"], iou=iou, min_confidence=min_confidence)
    store(matched, key, iou=iou, min_confidence=min_confidence)
    return matched


def store(matched, key="ours", *, iou=0.5, min_confidence=0.5):
    errors = [None] * len(matched.predicted.ids)
    at = {"gt_field": TRUE, "field": FOUND, "iou": iou, "min_confidence": min_confidence}
    evaluations.store(matched, key, **at, errors=errors)


def by_fiftyone(matched, key="theirs", *, iou=0.5, min_confidence=0.5, **options):
    """FiftyOne's own evaluation of the same labels."""
    confident = F("confidence") >= min_confidence
    view = matched.view.filter_labels(FOUND, confident, only_matches=False)
    options |= {"method": "coco", "classes": matched.classes, "iou": iou, "progress": False}
    view.evaluate_detections(FOUND, gt_field=TRUE, eval_key=key, **options)


def documents(loop, key):
    """Everything that an evaluation left in the database, under the same names for each key."""

    def of_key(document):
        if isinstance(document, list):
            return [of_key(part) for part in document]
        if not isinstance(document, dict):
            return document
        return {
            name.replace(key, "key"): of_key(value)
            for name, value in document.items()
            if name.startswith(key) or name in ("_id", TRUE, FOUND, "detections")
        }

    return [of_key(d) for d in loop.dataset._sample_collection.find().sort("_id")]


def schema(loop, key):
    fields = loop.dataset.get_field_schema(flat=True)
    return {n.replace(key, "key"): str(f) for n, f in fields.items() if key in n}


def rows(results):
    names = ("ytrue", "ypred", "ious", "confs", "ytrue_ids", "ypred_ids")
    of_each = zip(*(getattr(results, n).tolist() for n in names), strict=True)
    return sorted(of_each, key=lambda row: (str(row[-2]), str(row[-1])))


@pytest.mark.parametrize(
    ("seed", "iou", "min_confidence"),
    [(0, 0.5, 0.5), (1, 0.1, 0), (2, 1 / 3, 0.2), (3, 0.25, 0.2), (4, 0.6, 0.4), (5, 0.95, 1)],
)
def test_fields_marks_and_results_are_those_of_fiftyone(seed, iou, min_confidence):
    loop = make(seed)
    at = {"iou": iou, "min_confidence": min_confidence}
    by_fiftyone(evaluate(loop, **at), **at)
    ours, theirs = documents(loop, "ours"), documents(loop, "theirs")
    assert ours == theirs
    assert str(ours).count("'tp'") > 20 < str(ours).count("'fn'")
    assert schema(loop, "ours") == schema(loop, "theirs")
    loop.dataset.clear_cache()
    ours, theirs = (loop.dataset.load_evaluation_results(key) for key in ("ours", "theirs"))
    assert rows(ours) == rows(theirs)
    assert ours.report() == theirs.report()
    assert ours.classes.tolist() == theirs.classes.tolist()
    assert (ours.confusion_matrix() == theirs.confusion_matrix()).all()


def test_average_precision_is_fiftyones_where_no_two_confidences_are_equal():
    # Of equal confidences, FiftyOne counts what is right first, pycocotools the earlier images.
    loop = make(1, ties=False)
    matched = evaluate(loop, min_confidence=0)
    options = {"compute_mAP": True, "iou_threshs": [0.5], "max_preds": 1000}
    by_fiftyone(matched, min_confidence=0, **options)
    ours, theirs = (loop.dataset.load_evaluation_results(key) for key in ("ours", "theirs"))
    assert 0 < ours.mAP() == pytest.approx(theirs.mAP())
    np.testing.assert_allclose(ours.precision, theirs.precision)


def test_an_evaluation_is_loaded_renamed_shown_as_patches_and_deleted_as_any_other():
    loop = make(0)
    dataset, before = loop.dataset, schema(loop, "")
    evaluate(loop)
    info = dataset.get_evaluation_info("ours")
    assert (info.config.method, info.config.pred_field, info.config.gt_field) == (
        "coco",
        FOUND,
        TRUE,
    )
    dataset.rename_evaluation("ours", "other")
    view = dataset.load_evaluation_view("other")
    confidences = view.values(f"{FOUND}.detections[].confidence")
    assert min(confidences) >= 0.5
    patches = view.to_evaluation_patches("other")
    counts = {kind: dataset.sum(f"other_{kind}") for kind in ("tp", "fp", "fn")}
    assert patches.count_values("type") == counts
    assert "other" in [group.name for group in dataset.app_config.sidebar_groups]
    dataset.delete_evaluation("other")
    assert {n for n in schema(loop, "") if not n.endswith(".error")} == set(before)
    assert not dataset.list_evaluations()


def test_labels_that_somebody_changes_meanwhile_keep_the_change():
    loop = make(0)
    samples = loop.dataset._sample_collection
    matched = match(loop, FOUND, ["a"], iou=0.5)
    whole = samples.find_one({f"{TRUE}.detections.2": {"$exists": True}})
    kept = whole[TRUE]["detections"][1:]
    new = {"_id": ObjectId(), "_cls": "Detection", "label": "new", "bounding_box": [0, 0, 1, 1]}
    changed = [new, *({**box, "label": "changed"} for box in kept)]
    samples.update_one({"_id": whole["_id"]}, {"$set": {f"{TRUE}.detections": changed}})
    cleared = samples.find_one(
        {f"{FOUND}.detections.0": {"$exists": True}, "_id": {"$ne": whole["_id"]}}
    )
    samples.update_one({"_id": cleared["_id"]}, {"$set": {FOUND: None}})
    store(matched)
    after = samples.find_one({"_id": whole["_id"]})[TRUE]["detections"]
    assert [box["label"] for box in after] == ["new", *["changed"] * len(kept)]
    assert after[0] == new
    assert any("ours" in box for box in after[1:])
    assert samples.find_one({"_id": cleared["_id"]})[FOUND] is None


def test_without_any_box_there_is_an_evaluation_of_nothing():
    loop = make(0, images=2)
    loop.dataset.clear_sample_fields([TRUE, FOUND])
    by_fiftyone(evaluate(loop))
    assert documents(loop, "ours") == documents(loop, "theirs")
    assert loop.dataset.load_evaluation_results("ours").mAP() == -1
