"""Fix the test split and the initial images, once."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class SplitConfig(StepConfig):
    """Parameters of `split_dataset`."""

    test_share: float = setting(
        0.2,
        "Share of the usable images set aside as test split; ignored with a test count, or if the test tag exists already.",
        minimum=0,
        maximum=0.9,
    )
    test_count: int | None = setting(
        None, "Images in the test split, instead of a share.", unit="images", minimum=0
    )
    initial: int = setting(10, "Number of initial images to label first.", unit="images", minimum=1)
    initial_order: str = setting(
        "directory",
        "How the initial images are chosen: the first in directory order, at random, or by coverage: a typical image of each cluster of pretrained features (of a random 20,000 images of a larger pool). If something is labelled outside the test split, coverage keeps the initial images, or takes the first in directory order.",
        choices=("coverage", "directory", "random"),
    )
    seed: int = settings.seed()
    initial_tag: str = setting("initial", "Tag of the initial images.", advanced=True)
    excluded_tag: str = settings.excluded_tag()
    dry_run: bool = settings.dry_run()


@dataclass(frozen=True, kw_only=True)
class SplitResult(StepResult):
    """Result of `split_dataset`."""

    test: int
    initial: int
    pool: int  #: unlabelled, and neither test, initial nor excluded
    excluded: int
    test_was_fixed: bool  #: the test split existed and was left as it is
    test_unlabelled: int = 0  #: of the test split
    initial_unlabelled: int = 0  #: of the initial images
    chosen_by: str = ""  #: how the initial images were chosen, and with which features
    dry_run: bool = False  #: nothing was written

    def summary(self) -> str:
        kept = " (as it was)" if self.test_was_fixed else ""
        dry = "Nothing was written. " if self.dry_run else ""
        return (
            f"{dry}Test split: {self.test} images{kept}. Initial: {self.initial} images, "
            f"{self.chosen_by}. Left for the pool: {self.pool}."
        )


STEP = Step(
    order=30,
    label="Fix the test split",
    config=SplitConfig,
)
