"""Form of `unseen.auto_label`."""

from __future__ import annotations

from .step_operator import StepOperator


class AutoLabel(StepOperator):
    """Asks how often the automatic labels have to be right."""

    step = "auto_label"
    label = "Label the rest automatically"
    description = "Predictions on the pool that are sure enough, in a field of their own"
    is_long = True
