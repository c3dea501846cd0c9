"""Rank the pool by how much its regions look like some that you point at."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class MoreLikeThisConfig(StepConfig):
    """Parameters of `more_like_this`."""

    wanted: tuple[str, ...] = setting(
        (),
        "Ids of boxes, of any field of detections, and of samples (the whole image) that show what you want. In the App: what is selected.",
    )
    unwanted: tuple[str, ...] = setting(
        (), "Ids of what looks alike but is not wanted, given in the same way."
    )
    count: int = setting(
        50, "Most regions that are found.", unit="regions", minimum=1, maximum=10000
    )
    max_per_image: int = setting(
        3, "Most regions of one image.", unit="regions", minimum=1, maximum=1000
    )
    seed: int = settings.seed("Seed of the sample of ordinary patches.", advanced=True)
    engine: str = settings.engine("What computes the pretrained features")
    address: str | None = settings.address()


@dataclass(frozen=True, kw_only=True)
class MoreLikeThisResult(StepResult):
    """Result of `more_like_this`."""

    iteration: int
    view: str  #: saved view of the patches, in rank order
    regions: int  #: that were found
    asked_for: int
    images: int  #: that they are in
    sample_ids: list[str]  #: of the image of each region, in rank order
    scores: list[float]  #: (0, 1), .5 = as like as the examples are on average, in rank order
    pool: int
    backbone: str  #: which features decided, and why these
    skipped: list[Skipped] = field(default_factory=list)

    def summary(self) -> str:
        fewer = (
            f" (at most {self.asked_for} were asked for)" if self.regions < self.asked_for else ""
        )
        unread = f" {len(self.skipped)} images cannot be read." if self.skipped else ""
        return (
            f"{self.regions} regions{fewer} in {self.images} of {self.pool} pool images look like what "
            f"you want, ranked as {self.view}, by {self.backbone.split(':')[0]}.{unread}"
        )


STEP = Step(
    order=90,
    label="More like this",
    config=MoreLikeThisConfig,
    view_verb="Search",
)
