"""The double of CVAT against the recording of a real one, and its own faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cvat_double import CvatDouble
from cvat_replay import SCENARIOS, Replay


@pytest.fixture
def cvat() -> Iterator[CvatDouble]:
    with CvatDouble() as double:
        yield double


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_recorded_scenario_is_answered_alike(cvat, scenario):
    Replay(cvat, scenario).run()


@pytest.fixture
def wafers(make_wafers):
    """Six samples with boxes, in an order that is not the one of their names."""
    dataset = make_wafers(6, labelled=6, test=0)
    return dataset.select(dataset.values("id")[::-1], ordered=True)


def send(cvat: CvatDouble, view, **more) -> int:
    """Send a view through FiftyOne itself; the id of the (first) task."""
    view.annotate(
        "round1",
        backend="cvat",
        label_field="ground_truth",
        classes=["particle", "scratch"],
        url=cvat.url,
        username=cvat.username,
        password=cvat.password,
        **more,
    )
    return min(cvat.tasks)


@pytest.mark.fiftyone
def test_fiftyone_sends_images_and_boxes_in_its_order(cvat, wafers):
    task = cvat.tasks[send(cvat, wafers)]
    assert [frame.name for frame in task.frames] == [
        Path(p).name for p in wafers.values("filepath")
    ]
    sent = {number: 0 for number in range(6)} | Counter(shape["frame"] for shape in task.shapes)
    assert list(sent.values()) == [len(s.ground_truth.detections) for s in wafers]
    upload = next(r for r in cvat.requests if r.files)
    assert [size for _, _, size in upload.files] == [
        Path(p).stat().st_size for p in wafers.values("filepath")
    ]


@pytest.mark.fiftyone
def test_edits_come_back_through_fiftyone(cvat, wafers):
    task = cvat.tasks[send(cvat, wafers, segment_size=4, job_assignees=["nobody"])]
    before = {s.id: {d.id: d for d in s.ground_truth.detections} for s in wafers}
    first, second, third, *_ = wafers.values("id")
    job = min(cvat.jobs)
    person = cvat.annotator(job)
    moved = person.shapes(frame=0)[0]
    person.move(moved["id"], [6.4, 12.8, 32, 64])
    renamed = person.shapes(frame=1)[0]
    person.relabel(renamed["id"], "scratch")
    for shape in person.shapes(frame=2):
        person.delete(shape["id"])
    new = person.draw(2, "particle", [0, 0, 16, 32])
    person.set(state="completed", stage="acceptance")
    assert task.status == "annotation"  # the other job is not done
    dataset = wafers._dataset
    dataset.load_annotations("round1", unexpected="ignore")
    assert new is not None
    found = dataset[first].ground_truth.detections
    box = next(d.bounding_box for d in found if d.id == moved["values"]["label_id"])
    assert box == pytest.approx([0.1, 0.2, 0.4, 0.8])
    labels = {d.id: d.label for d in dataset[second].ground_truth.detections}
    assert labels[renamed["values"]["label_id"]] == "scratch"
    assert labels.keys() == before[second].keys()
    (drawn,) = dataset[third].ground_truth.detections
    assert drawn.id not in before[third]
    assert drawn.bounding_box == pytest.approx([0, 0, 0.25, 0.5])


@pytest.mark.fiftyone
@pytest.mark.parametrize("version", ["2.15.0", "2.31.0"])
def test_fiftyone_waits_for_late_jobs_and_cleans_up(version, wafers):
    with CvatDouble(version) as cvat:
        cvat.job_delay = 1
        send(cvat, wafers)
        wafers._dataset.load_annotations("round1", unexpected="ignore", cleanup=True)
        assert cvat.tasks == {}


@pytest.mark.fiftyone
def test_fiftyone_works_over_tls_with_a_project_and_an_organization(wafers):
    with CvatDouble(tls=True) as cvat:
        cvat.add_organization("fab", members=[cvat.username])
        task = cvat.tasks[send(cvat, wafers, project_name="wafers", organization="fab")]
        assert [project.name for project in cvat.projects.values()] == ["wafers"]
        assert task.project is cvat.projects[1]
        assert task.organization == 1
        wafers._dataset.load_annotations("round1", unexpected="ignore")
