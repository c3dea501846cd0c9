"""Form of `unseen.mark_structure`."""

from __future__ import annotations

from .step_operator import StepOperator


class MarkStructure(StepOperator):
    """Asks where known structure comes from, and what of it counts in the ranking."""

    step = "mark_structure"
    label = "Mark known structure"
    description = "Die grid, mask or lines over the images, and what of them counts in the ranking"
    view_verb = "Mark"
