"""Form of `unseen.apply_detector`."""

from __future__ import annotations

from typing import Any

from .run_step import run_step
from .step_operator import StepOperator


class ApplyDetector(StepOperator):
    """Asks what the detector predicts on."""

    def execute(self, ctx: Any) -> Any:
        # Only this target means the view that is open; the others are found in the dataset.
        is_view = ctx.params.get("target") == "view"
        collection = ctx.target_view() if is_view else ctx.dataset
        return run_step(ctx, self.step.name, collection, self.refresh)
