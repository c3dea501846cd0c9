"""A CVAT double with credentials in the environment, and datasets with a batch to send."""

from __future__ import annotations

import contextlib
import functools
import os

import pytest
from cvat_double import NEW, OLD, CvatDouble


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """Short pauses between tries: the server is a thread of this process."""
    return shorten_pauses(monkeypatch)


def shorten_pauses(monkeypatch: pytest.MonkeyPatch):
    from unseen.annotation.cvat import server

    short = dict(connect=2, read=5, retries=4, backoff=0.01, longest_pause=0.2, poll=0.01)
    for name, value in short.items():
        monkeypatch.setattr(server.LIMITS, name, value)
    return server.LIMITS


@contextlib.contextmanager
def running(monkeypatch: pytest.MonkeyPatch, *args, **options):
    """A CVAT double; FIFTYONE_CVAT_* name it. UNSEEN_CVAT chooses the version where no test does."""
    with CvatDouble(*(args or [os.environ.get("UNSEEN_CVAT", OLD)]), **options) as server:
        for name in ("url", "username", "password"):
            monkeypatch.setenv(f"FIFTYONE_CVAT_{name.upper()}", getattr(server, name))
        yield server


@pytest.fixture
def cvat(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, quick):
    """A CVAT double, of the version that `both_versions` asks for."""
    with running(monkeypatch, *getattr(request, "param", ())) as server:
        yield server


#: Marks tests, or a module, to run against every version that was recorded.
both_versions = pytest.mark.parametrize("cvat", [(OLD,), (NEW,)], indirect=True, ids=[OLD, NEW])


@pytest.fixture(scope="module")
def batch_template(make_module_wafers):
    """A function: a dataset with a batch of `count` images, to be cloned and not changed."""
    return functools.cache(functools.partial(_with_batch, make_module_wafers))


@pytest.fixture
def batch(batch_template, copy_of):
    """A factory: a dataset with a batch of `count` images in a rank order that no name tells.

    Datasets of a module share their image files.
    """

    def make(count: int = 6, *, regions: bool = True, pool: int = 0):
        return copy_of(batch_template(count, regions, pool))

    return make


def _with_batch(make_wafers, count: int, regions: bool, pool: int):
    import unseen

    dataset = make_wafers(count + 4 + pool, labelled=4, test=2)
    unseen.split_dataset(dataset, initial=4, test_count=2)
    if regions:
        _add_regions(dataset)
    unseen.select_batch(dataset, budget=count, strategy="random", seed=3)
    return dataset


def _add_regions(dataset):
    import fiftyone as fo

    from unseen.dataset import writing
    from unseen.dataset.fields import Names
    from unseen.dataset.loop import Loop

    names = Names()
    writing.declare_detections(Loop(dataset, names), names.regions, "Unseen regions")
    for sample in dataset.match_tags("test", bool=False).iter_samples(autosave=True):
        boxes = [[0.1, 0.1, 0.2, 0.2], [0.6, 0.55, 0.25, 0.3]]
        sample[names.regions] = fo.Detections(
            detections=[fo.Detection(label="unseen", bounding_box=b, confidence=0.9) for b in boxes]
        )
