"""The annotator of the double of CVAT changes what CVAT's editor would change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cvat_double import CvatDouble
from cvat_replay import Client

BOX, MOVED = [1.0, 2.0, 30.0, 40.0], [5.0, 6.0, 50.0, 60.0]
ID = "6b02a397603ff14fa6f9befd"


@pytest.fixture
def cvat() -> Iterator[CvatDouble]:
    with CvatDouble() as double:
        yield double


@pytest.fixture
def person(cvat):
    """Somebody at a job of two frames, classes cat and dog."""
    return cvat.annotator(Client(cvat).job())


def seen(cvat: CvatDouble, job_id: int) -> list[dict]:
    return Client(cvat).call("GET", f"/api/jobs/{job_id}/annotations").json()["shapes"]


def test_edits_show_over_http(cvat, person):
    first = person.draw(1, "cat", BOX, rotation=30, values={"label_id": ID})
    second = person.draw(0, "dog", [1, 1, 9, 1, 9, 9], type="polygon", occluded=True)
    person.move(first, MOVED)
    person.delete(second)
    (shape,) = seen(cvat, person.job.id)
    assert (shape["id"], shape["frame"], shape["points"]) == (first, 1, MOVED)
    assert shape["rotation"] == 30.0
    assert [attribute["value"] for attribute in shape["attributes"]] == [ID]


def test_a_copy_carries_the_label_id_along(person):
    number = person.draw(0, "cat", BOX, values={"label_id": ID})
    copied = person.copy(number, frame=1)
    assert copied != number
    person.move(copied, MOVED)
    assert [(s["id"], s["points"], s["values"]["label_id"]) for s in person.shapes()] == [
        (number, BOX, ID),
        (copied, MOVED, ID),
    ]


def test_some_servers_give_edited_shapes_new_ids():
    with CvatDouble(reissue_ids=True) as cvat:
        person = cvat.annotator(Client(cvat).job())
        number = person.draw(0, "cat", BOX)
        moved = person.move(number, MOVED)
        assert moved != number
        assert [shape["id"] for shape in person.shapes()] == [moved]


def test_every_change_bumps_the_dates(cvat, person):
    number = person.draw(0, "cat", BOX)
    changes = [
        lambda: person.move(number, MOVED),
        lambda: person.tag(0, "cat"),
        lambda: person.track("cat", {0: BOX, 1: MOVED}),
        lambda: person.set(state="completed", stage="acceptance"),
        lambda: person.delete(number),
        lambda: person.delete_frame(1),
    ]
    for change in changes:
        before = (person.job.updated_date, person.job.task.updated_date)
        change()
        assert person.job.updated_date > before[0]
        assert person.job.task.updated_date > before[1]


def test_tags_tracks_deleted_frames_and_states_show_over_http(cvat, person):
    person.tag(1, "dog")
    person.track("cat", {0: BOX, 1: MOVED})
    person.delete_frame(1)
    person.set(state="completed", stage="acceptance")
    client, job = Client(cvat), person.job
    found = client.call("GET", f"/api/jobs/{job.id}/annotations").json()
    assert [tag["frame"] for tag in found["tags"]] == [1]
    assert [s["points"] for s in found["tracks"][0]["shapes"]] == [BOX, MOVED]
    meta = client.call("GET", f"/api/tasks/{job.task.id}/data/meta").json()
    assert meta["deleted_frames"] == [1]
    assert client.call("GET", f"/api/tasks/{job.task.id}").json()["status"] == "completed"
    completed = client.call("GET", "/api/jobs?state=completed&stage=acceptance").json()
    assert completed["count"] == 1


def test_frames_of_other_jobs_are_out_of_reach(cvat):
    newest = Client(cvat).job(names=["a.jpg", "b.jpg", "c.jpg"], segment_size=2)
    person = cvat.annotator(newest)
    assert list(person.job.frames) == [2]
    with pytest.raises(ValueError, match="frame 0 is outside of job"):
        person.draw(0, "cat", BOX)


def test_skeletons_masks_and_cuboids_are_kept(cvat, person):
    task = person.job.task
    sub = {"name": "tail", "attributes": [], "type": "points"}
    skeleton = {"name": "bones", "type": "skeleton", "attributes": [], "sublabels": [sub]}
    client = Client(cvat)
    client.call("PATCH", f"/api/tasks/{task.id}", json={"labels": [skeleton]})
    bones = task.label("bones")
    element = {"type": "points", "label_id": bones.sublabels[0].id, "points": [3, 4], "frame": 0}
    person.draw(0, "bones", [], type="skeleton", elements=[element])
    person.draw(0, "cat", [0, 4, 4, 0, 0, 2, 1], type="mask")
    person.draw(0, "cat", list(range(16)), type="cuboid")
    shapes = {shape["type"]: shape for shape in seen(cvat, person.job.id)}
    assert set(shapes) == {"skeleton", "mask", "cuboid"}
    assert shapes["skeleton"]["elements"][0]["points"] == [3.0, 4.0]
