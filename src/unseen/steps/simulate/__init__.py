"""Run the whole loop from complete labels for a list of strategies."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.detector import architecture_choices, check_architecture, detectors
from unseen.loop.curves import IterationSummary
from unseen.parameters import StepConfig, setting
from unseen.ranking import METRICS, STRATEGIES
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step
from unseen.steps.select_batch import MOST_IN_BATCH


@dataclass(frozen=True, kw_only=True)
class PlayedLoop(StepConfig):
    """The loop that `simulate` and `unseen benchmark` play, and the models it trains."""

    iterations: int = setting(
        2, "Batches after the initial images.", unit="batches", minimum=1, maximum=1000
    )
    budget: int = setting(10, "Images in a batch.", unit="images", minimum=1, maximum=MOST_IN_BATCH)
    initial: int = setting(10, "Initial images.", unit="images", minimum=1)
    initial_order: str = setting(
        "directory",
        "Initial images: the first in directory order, or random ones.",
        choices=("directory", "random"),
    )
    unet_steps: int | None = setting(
        None,
        "Optimiser steps of the UNet. Default: 300, in the paper mode 600.",
        unit="steps",
        minimum=1,
        advanced=True,
    )
    detector_kind: str = setting(
        "faster_rcnn", "Detector to train.", choices=tuple(detectors()), advanced=True
    )
    architecture: str = setting(
        "auto", "Backbone of the detector.", choices=architecture_choices(), advanced=True
    )
    epochs: int = setting(100, "Epochs of the detector.", unit="epochs", minimum=1, advanced=True)
    detector_steps: int | None = setting(
        None,
        "Optimiser steps of the detector, instead of epochs.",
        unit="steps",
        minimum=1,
        advanced=True,
    )
    image_size: int | None = settings.image_size()
    device: str = settings.device()

    def _check_together(self) -> None:
        super()._check_together()
        check_architecture(self.detector_kind, self.architecture)

    @property
    def wanted_images(self) -> int:
        """Labelled images at the end."""
        return self.initial + self.iterations * self.budget


@dataclass(frozen=True, kw_only=True)
class SimulateConfig(PlayedLoop):
    """Parameters of `simulate`."""

    hidden_field: str = setting(
        "hidden_truth", "Field with the complete labels that the simulated annotator copies from."
    )
    strategies: tuple[str, ...] = setting(
        ("mixed", "sequential", "random"),
        "Strategies to run; the first is the main loop and fills the label field.",
        choices=STRATEGIES,
    )
    metric: str = setting("excess", "Image metric that ranks.", choices=METRICS, advanced=True)
    regions_only: bool = setting(
        False,
        "Label only the unseen regions of ranked batches; other strategies show none and label whole images.",
        advanced=True,
    )
    mode: str = setting(
        "recommended", "UNet mode.", choices=("recommended", "paper"), advanced=True
    )
    detector: bool = setting(True, "Train and evaluate the detector after each iteration.")
    full: bool = setting(False, "Train the detector on the fully labelled set too.")
    seed: int = settings.seed()


@dataclass(frozen=True, kw_only=True)
class SimulateResult(StepResult):
    """Result of `simulate`."""

    iterations: list[IterationSummary]
    first_batch_seconds: float | None  #: from the start to the first ranked batch

    def summary(self) -> str:
        rows = [
            f"{i.strategy} {i.images} images: mean F1 {i.macro_f1:.3f}"
            for i in self.iterations
            if i.macro_f1 is not None
        ]
        return "; ".join(rows) or f"{len(self.iterations)} iterations simulated."


STEP = Step(
    order=210, label="Simulate the loop", config=SimulateConfig, is_long=True, continues=True
)
