"""Take the annotators' labels back from their server, job by job."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from unseen.annotation import STAGES
from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class LoadConfig(StepConfig):
    """Parameters of `load_annotations`."""

    jobs: str = setting(
        "finished",
        "Which CVAT jobs: the finished ones, or all, also while people label in them.",
        choices=("finished", "all"),
    )
    stage: str = setting(
        "annotation",
        "A job is finished when this stage of CVAT is completed.",
        choices=STAGES,
    )
    new_classes: str = setting(
        "refuse",
        "Boxes of a class that was not sent: refuse leaves their images unlabelled, add takes the class.",
        choices=("refuse", "add"),
    )
    empty_is_labelled: bool = setting(
        False,
        "Other backends than CVAT only: images without a box count as looked at, with nothing there. CVAT's jobs tell this themselves.",
    )
    dry_run: bool = settings.dry_run()
    anno_key: str | None = setting(
        None, "Key of one annotation run. Default: every run that is out.", advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class LoadResult(StepResult):
    """Result of `load_annotations`."""

    dry_run: bool
    anno_keys: list[str]
    jobs_loaded: int
    jobs_waiting: int  #: not finished yet, and left alone
    labelled: int  #: images with boxes
    empty: int  #: images that somebody looked at and that hold nothing: labelled negatives
    unopened: int  #: images whose job is not finished: still unlabelled
    removed: int  #: images that annotators removed from their job
    written: int  #: images whose labels changed
    added: dict[str, int]
    changed: dict[str, int]
    deleted: dict[str, int]
    suggestions_accepted: dict[str, int]
    suggestions_left: int
    suggestions_rejected: int
    predictions_kept: dict[str, int]
    predictions_changed: dict[str, int]
    predictions_deleted: dict[str, int]
    kept_local: int  #: edits made in FiftyOne meanwhile that stay
    conflicts: int  #: boxes that both sides changed
    new_classes: dict[str, int]  #: boxes per class that was not sent: refused or added
    refused: int  #: images left alone because of such a class
    oddities: dict[str, int]  #: what was converted, clipped or dropped
    examples: list[str]  #: links to some of the oddities and refused images
    gone: list[str]  #: tasks that no longer exist on the server
    snapshots: list[str]  #: to be restored by undo_annotations
    closed: list[str]  #: annotation runs that are complete now
    notes: list[str] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        would = "would be " if self.dry_run else ""
        lines = [
            f"{self.jobs_loaded} jobs {would}loaded, {self.jobs_waiting} not finished yet. "
            f"{self.labelled} images with boxes, {self.empty} looked at and empty, "
            f"{self.unopened} not labelled yet."
        ]
        for what, counts in (
            ("Added", self.added),
            ("Changed", self.changed),
            ("Deleted", self.deleted),
            ("Suggestions that became labels", self.suggestions_accepted),
        ):
            if counts:
                lines.append(f"{what}: " + ", ".join(f"{k} {v}" for k, v in counts.items()) + ".")
        if self.removed:
            lines.append(f"{self.removed} images were removed by annotators.")
        if self.refused:
            names = ", ".join(f"{k} ({v})" for k, v in self.new_classes.items())
            lines.append(
                f"{self.refused} images left as they were, because they hold classes that were not "
                f"sent: {names}. Load with new_classes='add' to take them, or rename them in CVAT."
            )
        if self.kept_local or self.conflicts:
            lines.append(
                f"{self.kept_local} edits made in FiftyOne meanwhile stay; {self.conflicts} boxes "
                "were changed on both sides."
            )
        lines += [f"{n} x {what}." for what, n in self.oddities.items()]
        lines += [f"Gone from the server: {name}." for name in self.gone]
        lines += self.notes
        if self.snapshots:
            lines.append(
                f"undo_annotations restores the labels from before ({self.snapshots[-1]})."
            )
        return "\n".join(lines)


STEP = Step(
    order=120,
    label="Load annotations",
    config=LoadConfig,
    continues=True,
    risk="high",
    asks_server=True,
)
