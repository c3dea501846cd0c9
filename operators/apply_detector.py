"""Form of `unseen.apply_detector`."""

from __future__ import annotations

from typing import Any

from .run_step import run_step
from .step_operator import StepOperator


class ApplyDetector(StepOperator):
    """Asks what the detector predicts on."""

    step = "apply_detector"
    label = "Apply the detector"
    description = "Predict boxes on the test split, the pool or a view, into a field of their own"
    is_long = True
    view_verb = "Predict on"

    def execute(self, ctx: Any) -> Any:
        # Only this target means the view that is open; the others are found in the dataset.
        is_view = ctx.params.get("target") == "view"
        collection = ctx.target_view() if is_view else ctx.dataset
        return run_step(ctx, self.step, collection, self.refresh)
