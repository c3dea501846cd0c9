"""Precision, recall and F1 per class on the test split."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.detector.calibration import ReliabilityBin
from unseen.loop.curves import ClassMetrics, ErrorKind
from unseen.parameters import StepConfig, setting
from unseen.results import StepResult, left_out, partly
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(StepConfig):
    """Parameters of `evaluate_detector`."""

    iou: float = settings.iou("Overlap from which a prediction counts as correct.")
    min_confidence: float = setting(
        0.5,
        "Precision, recall and F1 count predictions from this confidence on; AP counts all.",
        minimum=0,
        maximum=1,
    )
    gt_field: str | None = settings.gt_field()
    iteration: int | None = settings.iteration(
        "Iteration to evaluate. Default: the newest with predictions."
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(StepResult):
    """Result of `evaluate_detector`."""

    iteration: int
    eval_key: str
    images: int
    iou: float
    min_confidence: float
    per_class: dict[str, ClassMetrics]
    macro_f1: float  #: mean over the classes with support
    mean_ap: float  #: mean of the classes' AP over those with support
    micro_f1: float = 0.0  #: of all boxes, whatever their class
    errors: dict[str, ErrorKind] = field(default_factory=dict)
    reliability: list[ReliabilityBin] = field(default_factory=list)  #: by tenths of confidence
    calibration_error: float | None = None  #: mean |confidence - share right|; None without any
    partly_labelled: int = 0  #: images of which only a part is labelled, and counts
    without_examples: list[str] = field(default_factory=list)  #: classes the detector never saw
    without_predictions: int = 0  #: labelled test images that the detector was not applied to
    box_problems: dict[str, int] = field(default_factory=dict)  #: labels that do not count

    def summary(self) -> str:
        rows = "; ".join(
            f"{label} P {m.precision:.2f} R {m.recall:.2f} F1 {m.f1:.2f}"
            for label, m in self.per_class.items()
        )
        unseen = (
            f" No image that the detector learned from shows {', '.join(self.without_examples)}: an "
            "F1 of 0 is in the mean."
        )
        missing = (
            f" {self.without_predictions} labelled test images have no predictions and do not count; "
            "run apply_detector, which says why."
        )
        return (
            f"Mean F1 {self.macro_f1:.3f} (of all boxes {self.micro_f1:.3f}), AP {self.mean_ap:.3f} "
            f"on {self.images} images. {rows}.{unseen if self.without_examples else ''}"
            f"{missing if self.without_predictions else ''}"
            f"{partly(self.partly_labelled)}{left_out([], self.box_problems)}"
        )


STEP = Step(
    order=170,
    label="Evaluate the detector",
    config=EvaluateConfig,
)
