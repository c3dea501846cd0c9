"""Datasets whose networks are trained once per module; the CVAT double for steps that ask a server."""

import pytest
from cvat_fixtures import batch, batch_template, cvat, quick  # noqa: F401  # fixtures

#: A UNet that is trained at once and is good for nothing.
UNET = {"steps": 2, "crop_size": 32, "channels": (4, 8)}


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
def trained(trained_once, copy_of):
    """Wafers with a UNet."""
    return copy_of(trained_once)


@pytest.fixture
def scored(scored_once, copy_of):
    """Wafers whose pool of eight images is scored."""
    return copy_of(scored_once)
