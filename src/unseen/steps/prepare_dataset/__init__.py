"""Make a plain dataset ready: classes, test split, initial images, structure."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.parameters import StepConfig, setting
from unseen.steps.catalogue import Step
from unseen.steps.mark_structure import StructureConfig
from unseen.steps.split_dataset import SplitConfig, SplitResult
from unseen.structure import STRUCTURES


@dataclass(frozen=True, kw_only=True)
class _WhatIsThere(StepConfig):
    """What `prepare_dataset` asks first."""

    classes: tuple[str, ...] = setting(
        (), "All classes, also those that no image shows yet. Default: those of the labels."
    )
    screen: bool = setting(
        True, "Leave out unreadable, blank and partial images; nothing is deleted."
    )


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StructureConfig, SplitConfig, _WhatIsThere):
    """Parameters of `prepare_dataset`: what is there, how it is split, its known structure."""

    initial_order: str = setting(
        "coverage",
        "How the initial images are chosen. Coverage: a typical image of each cluster of pretrained features (of a random 20,000 images of a larger pool); if something is labelled outside the test split, the initial images there are, or the first in directory order. Directory: the first ones.",
        choices=("coverage", "directory", "random"),
    )
    structure: str = setting(
        "none",
        "Known structure of the images, the paper's domain overlay: a repeating die grid, a mask file, a file of polylines, a field of polylines, or none.",
        choices=STRUCTURES,
    )


@dataclass(frozen=True, kw_only=True)
class PrepareResult(SplitResult):
    """Result of `prepare_dataset`."""

    label_field: str
    classes: list[str]  #: that annotators will choose from; empty = none known yet
    images: int
    structure: str
    notes: list[str] = field(default_factory=list)  #: what else should be known

    def summary(self) -> str:
        classes = ", ".join(self.classes) or "none known yet"
        state = "would be ready" if self.dry_run else "is ready"
        text = (
            f"{self.dataset} {state}: {self.test} test images ({self.test_unlabelled} without "
            f"labels), {self.initial} initial images ({self.initial_unlabelled} without labels), "
            f"{self.pool} in the pool, {self.excluded} excluded. Labels in {self.label_field!r}; "
            f"classes: {classes}. Initial images: {self.chosen_by}."
        )
        return " ".join([text, *self.notes])


STEP = Step(
    order=10,
    verb="prepare",
    label="Set up the dataset",
    config=PrepareConfig,
)
