"""Form of `unseen.select_batch`."""

from __future__ import annotations

from typing import Any

from fiftyone.operators import types

from .step_operator import StepOperator, icon, show_saved_view


class SelectBatch(StepOperator):
    """Asks for the next batch: how many images, chosen how."""

    def resolve_placement(self, ctx: Any) -> types.Placement:
        # Runs for every operator whenever a dataset is opened: keep it trivial.
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label=self.step.label, icon=icon(self.step.name), prompt=True),
        )

    def refresh(self, ctx: Any, result: dict[str, Any]) -> list[Any]:
        return [ctx.ops.reload_dataset(), show_saved_view(ctx, result["batch"])]
