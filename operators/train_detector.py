"""Form of `unseen.train_detector`."""

from __future__ import annotations

from .step_operator import StepOperator


class TrainDetector(StepOperator):
    """Asks how the detector is trained."""

    step = "train_detector"
    label = "Train the detector"
    description = "Train Faster R-CNN or CenterNet on everything labelled so far"
    is_long = True
    view_verb = "Train on"
