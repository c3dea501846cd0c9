"""Datasets whose networks are trained once per module; the CVAT double for steps that ask a server."""

import pytest
from cvat_fixtures import batch, batch_template, cvat, quick  # noqa: F401  # fixtures

#: A UNet that is trained at once and is good for nothing.
UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}


def copied(dataset):
    """A copy with the records, fields and checkpoints of a dataset, deleted after the test."""
    copy = dataset.clone()
    yield copy
    if not copy.deleted:
        copy.delete()


@pytest.fixture(scope="module")
def trained_once(make_module_wafers):
    import unseen

    dataset = make_module_wafers()
    unseen.train_unet(dataset, **UNET)
    return dataset


@pytest.fixture(scope="module")
def scored_once(make_module_wafers):
    import unseen

    dataset = make_module_wafers()
    unseen.train_unet(dataset, **UNET)
    unseen.score_samples(dataset)
    return dataset


@pytest.fixture
def trained(trained_once):
    """Wafers with a UNet."""
    yield from copied(trained_once)


@pytest.fixture
def scored(scored_once):
    """Wafers whose pool of eight images is scored."""
    yield from copied(scored_once)
