"""Predict boxes into a field of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class ApplyDetectorConfig(StepConfig):
    """Parameters of `apply_detector`."""

    target: str = setting(
        "test",
        "What to predict on: the test split, the rest of the pool, or the given view as it is.",
        choices=("test", "pool", "view"),
    )
    checkpoint: str | None = setting(
        None, "Detector checkpoint. Default: the newest of this loop.", advanced=True, path="read"
    )
    min_confidence: float = setting(
        0.05, "Predictions below this confidence are not stored.", minimum=0, maximum=1
    )
    batch_size: int = settings.batch_size(4)
    workers: int = settings.workers()
    device: str = settings.device()
    precision: str = settings.precision()
    iteration: int | None = settings.iteration(
        "Iteration whose detector is applied. Default: the newest with one."
    )


@dataclass(frozen=True, kw_only=True)
class ApplyDetectorResult(StepResult):
    """Result of `apply_detector`."""

    iteration: int
    field: str
    images: int
    boxes: int
    skipped: list[Skipped] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        return f"{self.boxes} predictions on {self.images} images in field {self.field}."


STEP = Step(
    order=160,
    label="Apply the detector",
    config=ApplyDetectorConfig,
    view_verb="Predict on",
    is_long=True,
)
