"""Form of `unseen.compare_iterations`."""

from __future__ import annotations

from fiftyone.operators import types

from .step_operator import StepOperator


class CompareIterations(StepOperator):
    """Asks where the report goes."""

    step = "compare_iterations"
    label = "Compare iterations"
    description = "Put all iterations and baselines side by side and write the report"
    risk_level = types.RiskLevel.LOW
