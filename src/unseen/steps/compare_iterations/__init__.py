"""All iterations and baselines side by side, with a report."""

from __future__ import annotations

from dataclasses import dataclass, field

from unseen.loop.curves import IterationSummary
from unseen.parameters import StepConfig, setting
from unseen.results import StepResult
from unseen.steps.catalogue import Step


@dataclass(frozen=True, kw_only=True)
class CompareConfig(StepConfig):
    """Parameters of `compare_iterations`."""

    output: str | None = setting(
        None,
        "Folder for the report and its pictures. Default: a folder beside the checkpoints.",
        path="write",
    )
    pictures: bool = setting(True, "Draw the ranked batches with heatmaps and regions.")


@dataclass(frozen=True, kw_only=True)
class CompareResult(StepResult):
    """Result of `compare_iterations`."""

    classes: list[str]
    iterations: list[IterationSummary]
    table: str  #: the tables as text
    report: str | None  #: path of the HTML report
    boxes: str | None = None  #: path of the table of all boxes (CSV), with who made them
    pictures: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return f"{self.table}\n\nReport: {self.report}\nEvery box, and who made it: {self.boxes}"


STEP = Step(
    order=190,
    label="Compare iterations",
    config=CompareConfig,
    risk="low",
    locks=False,
)
