"""Remove everything these steps have written, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class CleanConfig(StepConfig):
    """Parameters of `clean_dataset`."""

    keep_checkpoints: bool = setting(False, "Keep the model files on disk.")
    dry_run: bool = settings.dry_run()


@dataclass(frozen=True, kw_only=True)
class CleanResult(StepResult):
    """Result of `clean_dataset`."""

    fields: list[str]
    tags: list[str]
    views: list[str]
    runs: list[str]
    evaluations: list[str]
    checkpoints: int
    given_up: list[str] = field(default_factory=list)  #: annotation runs that are still out
    dry_run: bool = False  #: nothing was removed

    def summary(self) -> str:
        removed = "Would remove" if self.dry_run else "Removed"
        out, would = ", ".join(self.given_up), "could" if self.dry_run else "can"
        lost = f" Labels of {out}, not loaded yet, {would} no longer be loaded." if out else ""
        return (
            f"{removed} {len(self.fields)} fields, {len(self.tags)} tags, {len(self.views)} views, "
            f"{len(self.runs)} records, {len(self.evaluations)} evaluations and "
            f"{self.checkpoints} checkpoints. Labels and images are untouched.{lost}"
        )


STEP = Step(
    order=220,
    verb="clean",
    label="Clean the dataset",
    config=CleanConfig,
    risk="high",
    warning="Deletes scores, batches, predictions, evaluations and records, not images or labels",
)
