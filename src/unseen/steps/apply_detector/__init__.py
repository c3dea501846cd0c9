"""Predict boxes into a field of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult, left_out
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
    max_detections: int | None = setting(
        None,
        "Most predictions on one image. Default: 100, or twice as many as any image had in training.",
        unit="boxes",
        minimum=1,
        maximum=100_000,
        advanced=True,
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
    max_detections: int = 0  #: most predictions on one image
    full: int = 0  #: images with as many

    def summary(self) -> str:
        full = (
            f" {self.full} of them have as many as are allowed: raise max_detections="
            f"{self.max_detections} if they show more objects."
        )
        return (
            f"{self.boxes} predictions on {self.images} images in field {self.field}."
            f"{full if self.full else ''}{left_out(self.skipped)}"
        )


STEP = Step(
    order=160,
    label="Apply the detector",
    config=ApplyDetectorConfig,
    view_verb="Predict on",
    is_long=True,
)
