"""Form of `unseen.score_samples`."""

from __future__ import annotations

from .step_operator import StepOperator


class ScoreSamples(StepOperator):
    """Asks what is scored, and which numbers are kept."""

    step = "score_samples"
    label = "Score unseen"
    description = "Show what the UNet has never seen: heatmap, image metrics and regions"
    is_long = True
    view_verb = "Score"
