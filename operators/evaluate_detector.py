"""Form of `unseen.evaluate_detector`."""

from __future__ import annotations

from .step_operator import StepOperator


class EvaluateDetector(StepOperator):
    """Asks how predictions are compared with labels."""

    step = "evaluate_detector"
    label = "Evaluate the detector"
    description = "Measure precision, recall and F1 per class on the test split"
