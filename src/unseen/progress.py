"""How a step tells how far it is: one callable, whoever is listening."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by a step as it goes.

    A listener may raise `unseen.errors.Cancelled` to stop the step; everything written until then
    stays consistent, and the step can be started again.
    """

    def __call__(self, done: float, total: float, label: str = "") -> None:
        """Report `done` of `total` units (same unit) of the stage named `label`."""


def silent(done: float, total: float, label: str = "") -> None:
    """Report nothing."""
