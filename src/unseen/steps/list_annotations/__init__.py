"""List what was sent to annotators: tasks, jobs, links, and how far they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.annotation import STAGES, Agreement, SendingStatus, describe
from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class ListAnnotationsConfig(StepConfig):
    """Parameters of `list_annotations`."""

    anno_key: str | None = setting(None, "Key of one annotation run. Default: all.", advanced=True)
    stage: str = setting(
        "annotation",
        "A job is finished when this stage of CVAT is completed.",
        choices=STAGES,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class ListAnnotationsResult(StepResult):
    """Result of `list_annotations`."""

    batches: list[SendingStatus]
    agreement: list[Agreement] = field(default_factory=list)  #: of images shown for comparison

    def summary(self) -> str:
        if not self.batches:
            return "Nothing was sent to annotators yet; run request_annotations."
        lines = []
        for b in self.batches:
            state = (
                "closed" if b.closed else "labels are waiting to be loaded" if b.waiting else "out"
            )
            sent = "" if b.complete else ", NOT ALL SENT (run request_annotations again)"
            lines.append(
                f"{b.anno_key} ({b.backend}, {b.age_days:.1f} days): {b.images_finished} of "
                f"{b.images} images done, {b.images_loaded} loaded, {state}{sent}"
            )
            if b.seconds is not None:
                each = [
                    f"{value:.0f} s per {what}"
                    for what, value in (("image", b.seconds_per_image), ("box", b.seconds_per_box))
                    if value is not None
                ]
                lines.append(f"  {', '.join([f'{b.seconds / 3600:.1f} h of work', *each])}")
            if b.problem:
                lines.append(f"  {b.problem}")
            for task in b.tasks:
                gone = " - deleted on the server" if task.gone else ""
                lines.append(f"  {task.name}: {task.images} images, {task.url}{gone}")
                for job in task.jobs:
                    mark = " - waiting to be loaded" if job.waiting else ""
                    lines.append(
                        f"    job {job.job_id}: {job.images} images, {job.stage} {job.state}, "
                        f"{job.assignee or 'nobody'}, {job.url}{mark}"
                    )
        lines += describe(self.agreement)
        return "\n".join(lines)


STEP = Step(
    order=110,
    verb="annotations",
    label="Annotation status",
    config=ListAnnotationsConfig,
    risk="low",
    locks=False,
    asks_server=True,
)
