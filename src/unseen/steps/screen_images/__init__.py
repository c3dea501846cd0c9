"""Find unreadable, blank and partial images and leave them out."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.parameters import StepConfig, setting
from unseen.results import Skipped, StepResult, left_out
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class ScreenConfig(StepConfig):
    """Parameters of `screen_images`."""

    min_contrast: float = setting(
        0.01,
        "An image is blank when the standard deviation of its brightness is below this share of the full range.",
        minimum=0,
        maximum=1,
    )
    max_flat_share: float = setting(
        0.25,
        "An image is partial when at least this share of it is a flat region at its border, beyond what is usual in the dataset.",
        minimum=0,
        maximum=1,
    )
    workers: int = settings.workers()
    excluded_tag: str = settings.excluded_tag()
    dry_run: bool = settings.dry_run()


@dataclass(frozen=True, kw_only=True)
class ScreenResult(StepResult):
    """Result of `screen_images`."""

    checked: int
    excluded: dict[str, int]  #: images per reason: unreadable, blank, partial
    skipped: list[Skipped] = field(default_factory=list)  #: the excluded images, each with why
    back: int = 0  #: images that could not be read before, and are no longer excluded
    dry_run: bool = False  #: nothing was written

    def summary(self) -> str:
        n = sum(self.excluded.values())
        back = f" {self.back} can be read again." if self.back else ""
        if not n:
            return f"{self.checked} images checked, none excluded.{back}"
        parts = ", ".join(f"{count} {reason}" for reason, count in self.excluded.items() if count)
        would = "would be " if self.dry_run else ""
        unreadable = [s for s in self.skipped if s.reason not in self.excluded]
        return (
            f"{self.checked} images checked, {n} {would}excluded: {parts}. Nothing was deleted."
            f"{back}{left_out(unreadable)}"
        )


STEP = Step(
    order=20,
    label="Screen images",
    config=ScreenConfig,
    view_verb="Screen",
)
