"""Labels that come back from CVAT: attributes, and the runs, fields and records they go into."""

from __future__ import annotations

import fiftyone as fo
import pytest
from cvat_traces import BOX, SAME_BOX, finish, ranked, truth

import unseen
from unseen.annotation.cvat.api import Api
from unseen.annotation.cvat.credentials import find
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone


def in_project(dataset, *attributes):
    """Send to a project made in CVAT, whose class has attributes of its own."""
    text = {"input_type": "text", "mutable": True, "values": []}
    labels = [
        {"name": "particle", "attributes": [{"name": a, **text} for a in attributes]},
        {"name": "unseen", "attributes": []},
    ]
    Api(find()).make_project("made in CVAT", labels)
    unseen.request_annotations(dataset, project="made in CVAT", classes=("particle",))


def test_attributes_come_back_under_names_that_fiftyone_takes(batch, annotator):
    dataset = batch(1)
    dataset.add_sample_field("ground_truth.detections.size", fo.FloatField)
    values = {"how bad": "very", "how-bad": "too", "label": "x", "1st": "y", "size": "big"}
    values |= {"size!": "bigger"}
    in_project(dataset, *values)
    finish(annotator(), values=values, occluded=True)
    unseen.load_annotations(dataset)
    dataset.reload()
    sample = ranked(dataset).first()
    (box,) = sample.ground_truth.detections
    expected = {"how_bad": "very", "how_bad_2": "too", "cvat_label": "x", "cvat_1st": "y"}
    expected |= {"cvat_size": "big", "cvat_size_2": "bigger"}
    expected |= {"label": "particle", "occluded": True}
    assert {name: box[name] for name in expected} == expected
    assert ranked(dataset).distinct("ground_truth.detections.how_bad") == ["very"]
    sample.save()  # valid as it is
    assert unseen.load_annotations(dataset).written == 0


def test_a_box_that_is_no_longer_occluded_is_not(one):
    dataset, worker = one
    box = finish(worker, occluded=True)
    unseen.load_annotations(dataset)
    assert dataset.distinct("ground_truth.detections.occluded") == [True]
    worker.delete(box)
    worker.draw(0, "particle", BOX)
    unseen.load_annotations(dataset)
    assert dataset.distinct("ground_truth.detections.occluded") == []


# runs, fields and records


def test_nothing_sent_is_an_error_that_says_what_to_do(cvat, batch):
    dataset = batch(2)
    with pytest.raises(unseen.UnseenError, match="request_annotations"):
        unseen.load_annotations(dataset)
    unseen.request_annotations(dataset)
    with pytest.raises(unseen.UnseenError, match=r"'nope'.*unseen_batch_01"):
        unseen.load_annotations(dataset, anno_key="nope")


def test_labels_never_go_into_another_field_than_they_were_sent_from(one):
    dataset, worker = one
    finish(worker)
    hidden = dataset.values("hidden_truth.detections.id")
    for step in (unseen.load_annotations, unseen.undo_annotations):
        with pytest.raises(unseen.UnseenError, match="label_field='ground_truth'"):
            step(dataset, label_field="hidden_truth")
        unseen.load_annotations(dataset)
    assert dataset.values("hidden_truth.detections.id") == hidden


def test_only_changed_labels_are_kept_for_an_undo(batch, annotator):
    dataset = batch(2)
    unseen.request_annotations(dataset, classes=("particle",))
    worker = annotator()
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    worker.move(worker.shapes(0)[0]["id"], [1, 1, 9, 9])
    moved = unseen.load_annotations(dataset)  # the server's boxes changed, and no label
    assert (moved.written, moved.snapshots) == (0, [])
    worker.draw(1, "particle", BOX)
    (key,) = unseen.load_annotations(dataset).snapshots
    written = dataset.get_run_info(key).config.serialize()["written"]
    assert written == [ranked(dataset).values("id")[1]]


def test_late_corrections_do_not_change_what_another_iteration_says(one, annotator):
    dataset, worker = one
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    unseen.request_annotations(dataset, images="test", suggestions=False)
    finish(annotator(1))
    unseen.load_annotations(dataset)
    steps = [Loop(dataset, Names()).entry(n, "load_annotations") for n in (0, 1)]
    assert steps[0] == {}
    assert steps[1]["result"]["closed"] == ["unseen_test"]


def test_a_view_and_a_clone_load_like_the_dataset(one, copy_of):
    dataset, worker = one
    finish(worker)
    clone = copy_of(dataset)
    unseen.load_annotations(clone)
    unseen.undo_annotations(clone)
    unseen.load_annotations(clone.match_tags("test"))
    unseen.load_annotations(dataset.limit(1).select_fields())
    dataset.reload()
    assert truth(clone) == truth(dataset) == [[SAME_BOX]]
