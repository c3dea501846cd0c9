"""Form of `unseen.split_dataset`."""

from __future__ import annotations

from .step_operator import StepOperator


class SplitDataset(StepOperator):
    """Asks for the size of the test split and of the initial set."""

    step = "split_dataset"
    label = "Fix the test split"
    description = "Set the test split and the initial images aside, once"
