"""How long people worked, where the server's analytics tell: per batch, image and box."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cvat_fixtures import running

import unseen
from unseen.annotation import sendings
from unseen.annotation.working_time import worked
from unseen.dataset.loop import Loop
from unseen.loop import overview
from unseen.loop.curves import IterationSummary
from unseen.loop.people import with_hours

pytestmark = pytest.mark.fiftyone

POINT = IterationSummary(
    series="", strategy="mixed", iteration=0, images=4, boxes=6, class_counts={}
)


def labelled(cvat, batch, boxes=3):
    """A batch of four images in two tasks, with boxes in the first of each."""
    dataset = batch(4)
    unseen.request_annotations(dataset, classes=("particle",), task_size=2)
    for number in list(cvat.jobs):
        for n in range(boxes):
            cvat.annotator(number).draw(0, "particle", [4 * n, 8, 4 * n + 3, 16])
        cvat.annotator(number).set(state="completed")
    return dataset


@pytest.mark.parametrize("version", ["2.15.0", "2.54.1"])
def test_the_time_comes_with_the_labels(monkeypatch, quick, batch, version):
    with running(monkeypatch, version) as cvat:
        cvat.worked = {1: 60.0, 2: 120.0}
        dataset = labelled(cvat, batch)
        unseen.load_annotations(dataset)
        (status,) = unseen.list_annotations(dataset).batches
        assert (status.seconds, status.seconds_per_image, status.seconds_per_box) == (180, 45, 30)
        # Nothing has changed: the server is not asked again. People go on: it is.
        cvat.clear_requests()
        unseen.load_annotations(dataset)
        assert not [r for r in cvat.requests if "/events" in r.path]
        cvat.worked[1] = 90.0
        cvat.annotator(1).draw(1, "particle", [1, 1, 9, 9])
        unseen.load_annotations(dataset)
        summary = unseen.list_annotations(dataset).summary()
        assert "0.1 h of work, 52 s per image, 30 s per box" in summary
        known = with_hours(Loop(dataset), [POINT, replace(POINT, iteration=1)])
        assert [p.hours for p in known] == [0.0, 210 / 3600]
        said = overview.progress(dataset).people
        assert said == ["0.1 hours of labelling are known: 52 s per image, 30 s per box."]


@pytest.mark.parametrize("how", ["no analytics", "forbidden", "failed", "late", "no CSV"])
def test_a_server_that_does_not_tell_keeps_nobody_from_loading(cvat, batch, monkeypatch, how):
    monkeypatch.setattr("unseen.annotation.cvat.events.WAIT", 0.1)
    cvat.worked = None if how == "no analytics" else {1: 60.0, 2: 60.0}
    events = "/api/events"
    fault = {
        "forbidden": {"status": 403},
        "failed": {"status": 500, "times": 9},
        "late": {"status": 200, "json": {"query_id": "x"}, "times": 99},
        "no CSV": {"status": 200, "html": "\x00", "skip": 2, "times": 9},
    }.get(how)
    if fault:
        cvat.fail("GET", events, **fault)
    dataset = labelled(cvat, batch)
    assert unseen.load_annotations(dataset).added == {"particle": 6}
    (sending,) = sendings.read_sendings(Loop(dataset))
    assert (worked(Loop(dataset), sending).ids, sending.closed) == ([], True)
    (status,) = unseen.list_annotations(dataset).batches
    assert status.seconds is None
    assert "h of work" not in unseen.list_annotations(dataset).summary()
