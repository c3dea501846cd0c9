"""Where the loop stands once the server was asked."""

from __future__ import annotations

import pytest

import unseen
from unseen.loop import overview

pytestmark = pytest.mark.fiftyone


def test_finished_jobs_make_loading_the_next_action(cvat, batch):
    dataset = batch(4)
    unseen.request_annotations(dataset, segment_size=2)
    assert overview.now(dataset).batch.waiting_to_load is None  # nobody asked the server
    asked = overview.now_with_server(dataset)
    assert (asked.asked_server, asked.batch.waiting_to_load) == (True, 0)
    cvat.annotator(min(cvat.jobs)).set(state="completed")
    asked = overview.now_with_server(dataset)
    assert asked.batch.waiting_to_load == 2
    assert asked.next_action.operator == "load_annotations"
    assert "2 of 4" in asked.next_action.reason
    unseen.load_annotations(dataset)
    asked = overview.now_with_server(dataset)
    assert asked.batch.waiting_to_load == 0
    assert asked.batch.labelled == 2


def test_a_server_that_cannot_be_asked_is_named_and_the_rest_is_told(cvat, batch, monkeypatch):
    dataset = batch(2)
    unseen.request_annotations(dataset)
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "wrong")
    asked = overview.now_with_server(dataset)
    assert not asked.asked_server
    assert "refused the login" in asked.batch.problem
    assert asked.counts.out == 2
