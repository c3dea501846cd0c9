"""Labels as stored documents: what a merge may change, and what survives it."""

from __future__ import annotations

import math

import fiftyone as fo
import pytest
from bson import ObjectId

from unseen.annotation import truth
from unseen.annotation.merge import KnownBox, MergedBox
from unseen.dataset.fields import LOADED, REMOVED, SENT, Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

BOX = [0.1, 0.2, 0.3, 0.4]


def stored(**values):
    """A detection as MongoDB holds it."""
    detection = {"_id": ObjectId(), "_cls": "Detection", "label": "a", "bounding_box": BOX}
    return {**detection, **values}


def merged(detection, origin="server", **values):
    facts = {"label": detection["label"], "box": tuple(BOX), "attributes": {}, **values}
    return MergedBox(str(detection["_id"]), origin=origin, **facts)


def known(detection, **attributes):
    return KnownBox("label", str(detection["_id"]), None, None, "a", tuple(BOX), attributes, True)


def document(*detections):
    return {"_cls": "Detections", "detections": list(detections)}


def test_an_edit_on_the_server_keeps_everything_else_of_the_label():
    old = stored(tags=["checked"], mask=b"pixels", confidence=math.nan, note={"by": "me"})
    box = merged(old, label="b", box=(0.0, 0.0, 0.5, 0.5))
    written = truth.merged_document({**document(old), "extra": 1}, [box])
    (new,) = written["detections"]
    assert new == {**old, "label": "b", "bounding_box": [0.0, 0.0, 0.5, 0.5]}
    assert written["extra"] == 1
    assert old["label"] == "a"  # what was read is not changed


def test_labels_that_are_no_boxes_stay_where_they_are():
    odd = [stored(bounding_box=b) for b in (None, [0.1], [math.nan, 0, 1, 1], "0 0 1 1")]
    kept, gone = stored(), stored()
    before = document(odd[0], gone, odd[1], kept, odd[2], odd[3])
    ids = [b.id for b in truth.Truth(before, None, None).boxes()]
    assert ids == [str(gone["_id"]), str(kept["_id"])]
    written = truth.merged_document(before, [merged(kept, "local")])
    assert written["detections"] == [odd[0], odd[1], kept, odd[2], odd[3]]


def test_a_box_without_a_label_of_its_id_is_new_and_comes_last():
    old, new = stored(), stored()
    written = truth.merged_document(document(old), [merged(new), merged(old, "local")])
    assert [d["_id"] for d in written["detections"]] == [old["_id"], new["_id"]]
    assert written["detections"][1]["_cls"] == "Detection"
    assert truth.merged_document(None, []) == document()


@pytest.mark.parametrize(
    ("base", "local", "server", "expected"),
    [
        ({}, {}, {"occluded": True}, {"occluded": True}),
        ({"occluded": True}, {"occluded": True}, {}, {}),
        ({"size": "s"}, {"size": "m"}, {"size": "s"}, {"size": "m"}),
        ({"size": "s"}, {"size": "m"}, {"size": "l"}, {"size": "l"}),
        ({"size": "s"}, {"size": "m"}, {}, {"size": "m"}),
        ({"size": "s"}, {}, {"size": "s"}, {}),
    ],
)
def test_an_attribute_follows_whoever_changed_it(base, local, server, expected):
    old = stored(**local)
    boxes = [merged(old, attributes=server)]
    (new,) = truth.merged_document(document(old), boxes, [known(old, **base)])["detections"]
    assert {n: new[n] for n in ("occluded", "size") if n in new} == expected


@pytest.fixture
def dataset(empty):
    empty.add_samples([fo.Sample(filepath=f"/{i}.png") for i in range(5)])
    truth.declare_fields(Loop(empty, Names()))
    return empty


@pytest.fixture
def loop(dataset):
    return Loop(dataset, Names())


def test_labels_with_no_id_or_a_shared_one_are_told_apart(dataset, loop):
    (first, *_) = dataset.values("id")
    twin = stored(label="a")
    raw = document(twin, {**twin, "label": "b"}, {k: v for k, v in stored().items() if k != "_id"})
    dataset._sample_collection.update_one({"_id": ObjectId(first)}, {"$set": {"ground_truth": raw}})
    held = truth.read(loop, "run", [first])[first]
    boxes = held.boxes()
    assert len({box.id for box in boxes}) == 3
    assert boxes[0].id == str(twin["_id"])
    back = truth.merged_document(
        held.document, [MergedBox(b.id, b.label, b.box, {}, "local") for b in boxes]
    )
    assert [d["label"] for d in back["detections"]] == ["a", "b", "a"]


def test_samples_are_counted_by_state_and_by_labels(dataset, loop):
    ids = dataset.values("id")
    states = [SENT, LOADED, REMOVED, None]
    updates = {i: truth.Update(state=s) for i, s in zip(ids, states, strict=False) if s}
    updates[ids[1]] = truth.Update(state=LOADED, document=truth.merged_document(None, []))
    truth.write(loop, "run", updates)
    dataset.delete_samples([ids[4]])
    assert truth.count_states(loop, ids) == dict.fromkeys(states, 1)
    assert truth.count_unlabelled(loop, ids) == 2
    dataset.tag_samples("batch_01")
    loop.write_entry(0, "select_batch", {"batch": "batch_01"})
    dataset.select(ids[3]).tag_samples("excluded")
    assert truth.awaited(loop, "batch_01").values("id") == ids[:2]


def test_a_release_leaves_the_labels_and_other_runs_alone(dataset, loop):
    first, second, *_ = dataset.values("id")
    sample = dataset[first]
    label = truth.merged_document(None, [])
    for run in ("one", "two"):
        update = truth.Update(document=label, base=[], state=SENT, url="http://x")
        truth.write(loop, run, {first: update, second: update})
    truth.release(loop, "one", [first])
    assert sample.unseen_annotation is None  # also in memory
    assert sample.unseen_annotation_url is None
    assert set(dataset[first].unseen_annotation_base) == {"two"}
    assert sample.ground_truth.detections == []
    assert set(dataset[second].unseen_annotation_base) == {"one", "two"}
    assert dataset[second].unseen_annotation == SENT


def test_a_write_marks_the_sample_as_modified_and_fills_an_emptied_field(dataset, loop):
    first = dataset.values("id")[0]
    before = dataset[first].last_modified_at
    truth.write(loop, "run", {first: truth.Update(state=SENT)})
    assert dataset[first].last_modified_at > before
    assert truth.read(loop, "run", [first])[first].base is None
    dataset.clear_sample_field("unseen_annotation_base")
    truth.write(loop, "run", {first: truth.Update(base=[known(stored())])})
    assert len(truth.read(loop, "run", [first])[first].base) == 1


def test_the_fingerprint_changes_with_a_box_and_not_with_a_tag(dataset):
    names, sample = Names(), dataset.first()
    sample.ground_truth = fo.Detections(detections=[fo.Detection(label="a", bounding_box=BOX)])
    sample.save()
    first = truth.fingerprint(dataset, names)
    sample.ground_truth.detections[0].tags = ["checked"]
    sample.save()
    assert truth.fingerprint(dataset, names) == first
    sample.ground_truth.detections[0].label = "b"
    sample.save()
    assert truth.fingerprint(dataset, names) != first
