"""The loop and the dataset that these tests judge."""

import pytest
from report_facts import loop  # noqa: F401 (a fixture)


@pytest.fixture
def begun(make_wafers, rng):
    from overview_facts import begin  # not before the tests' own database runs

    return begin(make_wafers, rng)
