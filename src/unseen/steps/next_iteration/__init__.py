"""Load what is finished and go on: train, score, select, send to the annotators."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from unseen.annotation import STAGES
from unseen.parameters import StepConfig, setting
from unseen.ranking import STRATEGIES
from unseen.results import StepResult
from unseen.steps import settings
from unseen.steps.catalogue import Step
from unseen.steps.select_batch import MOST_IN_BATCH


@dataclass(frozen=True, kw_only=True)
class NextConfig(StepConfig):
    """Parameters of `next_iteration`."""

    budget: int = setting(
        10, "Images in the next batch.", unit="images", minimum=1, maximum=MOST_IN_BATCH
    )
    strategy: str = setting("mixed", "How the batch is chosen.", choices=STRATEGIES)
    detector: bool = setting(
        True, "Train and evaluate the detector too, where there is a labelled test split."
    )
    send: bool = setting(
        False, "Send the next batch to the annotators, the way the last one was sent."
    )
    jobs: str = setting(
        "finished",
        "Which CVAT jobs are loaded: the finished ones, or all.",
        choices=("finished", "all"),
        advanced=True,
    )
    stage: str = setting(
        "annotation",
        "A job is finished when this stage of CVAT is completed.",
        choices=STAGES,
        advanced=True,
    )
    min_loaded: float = setting(
        1.0,
        "Share of the batch that must have come back before the next iteration starts.",
        minimum=0.01,
        maximum=1,
        advanced=True,
    )
    seed: int = settings.seed(advanced=True)
    engine: str = settings.engine("What computes scores and pretrained features")
    address: str | None = settings.address()


@dataclass(frozen=True, kw_only=True)
class NextResult(StepResult):
    """Result of `next_iteration`."""

    iteration: int
    done: list[str]  #: one line per step that ran
    waits_for: str | None  #: why it stopped; None = the next batch is ready
    batch: str | None = None
    sent: bool = False
    steps: dict[str, Any] = dataclasses.field(default_factory=dict)  #: results by step

    def summary(self) -> str:
        lines = [*self.done]
        if self.waits_for:
            lines.append(f"Waiting: {self.waits_for}")
        elif self.batch:
            lines.append(f"{self.batch} is {'sent' if self.sent else 'ready'}.")
        return "\n".join(lines) or "Nothing to do."


STEP = Step(
    order=200,
    label="Next iteration",
    config=NextConfig,
    risk="high",
    is_long=True,
    continues=True,
    asks_server=True,
)
