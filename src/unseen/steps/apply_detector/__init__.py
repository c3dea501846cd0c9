"""Predict boxes into a field of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult
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
        None, "Detector checkpoint. Default: the newest of this loop.", advanced=True
    )
    min_confidence: float = setting(
        0.05, "Predictions below this confidence are not stored.", minimum=0, maximum=1
    )
    batch_size: int = setting(
        4, "Images per forward pass.", unit="images", minimum=1, advanced=True
    )
    workers: int = setting(2, "Threads that read images.", minimum=1, maximum=64, advanced=True)
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", advanced=True)
    precision: str = setting(
        "auto",
        "Arithmetic: bf16 where it pays (auto), or fp32.",
        choices=("auto", "bf16", "fp32"),
        advanced=True,
    )
    iteration: int | None = setting(
        None,
        "Iteration whose detector is applied. Default: the newest with one.",
        minimum=0,
        advanced=True,
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
