"""Labels that come back from CVAT: what is merged, what waits, and what the report says."""

from __future__ import annotations

import fiftyone as fo
import pytest
from cvat_fixtures import both_versions
from cvat_traces import BOX, SAME_BOX, SIZE, finish, ranked, state_of, truth

import unseen
from unseen.dataset.fields import Names
from unseen.dataset.loop import Loop

pytestmark = [pytest.mark.fiftyone, both_versions]


@pytest.fixture
def sent(cvat, batch):
    """A batch of six images with suggestions in one task of three jobs."""
    dataset = batch(6)
    unseen.request_annotations(dataset, segment_size=2, classes=("particle", "scratch"))
    return dataset


def test_boxes_of_finished_jobs_become_labels_and_all_others_wait(sent, annotator):
    worker = annotator(0)
    worker.draw(0, "particle", BOX)
    worker.set(state="in progress")
    begun = unseen.load_annotations(sent, jobs="all")
    # An image without boxes is a negative only once its job is finished.
    assert truth(sent) == [[SAME_BOX], *[None] * 5]
    assert (begun.labelled, begun.empty, begun.unopened) == (1, 0, 5)
    worker.set(state="completed")
    annotator(1).draw(2, "scratch", [1, 2, 3, 4])
    annotator(1).set(state="in progress")
    result = unseen.load_annotations(sent)
    assert truth(sent) == [[SAME_BOX], [], *[None] * 4]
    assert (result.jobs_loaded, result.jobs_waiting) == (1, 2)
    assert (result.labelled, result.empty, result.unopened) == (1, 1, 4)
    assert (begun.added, result.added) == ({"particle": 1}, {})


def test_loading_twice_is_loading_once_and_the_end_closes_the_run(cvat, sent, annotator):
    worker = annotator()
    worker.relabel(worker.shapes(1)[0]["id"], "scratch")
    finish(worker)
    unseen.load_annotations(sent)
    before = state_of(sent)["samples"]
    again = unseen.load_annotations(sent)
    assert state_of(sent)["samples"] == before
    assert (again.written, again.snapshots, again.added) == (0, [], {})
    for position in (1, 2):
        annotator(position).set(state="completed")
    last = unseen.load_annotations(sent)
    assert (last.closed, last.labelled, last.empty) == (["unseen_batch_01"], 2, 4)
    assert set(ranked(sent).values("unseen_annotation")) == {"loaded"}
    cvat.clear_requests()
    unseen.load_annotations(sent)  # closed: two questions for each task
    asked = [r.path for r in cvat.requests if r.path.startswith(("/api/tasks", "/api/jobs"))]
    assert [path.partition("?")[0] for path in asked] == ["/api/jobs", "/api/tasks/1/data/meta"]
    annotator(2).draw(5, "particle", BOX)  # a correction after the end is not lost
    corrected = unseen.load_annotations(sent)
    assert (corrected.jobs_loaded, corrected.added) == (1, {"particle": 1})


def test_a_dry_run_reports_the_same_and_writes_nothing(sent, annotator):
    finish(annotator())
    before = state_of(sent)
    rehearsed = unseen.load_annotations(sent, dry_run=True)
    assert state_of(sent) == before
    result = unseen.load_annotations(sent)
    told = ("added", "changed", "deleted", "labelled", "empty", "unopened", "written")
    assert {k: getattr(rehearsed, k) for k in told} == {k: getattr(result, k) for k in told}


def test_a_suggestion_is_no_label_until_somebody_gives_it_a_class(sent, annotator):
    worker = annotator()
    suggestion, rejected = sorted(worker.shapes(0), key=lambda shape: shape["points"])
    worker.relabel(suggestion["id"], "scratch")
    worker.delete(rejected["id"])
    finish(worker, 1, "unseen")  # drawn by hand
    result = unseen.load_annotations(sent)
    assert [[label for label, _ in boxes] for boxes in truth(sent)[:2]] == [["scratch"], []]
    assert result.suggestions_accepted == {"scratch": 1}
    assert (result.suggestions_left, result.suggestions_rejected) == (2, 1)
    assert [n for kind, n in result.oddities.items() if "drawn by hand" in kind] == [1]
    (label,) = ranked(sent).first().ground_truth.detections
    suggested = sent.values("unseen_regions.detections.id", unwind=True)
    assert label.id not in suggested
    assert len(suggested) == 2 * len(sent.exists("unseen_regions"))  # the field is as it was
    assert unseen.load_annotations(sent).oddities == {}


def test_edits_after_a_load_change_the_same_label_and_those_in_fiftyone_stay(sent, annotator):
    worker = annotator()
    moved = worker.draw(0, "scratch", [40, 40, 60, 44])
    gone = worker.draw(0, "scratch", [1, 1, 9, 9])
    finish(worker)
    unseen.load_annotations(sent)
    sample = ranked(sent).first()
    before = {d.id: d for d in sample.ground_truth.detections}
    own = fo.Detection(label="particle", bounding_box=[0.5, 0.5, 0.1, 0.1])
    (particle,) = (d for d in sample.ground_truth.detections if d.label == "particle")
    particle.tags = ["checked"]
    sample.ground_truth.detections.append(own)
    sample.save()
    worker.move(moved, [40, 40, 62, 44])
    worker.delete(gone)
    result = unseen.load_annotations(sent)
    assert (result.changed, result.deleted) == ({"scratch": 1}, {"scratch": 1})
    sample.reload()
    after = {d.id: d for d in sample.ground_truth.detections}
    assert after.pop(own.id).label == "particle"
    assert set(after) < set(before)
    assert after[particle.id].tags == ["checked"]
    assert [d.bounding_box[2] * SIZE for d in after.values() if d.label == "scratch"] == [22]


def test_a_copy_made_in_cvat_is_a_label_of_its_own(sent, annotator):
    worker = annotator()
    drawn = finish(worker)
    unseen.load_annotations(sent)
    suggestion = worker.shapes(0)[0]["id"]
    worker.relabel(worker.copy(suggestion, 1), "scratch")
    worker.copy(drawn, 1)
    unseen.load_annotations(sent)
    assert [[label for label, _ in boxes] for boxes in truth(sent)[:2]] == [
        ["particle"],
        ["particle", "scratch"],
    ]
    assert len(set(ranked(sent).values("ground_truth.detections.id", unwind=True))) == 3


def test_shapes_that_are_no_boxes_become_boxes_and_are_counted(sent, annotator):
    worker = annotator()
    worker.draw(0, "particle", [8, 8, 24, 8, 16, 24], type="polygon")
    worker.draw(0, "particle", [32, 32, 40, 28], type="ellipse")
    worker.draw(0, "scratch", [-10, 60, 20, 80])
    worker.draw(1, "scratch", [100, 100, 120, 120])
    worker.tag(1, "particle")
    worker.track("particle", {0: [40, 0, 48, 8]})  # taken at its key frames only
    worker.set(state="completed")
    result = unseen.load_annotations(sent)
    assert truth(sent)[:2] == [
        [
            ("particle", [8, 8, 16, 16]),
            ("particle", [24, 28, 16, 8]),
            ("particle", [40, 0, 8, 8]),
            ("scratch", [0, 60, 20, 4]),
        ],
        [],
    ]
    assert sum(result.oddities.values()) == 6
    for kind in ("polygon", "track", "tag"):
        assert any(kind in oddity for oddity in result.oddities)
    assert all("/jobs/" in line and "frame=" in line for line in result.examples)


# classes


def test_a_class_that_was_not_sent_is_refused_or_added_by_choice(cvat, sent, annotator):
    cvat.add_label(min(cvat.tasks), "crack")
    worker = annotator()
    worker.draw(0, "crack", BOX)
    worker.draw(0, "particle", [30, 30, 36, 36])
    finish(worker, 1)
    result = unseen.load_annotations(sent)
    assert truth(sent)[0] is None  # as it was: nothing of the image is taken
    assert len(truth(sent)[1]) == 1
    assert (result.refused, result.new_classes) == (1, {"crack": 1})
    assert "new_classes='add'" in result.summary()
    result = unseen.load_annotations(sent, new_classes="add")
    assert [label for label, _ in truth(sent)[0]] == ["crack", "particle"]
    assert result.refused == 0
    assert unseen.load_annotations(sent).new_classes == {}  # known from now on


def test_a_class_refused_in_a_correction_waits_until_it_is_wanted(cvat, one):
    dataset, worker = one
    cvat.add_label(min(cvat.tasks), "crack")
    cvat.add_label(min(cvat.tasks), "Background")
    worker.set(state="completed")
    assert unseen.load_annotations(dataset).closed == ["unseen_batch_01"]
    crack = worker.draw(0, "crack", BOX)
    assert unseen.load_annotations(dataset).refused == 1
    assert unseen.list_annotations(dataset).batches[0].waiting
    reserved = worker.draw(0, "Background", BOX)  # refused even when classes are added
    for _ in range(2):
        refused = unseen.load_annotations(dataset, new_classes="add")
        assert refused.refused == 1
        assert any("Background" in note for note in refused.notes)
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


def test_a_new_class_joins_the_default_classes_where_those_are_what_is_kept(cvat, batch, annotator):
    dataset = batch(1)
    dataset.default_classes = ["particle"]
    dataset.save()
    unseen.request_annotations(dataset)
    cvat.add_label(min(cvat.tasks), "$crack.1")
    finish(annotator(), label="$crack.1")
    assert unseen.load_annotations(dataset, new_classes="add").added == {"$crack.1": 1}
    dataset.reload()
    assert dataset.default_classes == ["particle", "$crack.1"]
    assert dataset.classes == {}


def test_a_label_that_was_renamed_keeps_its_class_and_one_deleted_deletes_no_box(
    cvat, sent, annotator
):
    cvat.rename_label(min(cvat.tasks), "particle", "Particles (new)")
    worker = annotator()
    worker.draw(0, "Particles (new)", BOX)
    finish(worker, label="scratch")
    result = unseen.load_annotations(sent)
    before = truth(sent)
    assert [label for label, _ in before[0]] == ["particle", "scratch"]
    assert any("Particles (new)" in note for note in result.notes)
    cvat.delete_label(min(cvat.tasks), "Particles (new)")
    result = unseen.load_annotations(sent)
    assert truth(sent) == before
    assert result.deleted == {}
    assert any("particle" in note and "deleted" in note for note in result.notes)


# images


def test_removed_images_stay_unlabelled_leave_the_pool_and_can_come_back(sent, annotator):
    worker = annotator()
    worker.delete_frame(1)
    worker.set(state="completed")
    assert unseen.load_annotations(sent).removed == 1
    assert truth(sent)[:2] == [[], None]
    removed = ranked(sent).values("id")[1]
    assert sent[removed].unseen_annotation == "removed"
    assert removed not in Loop(sent, Names()).pool.values("id")
    worker.job.task.deleted_frames = []
    worker.set(state="in progress")
    worker.draw(1, "particle", BOX)
    unseen.load_annotations(sent, jobs="all")
    assert sent[removed].unseen_annotation == "sent"
    for position in range(3):
        annotator(position).set(state="completed")
    assert unseen.load_annotations(sent).closed == ["unseen_batch_01"]


def test_a_removed_image_with_labels_does_not_keep_the_run_open(batch, annotator):
    dataset = batch(1)
    unseen.request_annotations(dataset, images="test", suggestions=False)
    test = dataset.match_tags("test").sort_by("filepath")
    before = test.values("ground_truth.detections.id")
    worker = annotator()
    worker.delete_frame(0)
    unseen.load_annotations(dataset, jobs="all")
    assert test.values("unseen_annotation") == ["sent", "sent"]
    worker.set(state="completed")
    result = unseen.load_annotations(dataset)
    assert (result.removed, result.closed, result.snapshots) == (1, ["unseen_test"], [])
    assert test.values("unseen_annotation") == ["removed", "loaded"]
    assert test.values("ground_truth.detections.id") == before


def test_images_that_annotators_have_are_not_chosen_again(batch, annotator):
    dataset = batch(3, pool=2)
    unseen.request_annotations(dataset)
    worker = annotator()
    worker.draw(0, "particle", BOX)
    worker.set(state="in progress")
    unseen.load_annotations(dataset, jobs="all")
    following = unseen.select_batch(dataset, budget=2, strategy="random")
    assert not set(ranked(dataset).values("id")) & set(following.sample_ids)
    assert following.pool == 2


def test_samples_and_label_fields_that_were_deleted_stop_no_load(sent, annotator):
    worker = annotator()
    worker.draw(0, "particle", BOX)
    finish(worker, 1)
    sent.delete_samples([ranked(sent).first().id])
    sent.delete_sample_field("ground_truth")
    result = unseen.load_annotations(sent)
    assert truth(sent)[0] == [SAME_BOX]
    assert result.added == {"particle": 1}
    assert any("deleted from the dataset" in note for note in result.notes)
