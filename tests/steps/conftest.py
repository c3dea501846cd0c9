"""The CVAT double for the steps that ask a server."""

from cvat_fixtures import batch, batch_template, cvat, quick  # noqa: F401  # fixtures
