"""Make a plain dataset ready: classes, test split, initial images, structure."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps.catalogue import Step
from unseen.steps.mark_structure import StructureConfig
from unseen.steps.split_dataset import SplitConfig
from unseen.structure import STRUCTURES


@dataclass(frozen=True, kw_only=True)
class _WhatIsThere(StepConfig):
    """What `prepare_dataset` asks first."""

    classes: tuple[str, ...] = setting(
        (),
        "All classes, also those that no image shows yet. Default: those of the labels.",
    )
    screen: bool = setting(
        True, "Leave out unreadable, blank and partial images; nothing is deleted."
    )


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(StructureConfig, SplitConfig, _WhatIsThere):
    """Parameters of `prepare_dataset`: what is there, how it is split, its known structure."""

    initial_order: str = setting(
        "coverage",
        "How the initial images are chosen where nothing is labelled yet. Coverage: typical images of as many groups as images are wanted, by pretrained features (of a random 20,000 images where there are more). Directory: the first ones. With labels, coverage keeps the initial images there are, else takes the first in directory order.",
        choices=("coverage", "directory", "random"),
    )
    structure: str = setting(
        "none",
        "Known structure of the images, the paper's domain overlay: a repeating die grid, a mask file, a file of polylines, a field of polylines, or none.",
        choices=STRUCTURES,
    )


@dataclass(frozen=True, kw_only=True)
class PrepareResult(StepResult):
    """Result of `prepare_dataset`."""

    label_field: str
    classes: list[str]  #: that annotators will choose from; empty = none known yet
    images: int
    excluded: int  #: images left out
    test: int
    test_unlabelled: int  #: of the test split
    initial: int
    initial_unlabelled: int  #: of the initial images
    pool: int
    structure: str
    chosen_by: str = ""  #: how the initial images were chosen, and with which features
    notes: list[str] = dataclasses.field(default_factory=list)  #: what should be known besides
    dry_run: bool = False  #: nothing was written

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
