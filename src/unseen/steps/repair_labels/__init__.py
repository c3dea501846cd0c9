"""Settle empty lists of labels that nobody recorded."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class RepairConfig(StepConfig):
    """Parameters of `repair_labels`."""

    empty_lists: str = setting(
        "unlabelled",
        "What an empty list of labels means that nobody recorded.",
        choices={
            "unlabelled": "nobody looked; the label field is cleared",
            "labelled": "somebody looked, and nothing is there; it is recorded",
        },
    )
    dry_run: bool = settings.dry_run()


@dataclass(frozen=True, kw_only=True)
class RepairResult(StepResult):
    """Result of `repair_labels`."""

    images: int  #: with an empty list that was not on record
    empty_lists: str
    dry_run: bool = False  #: nothing was written

    def summary(self) -> str:
        if not self.images:
            return "Every empty list of labels is on record; there is nothing to repair."
        verb = "would be" if self.dry_run else "are"
        return f"{self.images} images with an empty list {verb} {self.empty_lists} now."


STEP = Step(
    order=134,
    label="Repair labels",
    config=RepairConfig,
    risk="high",
    view_verb="Repair",
)
