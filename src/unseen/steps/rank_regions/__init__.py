"""Rank the strongest unseen regions of the whole pool, as a view of patches."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class RankRegionsConfig(StepConfig):
    """Parameters of `rank_regions`."""

    count: int = setting(
        100, "Most regions that get a rank.", unit="regions", minimum=1, maximum=10000
    )
    max_per_image: int = setting(
        5, "Most regions of one image.", unit="regions", minimum=1, maximum=1000
    )
    min_score: float = setting(0.0, "Regions with a lower score get no rank.", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class RankRegionsResult(StepResult):
    """Result of `rank_regions`."""

    iteration: int
    view: str  #: saved view of the patches, in rank order
    regions: int  #: that have a rank now
    asked_for: int
    images: int  #: that they are in
    sample_ids: list[str]  #: of the image of each region, in rank order
    scores: list[float]  #: of the regions, in rank order
    pool: int
    unscored: int = 0

    def summary(self) -> str:
        fewer = f" ({self.asked_for} were asked for)" if self.regions < self.asked_for else ""
        missing = f" {self.unscored} pool images have no score yet." if self.unscored else ""
        span = f"{self.scores[0]:.2f} to {self.scores[-1]:.2f}" if self.scores else "none"
        return (
            f"{self.regions} unseen regions{fewer} in {self.images} of {self.pool} pool images "
            f"ranked as {self.view}, scores {span}.{missing}"
        )


STEP = Step(
    order=80,
    label="Rank the regions",
    config=RankRegionsConfig,
    view_verb="Rank the regions of",
)
