"""Restore the labels as they were before a load."""

from __future__ import annotations

from dataclasses import dataclass

from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class UndoConfig(StepConfig):
    """Parameters of `undo_annotations`."""

    snapshot: str | None = setting(
        None, "Snapshot to restore. Default: the labels before the newest load that still applies."
    )
    dry_run: bool = settings.dry_run()


@dataclass(frozen=True, kw_only=True)
class UndoResult(StepResult):
    """Result of `undo_annotations`."""

    dry_run: bool
    restored: str  #: key of the snapshot
    anno_key: str
    images: int
    boxes_before: int  #: before the undo
    boxes_after: int
    kept: str | None  #: snapshot of the labels from before the undo

    def summary(self) -> str:
        would = "would be " if self.dry_run else ""
        again = f" {self.kept} holds what was there before." if self.kept else ""
        return (
            f"{self.images} images {would}restored from {self.restored}: {self.boxes_before} boxes "
            f"before, {self.boxes_after} after.{again}"
        )


STEP = Step(
    order=130,
    label="Undo a load of annotations",
    config=UndoConfig,
    risk="high",
)
