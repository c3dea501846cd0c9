"""Fixtures of the tests of datasets."""

import pytest


@pytest.fixture
def new_datasets():
    """The names of the datasets that a test made; they are deleted at its end."""
    import fiftyone as fo

    before = set(fo.list_datasets())
    yield lambda: set(fo.list_datasets()) - before
    for name in set(fo.list_datasets()) - before:
        fo.delete_dataset(name)
