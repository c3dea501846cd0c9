"""The CVAT double, and batches to send to it."""

from cvat_fixtures import batch, cvat, quick  # noqa: F401  # fixtures
