"""Golden images and second opinions are compared, and never become labels."""

from __future__ import annotations

import fiftyone as fo
import pytest
from cvat_traces import ranked

import unseen
from unseen.annotation import sendings
from unseen.annotation.agreement import read_agreement
from unseen.dataset import writing
from unseen.dataset.loop import Loop
from unseen.errors import AnnotationError, ConfigError, ServerError

pytestmark = pytest.mark.fiftyone

CLASSES = ("particle", "scratch")


def asked_again(dataset, kind):
    """(task, frame, sample id) of the images that are shown for comparison."""
    (sending,) = [s for s in sendings.read_sendings(Loop(dataset)) if s.images == "batch"]
    return [
        (task, int(n), task.sample_ids[int(n)])
        for task in sending.tasks
        for n, repeat in task.repeats.items()
        if repeat["kind"] == kind
    ]


def labels_of(dataset, sample_id):
    found = dataset[sample_id].ground_truth
    return None if found is None else [(d.label, d.bounding_box) for d in found.detections]


def draw_as_labelled(dataset, person, frame, sample_id):
    for label, (x, y, w, h) in labels_of(dataset, sample_id):
        person.draw(frame, label, [64 * v for v in (x, y, x + w, y + h)])


def test_golden_images_are_mixed_in_and_compared_and_their_labels_stay(cvat, batch):
    cvat.add_user("ann")
    dataset = batch(4)
    test = dataset.match_tags("test")
    before = {i: labels_of(dataset, i) for i in test.values("id")}
    result = unseen.request_annotations(
        dataset, classes=CLASSES, golden=0.5, task_size=2, assignees=("ann",), suggestions=False
    )
    assert (result.sent, result.golden, result.images) == (4, 2, 4)
    assert [t["images"] for t in result.tasks] == [2, 2]
    golden = asked_again(dataset, "golden")
    assert sorted(i for _, _, i in golden) == sorted(before)
    assert [len(task.frames) for task in cvat.tasks.values()] == [3, 3]
    # One is labelled like the truth, in the other somebody sees a scratch that is not there.
    (task, frame, exact), (other, at, wrong) = golden
    person, second = cvat.annotator(task.jobs[0]), cvat.annotator(other.jobs[0])
    assert (person.shapes(), person.job.frames.start) == ([], 0)  # without its labels
    draw_as_labelled(dataset, person, frame, exact)
    second.draw(at, "scratch", [1, 1, 5, 5])
    for each in (person, second):
        each.set(state="completed")
    loaded = unseen.load_annotations(dataset)
    assert (loaded.empty, loaded.added, loaded.closed) == (4, {}, ["unseen_batch_01"])
    dataset.reload()
    assert {i: labels_of(dataset, i) for i in before} == before
    assert set(test.values("unseen_annotation")) == {None}
    # Every box of the exact one agrees, every box of the other one is missed.
    rows = read_agreement(Loop(dataset))
    assert {(r.annotator, r.compared_with) for r in rows} == {("ann", "golden")}
    assert sum(r.agreed for r in rows) == len(before[exact])
    assert sum(r.missed for r in rows) == len(before[wrong])
    assert {r.label: r.extra for r in rows}["scratch"] == 1
    status = unseen.list_annotations(dataset)
    assert [b.images for b in status.batches] == [4]
    assert [j.images for t in status.batches[0].tasks for j in t.jobs] == [2, 2]
    assert "ann, golden images" in status.summary()
    unseen.rename_classes(dataset, rename=("particle=dust",))
    renamed = {r.label: (r.agreed, r.missed, r.extra) for r in read_agreement(Loop(dataset))}
    assert renamed == {
        r.label.replace("particle", "dust"): (r.agreed, r.missed, r.extra) for r in rows
    }


def test_a_second_person_gets_the_images_with_rare_classes(cvat, batch):
    for name in ("ann", "bob"):
        cvat.add_user(name)
    dataset = batch(6)
    loop = Loop(dataset)
    loop.write_entry(0, "train_unet", {"parameters": {}, "classes": ["particle", "scratch"]})
    images = ranked(dataset)
    writing.declare(loop, loop.names.expected_counts, fo.ListField, "expected")
    rare = images.values("id")[4]
    for i in images.values("id"):
        sample = dataset[i]
        sample[loop.names.expected_counts] = [0.1, 0.1, 2.0 if i == rare else 0.0]
        sample.save()
    result = unseen.request_annotations(
        dataset, classes=CLASSES, second_opinions=0.2, task_size=2, assignees=("ann", "bob")
    )
    assert (result.sent, result.second_opinions) == (6, 1)
    ((task, frame, again),) = asked_again(dataset, "second")
    assert again == rare
    first = next(j for j in cvat.jobs.values() if j.id == first_job(dataset, rare))
    other = cvat.jobs[task.jobs[0]]
    assert {first.assignee.username, other.assignee.username} == {"ann", "bob"}
    # The second answer comes first: nothing to compare with yet, and no label.
    cvat.annotator(other.id).draw(frame, "particle", [8, 8, 24, 24])
    cvat.annotator(other.id).set(state="completed")
    unseen.load_annotations(dataset)
    assert labels_of(dataset, rare) is None
    assert read_agreement(loop) == []
    place = int(dataset[rare].unseen_annotation_url.rpartition("=")[2])
    cvat.annotator(first.id).draw(place, "particle", [9, 8, 24, 24])
    cvat.annotator(first.id).set(state="completed")
    unseen.load_annotations(dataset)
    dataset.reload()
    assert [label for label, _ in labels_of(dataset, rare)] == ["particle"]
    (row,) = read_agreement(loop)
    wanted = (other.assignee.username, "second", "particle", 1, 1.0)
    assert (row.annotator, row.compared_with, row.label, row.agreed, row.share) == wanted


def first_job(dataset, sample_id):
    return int(dataset[sample_id].unseen_annotation_url.split("/jobs/")[1].partition("?")[0])


@pytest.mark.parametrize(
    ("images", "task_size", "tasks"), [(2, 1, 2), (3, 1, 3), (5, 1, 5), (3, 100, 2)]
)
def test_nobody_is_their_own_second_person(cvat, batch, images, task_size, tasks):
    for name in ("ann", "bob"):
        cvat.add_user(name)
    dataset = batch(images)
    people = {"second_opinions": 1.0, "assignees": ("ann", "bob")}
    unseen.request_annotations(dataset, classes=CLASSES, task_size=task_size, **people)
    assert len(cvat.tasks) == tasks
    again = asked_again(dataset, "second")
    assert sorted(i for _, _, i in again) == sorted(ranked(dataset).values("id"))
    for task, _, sample_id in again:
        people = [
            cvat.jobs[n].assignee.username for n in (task.jobs[0], first_job(dataset, sample_id))
        ]
        assert sorted(people) == ["ann", "bob"]


def test_a_request_that_failed_goes_on_without_showing_golden_images_twice(cvat, batch):
    dataset = batch(4)
    cvat.fail("POST", "/api/tasks/2/data", status=403)
    options = {"classes": CLASSES, "golden": 0.5, "task_size": 2}
    with pytest.raises(ServerError, match="of this run 2 of 4 images were sent"):
        unseen.request_annotations(dataset, **options)
    assert unseen.request_annotations(dataset, **options).sent == 2
    golden = [i for _, _, i in asked_again(dataset, "golden")]
    assert len(golden) == len(set(golden)) == 2
    assert len(cvat.tasks) == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"golden": 0.1, "images": "test"}, ConfigError, "come from the test split"),
        ({"second_opinions": 0.1}, ConfigError, "needs two people"),
        (
            {"second_opinions": 0.1, "assignees": ("a", "b"), "segment_size": 2},
            ConfigError,
            "task_size= instead of segment_size=",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_first(cvat, batch, options, error, message):
    with pytest.raises(error, match=message):
        unseen.request_annotations(batch(3), **options)
    assert cvat.tasks == {}


def test_golden_images_need_a_labelled_test_split(cvat, batch):
    dataset = batch(2)
    dataset.match_tags("test").set_field("ground_truth", None).save()
    with pytest.raises(AnnotationError, match=r"no image of the test split .* is labelled"):
        unseen.request_annotations(dataset, classes=CLASSES, golden=0.1, dry_run=True)
