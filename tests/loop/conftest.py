"""The loop that these tests judge."""

from report_facts import loop  # noqa: F401
