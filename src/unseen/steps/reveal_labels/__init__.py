"""Play the annotator: copy the batch's labels from a hidden field."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult, partly
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class RevealConfig(StepConfig):
    """Parameters of `reveal_labels`."""

    hidden_field: str = setting(
        "hidden_truth", "Field with the complete labels that the simulated annotator copies from."
    )
    iteration: int | None = settings.iteration(
        "Batch to reveal: 0 is the initial set. Default: the first unlabelled one.", advanced=False
    )
    regions_only: bool = setting(False, "Label only the unseen regions of a batch.", advanced=True)
    regions_per_image: int = setting(
        5,
        "As many regions per image, the strongest ones.",
        minimum=1,
        advanced=True,
        only_with={"regions_only": (True,)},
    )


@dataclass(frozen=True, kw_only=True)
class RevealResult(StepResult):
    """Result of `reveal_labels`."""

    iteration: int
    images: int
    boxes: int
    class_counts: dict[str, int]
    partly_labelled: int = 0  #: images of which only the unseen regions were labelled

    def summary(self) -> str:
        counts = ", ".join(f"{k} {v}" for k, v in self.class_counts.items())
        return (
            f"{self.images} images labelled with {self.boxes} boxes ({counts or 'none'})."
            f"{partly(self.partly_labelled)}"
        )


STEP = Step(
    order=140,
    label="Reveal labels",
    config=RevealConfig,
)
