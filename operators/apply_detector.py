"""Operator of `unseen.apply_detector`."""

from __future__ import annotations

from typing import Any

from .step_operator import StepOperator


class ApplyDetector(StepOperator):
    """Asks what the detector predicts on."""

    def collection(self, ctx: Any) -> Any:
        # Only the target "view" means the open view; the step finds the others in the dataset.
        return ctx.target_view() if ctx.params.get("target") == "view" else ctx.dataset
