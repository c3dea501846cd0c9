"""The CVAT double, batches to send to it, and people who label them."""

from __future__ import annotations

import itertools

import pytest
from cvat_fixtures import batch, batch_template, cvat, quick  # noqa: F401  # fixtures

import unseen


@pytest.fixture
def annotator(cvat):  # noqa: F811  # the fixture
    """A factory: who works in the job number `position` in the order of the ranking."""

    def at(position: int = 0):
        jobs = sorted(cvat.jobs.values(), key=lambda job: (job.task.id, job.start_frame))
        return cvat.annotator(jobs[position].id)

    return at


@pytest.fixture
def expiring(cvat, monkeypatch):  # noqa: F811  # the fixture
    """Every fifth request finds that its login has expired."""
    note, count = cvat.note, itertools.count(1)

    def expire(request):
        if "/auth/" not in request.path and next(count) % 5 == 0:
            cvat.expire_sessions()
        return note(request)

    monkeypatch.setattr(cvat, "note", expire)


@pytest.fixture
def one(batch, annotator):  # noqa: F811  # the fixture
    """A batch of one image sent with the class particle, and its annotator."""
    dataset = batch(1)
    unseen.request_annotations(dataset, classes=("particle",))
    return dataset, annotator()
