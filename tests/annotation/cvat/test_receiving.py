"""Labels coming back from a CVAT double: what is merged, what waits, and what is said about it."""

from __future__ import annotations

import fiftyone as fo
import pytest

import unseen
from unseen.dataset.loop import Loop

pytestmark = pytest.mark.fiftyone

SIZE = 64


def truth(dataset):
    """Boxes per image of the batch in rank order: None, or a sorted list of (class, px box)."""
    view = dataset.match_tags("batch_01").sort_by("unseen_rank")
    found = view.values("ground_truth.detections")
    return [
        None
        if boxes is None
        else sorted((b.label, [round(v * SIZE, 3) for v in b.bounding_box]) for b in boxes)
        for boxes in found
    ]


def ids(dataset):
    view = dataset.match_tags("batch_01").sort_by("unseen_rank")
    return view.values("ground_truth.detections.id")


@pytest.fixture
def sent(cvat, batch):
    """A batch of six images with suggestions in one task of three jobs."""
    dataset = batch(6)
    unseen.request_annotations(dataset, segment_size=2, classes=("particle", "scratch"))
    return dataset


def annotator(cvat, position):
    """Who works in the job that holds the images number 2 * position and the next."""
    jobs = sorted(cvat.jobs.values(), key=lambda job: (job.task.id, job.start_frame))
    return cvat.annotator(jobs[position].id)


def test_boxes_of_finished_jobs_become_labels_and_all_others_wait(cvat, sent):
    first, second = annotator(cvat, 0), annotator(cvat, 1)
    first.draw(0, "particle", [8, 16, 24, 40])
    first.set(state="completed")
    second.draw(2, "scratch", [1, 2, 3, 4])
    second.set(state="in progress")
    result = unseen.load_annotations(sent)
    assert truth(sent) == [[("particle", [8, 16, 16, 24])], [], None, None, None, None]
    assert (result.jobs_loaded, result.jobs_waiting) == (1, 2)
    assert (result.labelled, result.empty, result.unopened) == (1, 1, 4)
    assert result.added == {"particle": 1}


def test_an_image_is_a_negative_only_once_its_job_is_finished(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="in progress")
    result = unseen.load_annotations(sent, jobs="all")
    assert truth(sent)[:2] == [[("particle", [8, 16, 16, 24])], None]
    assert (result.labelled, result.empty, result.unopened) == (1, 0, 5)
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert truth(sent)[:2] == [[("particle", [8, 16, 16, 24])], []]
    assert result.empty == 1


@pytest.mark.parametrize(
    ("stage", "state", "wanted", "finished"),
    [
        ("annotation", "completed", "annotation", True),
        ("annotation", "rejected", "annotation", False),
        ("annotation", "completed", "validation", False),
        ("validation", "new", "annotation", True),
        ("validation", "completed", "validation", True),
        ("validation", "in progress", "validation", False),
        ("acceptance", "new", "validation", True),
        ("acceptance", "new", "acceptance", False),
        ("acceptance", "completed", "acceptance", True),
    ],
)
def test_a_later_stage_means_that_the_earlier_ones_are_finished(stage, state, wanted, finished):
    from unseen.annotation.status import is_finished

    assert is_finished({"stage": stage, "state": state}, wanted) is finished


def test_loading_twice_is_loading_once(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.relabel(worker.shapes(1)[0]["id"], "scratch")
    worker.set(state="completed")
    unseen.load_annotations(sent)
    before = raw(sent)
    again = unseen.load_annotations(sent)
    assert raw(sent) == before
    assert again.written == 0
    assert again.snapshots == []
    assert again.added == {}


def untimed(document):
    return {k: v for k, v in document.items() if not k.endswith("_at")}


def raw(dataset):
    """All documents as stored, without the time of the last write."""
    rows = dataset._sample_collection.find({}, {"last_modified_at": 0})
    return {str(row["_id"]): row for row in rows}


def test_a_dry_run_reports_the_same_and_writes_nothing(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    before, runs = raw(sent), sent.list_runs()
    whole = sent._doc.to_dict()
    rehearsed = unseen.load_annotations(sent, dry_run=True)
    sent.reload()
    assert raw(sent) == before
    assert sent.list_runs() == runs
    assert untimed(sent._doc.to_dict()) == untimed(whole)
    result = unseen.load_annotations(sent)
    told = ("added", "changed", "deleted", "labelled", "empty", "unopened", "written")
    assert {k: getattr(rehearsed, k) for k in told} == {k: getattr(result, k) for k in told}


def test_a_suggestion_is_no_label_until_somebody_gives_it_a_class(cvat, sent):
    worker = annotator(cvat, 0)
    suggestion, rejected = sorted(worker.shapes(0), key=lambda shape: shape["points"])
    worker.relabel(suggestion["id"], "scratch")
    worker.delete(rejected["id"])
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert [label for label, _ in truth(sent)[0]] == ["scratch"]
    assert truth(sent)[1] == []
    assert result.suggestions_accepted == {"scratch": 1}
    assert (result.suggestions_left, result.suggestions_rejected) == (2, 1)
    (label_id,) = ids(sent)[0]
    suggested = sent.values("unseen_regions.detections.id", unwind=True)
    assert label_id not in suggested
    assert len(suggested) == 2 * len(sent.exists("unseen_regions"))  # the field is as it was


def test_edits_after_a_load_change_the_same_label(cvat, sent):
    worker = annotator(cvat, 0)
    moved = worker.draw(0, "particle", [8, 16, 24, 40])
    gone = worker.draw(0, "scratch", [40, 40, 60, 44])
    worker.set(state="completed")
    unseen.load_annotations(sent)
    before = dict(zip([b[0] for b in truth_with_ids(sent)], truth_with_ids(sent), strict=True))
    worker.move(moved, [8, 16, 32, 40])
    worker.delete(gone)
    result = unseen.load_annotations(sent)
    after = truth_with_ids(sent)
    assert [b[0] for b in after] == ["particle"]
    assert after[0][1] == before["particle"][1]  # the id
    assert truth(sent)[0] == [("particle", [8, 16, 24, 24])]
    assert (result.changed, result.deleted) == ({"particle": 1}, {"scratch": 1})


def truth_with_ids(dataset):
    sample = dataset.match_tags("batch_01").sort_by("unseen_rank").first()
    return sorted((d.label, d.id) for d in sample.ground_truth.detections)


def test_edits_made_in_fiftyone_meanwhile_stay(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    other = worker.draw(0, "scratch", [40, 40, 60, 44])
    worker.set(state="completed")
    unseen.load_annotations(sent)
    sample = sent.match_tags("batch_01").sort_by("unseen_rank").first()
    own = fo.Detection(label="particle", bounding_box=[0.5, 0.5, 0.1, 0.1])
    sample.ground_truth.detections[0].tags = ["checked"]
    sample.ground_truth.detections.append(own)
    sample.save()
    worker.move(other, [40, 40, 62, 44])
    unseen.load_annotations(sent)
    sample.reload()
    found = {d.id: d for d in sample.ground_truth.detections}
    assert own.id in found
    assert [d.tags for d in found.values() if d.label == "particle" and d.id != own.id] == [
        ["checked"]
    ]
    assert [d.bounding_box[2] * SIZE for d in found.values() if d.label == "scratch"] == [22]


def test_a_copy_made_in_cvat_is_a_label_of_its_own(cvat, sent):
    worker = annotator(cvat, 0)
    drawn = worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(sent)
    suggestion = worker.shapes(0)[0]
    worker.copy(suggestion["id"], 1)
    worker.relabel(worker.shapes(1)[-1]["id"], "scratch")
    worker.copy(drawn, 1)
    unseen.load_annotations(sent)
    everything = [i for found in ids(sent) if found for i in found]
    assert len(everything) == len(set(everything))
    assert {label for label, _ in truth(sent)[1]} >= {"particle"}


def test_shapes_that_are_no_boxes_become_boxes_and_are_counted(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 8, 24, 8, 16, 24], type="polygon")
    worker.draw(0, "particle", [32, 32, 40, 28], type="ellipse")
    worker.draw(0, "scratch", [-10, 60, 20, 80])
    worker.draw(1, "scratch", [100, 100, 120, 120])
    worker.tag(1, "particle")
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert truth(sent)[0] == [
        ("particle", [8, 8, 16, 16]),
        ("particle", [24, 28, 16, 8]),
        ("scratch", [0, 60, 20, 4]),
    ]
    assert truth(sent)[1] == []
    assert sum(result.oddities.values()) == 5
    assert any("polygon" in kind for kind in result.oddities)
    assert all("/jobs/" in line and "frame=" in line for line in result.examples)


def test_a_class_that_was_not_sent_is_refused_or_added_by_choice(cvat, sent):
    task = min(cvat.tasks)
    cvat.add_label(task, "crack")
    worker = annotator(cvat, 0)
    worker.draw(0, "crack", [8, 16, 24, 40])
    worker.draw(0, "particle", [30, 30, 36, 36])
    worker.draw(1, "particle", [30, 30, 36, 36])
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert truth(sent)[0] is None  # as it was: nothing of the image is taken
    assert len(truth(sent)[1]) == 1
    assert (result.refused, result.new_classes) == (1, {"crack": 1})
    assert "new_classes='add'" in result.summary()
    result = unseen.load_annotations(sent, new_classes="add")
    assert [label for label, _ in truth(sent)[0]] == ["crack", "particle"]
    assert result.refused == 0
    later = unseen.load_annotations(sent)  # known from now on
    assert later.new_classes == {}


def test_reserved_names_are_refused_even_when_classes_are_added(cvat, sent):
    cvat.add_label(min(cvat.tasks), "Background")
    worker = annotator(cvat, 0)
    worker.draw(0, "Background", [8, 16, 24, 40])
    worker.set(state="completed")
    result = unseen.load_annotations(sent, new_classes="add")
    assert truth(sent)[0] is None
    assert result.refused == 1
    assert any("Background" in note for note in result.notes)


def test_a_label_that_was_renamed_keeps_its_class(cvat, sent):
    cvat.rename_label(min(cvat.tasks), "particle", "Particles (new)")
    worker = annotator(cvat, 0)
    worker.draw(0, "Particles (new)", [8, 16, 24, 40])
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert [label for label, _ in truth(sent)[0]] == ["particle"]
    assert any("Particles (new)" in note for note in result.notes)


def test_a_label_deleted_on_the_server_deletes_no_box_here(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.draw(0, "scratch", [40, 40, 60, 44])
    worker.set(state="completed")
    unseen.load_annotations(sent)
    before = truth(sent)
    cvat.delete_label(min(cvat.tasks), "particle")
    result = unseen.load_annotations(sent)
    assert truth(sent) == before
    assert result.deleted == {}
    assert any("particle" in note and "deleted" in note for note in result.notes)


def test_images_removed_in_cvat_stay_unlabelled_and_leave_the_pool(cvat, sent):
    worker = annotator(cvat, 0)
    worker.delete_frame(1)
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert result.removed == 1
    assert truth(sent)[:2] == [[], None]
    removed = sent.match_tags("batch_01").sort_by("unseen_rank").values("id")[1]
    assert sent[removed].unseen_annotation == "removed"
    from unseen.dataset.fields import Names

    assert removed not in Loop(sent, Names()).pool.values("id")


def test_images_that_annotators_have_are_not_chosen_again(cvat, batch):
    dataset = batch(3, pool=2)
    unseen.request_annotations(dataset)
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="in progress")
    unseen.load_annotations(dataset, jobs="all")
    out = set(dataset.match_tags("batch_01").values("id"))
    following = unseen.select_batch(dataset, budget=2, strategy="random")
    assert not out & set(following.sample_ids)
    assert following.pool == 2


def test_a_track_is_taken_at_its_key_frames_only(cvat, sent):
    worker = annotator(cvat, 0)
    worker.track("particle", {0: [8, 16, 24, 40]})
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert truth(sent)[:2] == [[("particle", [8, 16, 16, 24])], []]
    assert any("track" in kind for kind in result.oddities)


def test_attributes_come_back_under_names_that_fiftyone_takes(cvat, batch):
    dataset = batch(1)
    project = cvat_project(cvat, dataset)
    unseen.request_annotations(dataset, project=project, classes=("particle",))
    worker = annotator(cvat, 0)
    worker.draw(
        0, "particle", [8, 16, 24, 40], values={"how bad": "very", "label": "x"}, occluded=True
    )
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    (box,) = dataset.match_tags("batch_01").first().ground_truth.detections
    assert (box.label, box["how_bad"], box["cvat_label"], box["occluded"]) == (
        "particle",
        "very",
        "x",
        True,
    )
    assert dataset.match_tags("batch_01").distinct("ground_truth.detections.how_bad") == ["very"]


def cvat_project(cvat, dataset, *attributes):
    """A project made in CVAT, whose labels have attributes of their own."""
    from unseen.annotation.cvat.api import Api
    from unseen.annotation.cvat.credentials import find

    def text(name):
        return {"name": name, "input_type": "text", "mutable": True, "values": []}

    labels = [
        {"name": "particle", "attributes": [text(a) for a in attributes or ("how bad", "label")]},
        {"name": "unseen", "attributes": []},
    ]
    Api(find()).make_project("made in CVAT", labels)
    return "made in CVAT"


def test_the_run_is_closed_once_everything_is_back(cvat, sent):
    for position in range(3):
        annotator(cvat, position).set(state="completed")
    result = unseen.load_annotations(sent)
    assert result.closed == ["unseen_batch_01"]
    assert (result.labelled, result.empty) == (0, 6)
    assert set(sent.match_tags("batch_01").values("unseen_annotation")) == {"loaded"}
    late = annotator(cvat, 2)
    late.draw(5, "particle", [8, 16, 24, 40])
    corrected = unseen.load_annotations(sent)  # a correction after the end is not lost
    assert corrected.jobs_loaded == 1
    assert corrected.added == {"particle": 1}


def test_nothing_sent_is_an_error_that_says_what_to_do(cvat, batch):
    dataset = batch(2)
    with pytest.raises(unseen.UnseenError, match="request_annotations"):
        unseen.load_annotations(dataset)
    unseen.request_annotations(dataset)
    with pytest.raises(unseen.UnseenError, match=r"'nope'.*unseen_batch_01"):
        unseen.load_annotations(dataset, anno_key="nope")


def test_samples_deleted_from_the_dataset_are_left_out(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.draw(1, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    gone = sent.match_tags("batch_01").sort_by("unseen_rank").values("id")[0]
    sent.delete_samples([gone])
    result = unseen.load_annotations(sent)
    assert result.added == {"particle": 1}
    assert any("deleted from the dataset" in note for note in result.notes)


def test_a_class_refused_in_a_correction_waits_until_it_is_wanted(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    cvat.add_label(min(cvat.tasks), "crack")
    cvat.add_label(min(cvat.tasks), "background")
    worker = annotator(cvat, 0)
    worker.set(state="completed")
    assert unseen.load_annotations(dataset).closed == ["unseen_batch_01"]
    crack = worker.draw(0, "crack", [8, 16, 24, 40])
    assert unseen.load_annotations(dataset).refused == 1
    assert unseen.list_annotations(dataset).batches[0].waiting
    reserved = worker.draw(0, "background", [8, 16, 24, 40])
    assert unseen.load_annotations(dataset, new_classes="add").refused == 1
    assert unseen.load_annotations(dataset, new_classes="add").refused == 1  # also later
    worker.delete(reserved)
    dataset.classes["ground_truth"] = ["particle"]
    dataset.save()
    assert unseen.load_annotations(dataset, new_classes="add", dry_run=True).added == {"crack": 1}
    assert unseen.load_annotations(dataset).refused == 1  # a rehearsal takes no class
    assert unseen.load_annotations(dataset, new_classes="add").added == {"crack": 1}
    assert not unseen.list_annotations(dataset).batches[0].waiting
    dataset.reload()
    assert dataset.classes["ground_truth"] == ["particle", "crack"]
    worker.delete(crack)
    assert unseen.load_annotations(dataset).deleted == {"crack": 1}


def test_a_new_class_joins_the_default_classes_where_those_are_what_is_kept(cvat, batch):
    dataset = batch(1)
    dataset.default_classes = ["particle"]
    dataset.save()
    unseen.request_annotations(dataset)
    cvat.add_label(min(cvat.tasks), "$crack.1")
    worker = annotator(cvat, 0)
    worker.draw(0, "$crack.1", [8, 16, 24, 40])
    worker.set(state="completed")
    assert unseen.load_annotations(dataset, new_classes="add").added == {"$crack.1": 1}
    dataset.reload()
    assert dataset.default_classes == ["particle", "$crack.1"]
    assert dataset.classes == {}


def test_labels_never_go_into_another_field_than_they_were_sent_from(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    annotator(cvat, 0).set(state="completed")
    with pytest.raises(unseen.UnseenError, match="label_field='ground_truth'"):
        unseen.load_annotations(dataset, label_field="hidden_truth")
    unseen.load_annotations(dataset)
    hidden = dataset.values("hidden_truth.detections.id")
    with pytest.raises(unseen.UnseenError, match="label_field='ground_truth'"):
        unseen.undo_annotations(dataset, label_field="hidden_truth")
    assert dataset.values("hidden_truth.detections.id") == hidden


def test_a_label_field_that_was_deleted_is_made_again(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    dataset.delete_sample_field("ground_truth")
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    assert truth(dataset) == [[("particle", [8, 16, 16, 24])]]


def test_a_box_that_is_no_longer_occluded_is_not(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    worker = annotator(cvat, 0)
    box = worker.draw(0, "particle", [8, 16, 24, 40], occluded=True)
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    assert dataset.distinct("ground_truth.detections.occluded") == [True]
    worker.delete(box)
    worker.draw(0, "particle", [8, 16, 24, 40])
    unseen.load_annotations(dataset)
    assert dataset.distinct("ground_truth.detections.occluded") == []


def test_attributes_keep_out_of_fields_of_another_type(cvat, batch):
    import fiftyone as fo

    dataset = batch(1)
    dataset.add_sample_field("ground_truth.detections.how_bad", fo.FloatField)
    project = cvat_project(cvat, dataset, "how bad", "how-bad", "1st")
    unseen.request_annotations(dataset, project=project, classes=("particle",))
    worker = annotator(cvat, 0)
    values = {"how bad": "very", "how-bad": "too", "1st": "x"}
    worker.draw(0, "particle", [8, 16, 24, 40], values=values)
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    dataset.reload()
    sample = dataset.match_tags("batch_01").first()
    (box,) = sample.ground_truth.detections
    assert (box["cvat_how_bad"], box["cvat_how_bad_2"], box["cvat_1st"]) == ("very", "too", "x")
    sample.save()  # valid as it is
    assert unseen.load_annotations(dataset).written == 0


def test_a_removed_image_with_labels_does_not_keep_the_run_open(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, images="test", suggestions=False)
    before = dataset.match_tags("test").values("ground_truth.detections.id")
    worker = annotator(cvat, 0)
    worker.delete_frame(0)
    unseen.load_annotations(dataset, jobs="all")
    assert dataset.match_tags("test").values("unseen_annotation") == ["sent", "sent"]
    worker.set(state="completed")
    result = unseen.load_annotations(dataset)
    assert (result.removed, result.closed, result.snapshots) == (1, ["unseen_test"], [])
    test = dataset.match_tags("test").sort_by("filepath")
    assert test.values("unseen_annotation") == ["removed", "loaded"]
    assert dataset.match_tags("test").values("ground_truth.detections.id") == before


def test_a_removed_image_that_is_back_can_be_labelled(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    worker = annotator(cvat, 0)
    worker.delete_frame(0)
    unseen.load_annotations(dataset, jobs="all")
    assert dataset.match_tags("batch_01").values("unseen_annotation") == ["removed"]
    worker.job.task.deleted_frames = []
    worker.set(state="in progress")
    worker.draw(0, "particle", [8, 16, 24, 40])
    unseen.load_annotations(dataset, jobs="all")
    assert dataset.match_tags("batch_01").values("unseen_annotation") == ["sent"]
    worker.set(state="completed")
    assert unseen.load_annotations(dataset).closed == ["unseen_batch_01"]


def test_only_changed_labels_are_kept_for_an_undo(cvat, batch):
    dataset = batch(2)
    unseen.request_annotations(dataset, classes=("particle",))
    worker = annotator(cvat, 0)
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    suggestion = worker.shapes(0)[0]["id"]
    worker.move(suggestion, [1, 1, 9, 9])
    moved = unseen.load_annotations(dataset)  # the server's boxes changed, and no label
    assert (moved.written, moved.snapshots) == (0, [])
    worker.draw(1, "particle", [8, 16, 24, 40])
    (key,) = unseen.load_annotations(dataset).snapshots
    written = dataset.get_run_info(key).config.serialize()["written"]
    assert written == [dataset.match_tags("batch_01").sort_by("unseen_rank").values("id")[1]]


def test_late_corrections_do_not_change_what_another_iteration_says(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    annotator(cvat, 0).set(state="completed")
    unseen.load_annotations(dataset)
    unseen.request_annotations(dataset, images="test", suggestions=False)
    worker = annotator(cvat, 1)
    worker.draw(0, "particle", [1, 1, 9, 9])
    worker.set(state="completed")
    unseen.load_annotations(dataset)
    assert not dataset.has_run("unseen_iter_00") or (
        "load_annotations" not in dataset.get_run_info("unseen_iter_00").config.serialize()["steps"]
    )
    record = dataset.get_run_info("unseen_iter_01").config.serialize()
    assert record["steps"]["load_annotations"]["result"]["closed"] == ["unseen_test"]


def test_a_view_and_a_clone_load_like_the_dataset(cvat, batch):
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    worker = annotator(cvat, 0)
    worker.draw(0, "particle", [8, 16, 24, 40])
    worker.set(state="completed")
    clone = dataset.clone()
    try:
        unseen.load_annotations(clone)
        unseen.undo_annotations(clone)
        unseen.load_annotations(clone.match_tags("test"))
        unseen.load_annotations(dataset.limit(1).select_fields())
        dataset.reload()
        assert truth(clone) == truth(dataset) == [[("particle", [8, 16, 16, 24])]]
    finally:
        clone.delete()


def test_an_unknown_stage_means_waiting():
    from unseen.annotation.status import is_finished

    assert not is_finished({"stage": "review", "state": "completed"}, "annotation")


def test_a_load_asks_as_little_as_it_can(cvat, sent):
    for position in range(3):
        annotator(cvat, position).set(state="completed")
    unseen.load_annotations(sent)
    cvat.clear_requests()
    unseen.load_annotations(sent)  # closed: one question for each task
    asked = [r.path for r in cvat.requests if "/auth/" not in r.path]
    assert len([p for p in asked if p.startswith(("/api/tasks", "/api/jobs"))]) == 1
    assert not [p for p in asked if "annotations" in p]


def test_a_box_of_the_suggestions_class_drawn_by_hand_is_told_and_no_label(cvat, sent):
    worker = annotator(cvat, 0)
    worker.draw(0, "unseen", [8, 16, 24, 40])
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert truth(sent)[0] == []
    assert [n for kind, n in result.oddities.items() if "drawn by hand" in kind] == [1]
    assert unseen.load_annotations(sent).oddities == {}
