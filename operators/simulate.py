"""Form of `unseen.simulate`."""

from __future__ import annotations

from .step_operator import StepOperator


class Simulate(StepOperator):
    """Asks for the strategies to compare, from complete labels."""

    step = "simulate"
    label = "Simulate the loop"
    description = "Run the whole loop from complete labels for a list of strategies"
    is_long = True
