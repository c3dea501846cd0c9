"""Form of `unseen.reveal_labels`."""

from __future__ import annotations

from .step_operator import StepOperator


class RevealLabels(StepOperator):
    """Asks where the simulated annotator takes the labels from."""

    step = "reveal_labels"
    label = "Reveal labels"
    description = "Play the annotator: copy the batch's labels from a field that holds them all"
