"""Train the UNet on everything labelled."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import TrainingResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class TrainUnetConfig(StepConfig):
    """Parameters of `train_unet`."""

    mode: str = setting(
        "recommended",
        "'recommended': softmax over background, classes and unseen, with outlier exposure. 'paper': the U-Net of Ivanov et al. with two maps.",
        choices=("recommended", "paper"),
    )
    paper_loss: str = setting(
        "mse",
        "Paper mode only: two linear maps with squared error, or two sigmoid maps with binary cross-entropy.",
        choices=("mse", "bce"),
        advanced=True,
        only_with={"mode": ("paper",)},
    )
    steps: int | None = setting(
        None,
        "Optimiser steps. Default: 300, in the paper mode 600. Longer is not better: the unseen score fades with over-training.",
        unit="steps",
        minimum=1,
    )
    batch_size: int = settings.batch_size(4, "Crops per step.", unit="crops")
    crop_size: int = setting(
        128, "Side of a crop at working scale.", unit="px", minimum=32, maximum=1024, advanced=True
    )
    learning_rate: float = setting(
        3e-3, "Peak learning rate (AdamW, one cycle).", minimum=1e-6, maximum=1, advanced=True
    )
    channels: tuple[int, ...] = setting(
        (16, 32, 64, 128), "Feature maps per level of the UNet.", minimum=1, advanced=True
    )
    box_margin: float = setting(
        10.0, "Native px added to boxes on each side.", unit="px", minimum=0, advanced=True
    )
    working_scale: float | None = setting(
        None,
        "Images are resized by this factor before the UNet. Default: from the size of the labelled boxes.",
        minimum=0.01,
        maximum=1,
        advanced=True,
    )
    dice: float = setting(
        0.0,
        "Weight of the generalised Dice loss beside the cross-entropy; 0 trains without.",
        minimum=0,
        maximum=10,
        advanced=True,
        only_with={"mode": ("recommended",)},
    )
    device: str = settings.device()
    precision: str = settings.precision()
    iteration: int | None = settings.iteration("Iteration to train for. Default: the current one.")
    seed: int = settings.seed()

    @property
    def optimiser_steps(self) -> int:
        """`steps`, or the mode's default.

        The two maps of the paper take longer to become complementary: on the synthetic bare wafer,
        300 steps leave a mean unseen score of .023 (noise), 600 one of .013.
        """
        return self.steps or (600 if self.mode == "paper" else 300)


@dataclass(frozen=True, kw_only=True)
class TrainUnetResult(TrainingResult):
    """Result of `train_unet`."""

    mode: str
    working_scale: float

    def summary(self) -> str:
        return (
            f"UNet of iteration {self.iteration} trained on {self.images} images with "
            f"{self.boxes} boxes ({', '.join(self.classes)}) in {self.seconds:.0f} s."
            f"{self.remarks}"
        )


STEP = Step(
    order=50,
    label="Train the UNet",
    config=TrainUnetConfig,
    view_verb="Train on",
    is_long=True,
)
