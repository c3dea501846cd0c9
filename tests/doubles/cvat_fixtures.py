"""A CVAT double with credentials in the environment, and datasets with a batch to send."""

from __future__ import annotations

import pytest
from cvat_double import CvatDouble


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """Short pauses between tries: the server is a thread of this process."""
    from unseen.annotation.cvat import server

    short = dict(connect=2, read=5, retries=4, backoff=0.01, longest_pause=0.2, poll=0.01)
    for name, value in short.items():
        monkeypatch.setattr(server.LIMITS, name, value)
    return server.LIMITS


@pytest.fixture
def cvat(monkeypatch: pytest.MonkeyPatch, quick):
    """A running CVAT double; FIFTYONE_CVAT_* name it."""
    with CvatDouble() as server:
        monkeypatch.setenv("FIFTYONE_CVAT_URL", server.url)
        monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", server.username)
        monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", server.password)
        yield server


@pytest.fixture
def batch(make_wafers):
    """A factory: a dataset with a batch of `count` images in a rank order that no name tells."""
    import fiftyone as fo

    import unseen

    def make(count: int = 6, *, regions: bool = True, pool: int | None = None):
        dataset = make_wafers(count + 4 + (pool or 0), labelled=4, test=2)
        unseen.split_dataset(dataset, initial=4, test_count=2)
        if regions:
            add_regions(dataset)
        unseen.select_batch(dataset, budget=count, strategy="random", seed=3)
        return dataset

    def add_regions(dataset):
        from unseen.dataset import writing
        from unseen.dataset.fields import Names
        from unseen.dataset.loop import Loop

        names = Names()
        writing.declare_detections(Loop(dataset, names), names.regions, "Unseen regions")
        for sample in dataset.match_tags("test", bool=False).iter_samples(autosave=True):
            boxes = [[0.1, 0.1, 0.2, 0.2], [0.6, 0.55, 0.25, 0.3]]
            sample[names.regions] = fo.Detections(
                detections=[
                    fo.Detection(label="unseen", bounding_box=b, confidence=0.9) for b in boxes
                ]
            )

    return make
