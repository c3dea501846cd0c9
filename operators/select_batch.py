"""Operator of `unseen.select_batch`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator, icon


class SelectBatch(StepOperator):
    """Has a button above the grid."""

    def resolve_placement(self, ctx: Any) -> types.Placement:
        # Runs for every operator whenever a dataset is opened: keep it trivial.
        button = types.Button(label=self.step.label, icon=icon(self.step.name), prompt=True)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)
