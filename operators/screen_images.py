"""Form of `unseen.screen_images`."""

from __future__ import annotations

from .step_operator import StepOperator


class ScreenImages(StepOperator):
    """Asks which images are too broken to label."""

    step = "screen_images"
    label = "Screen images"
    description = "Find unreadable, blank and partial images and leave them out of the pool"
    view_verb = "Screen"
