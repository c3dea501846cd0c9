"""Form of `unseen.train_unet`."""

from __future__ import annotations

from .step_operator import StepOperator


class TrainUnet(StepOperator):
    """Asks how the UNet is trained."""

    step = "train_unet"
    label = "Train the UNet"
    description = "Train the ranking network on everything labelled so far"
    is_long = True
    view_verb = "Train on"
