"""Form of `unseen.undo_annotations`."""

from __future__ import annotations

from fiftyone.operators import types

from .step_operator import StepOperator


class UndoAnnotations(StepOperator):
    """Asks which load is undone."""

    step = "undo_annotations"
    label = "Undo a load of annotations"
    description = "Restore the labels as they were before a load"
    risk_level = types.RiskLevel.HIGH
