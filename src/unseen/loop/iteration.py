"""What one iteration measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """How one class is detected on the test split."""

    precision: float
    recall: float
    f1: float
    support: int  #: boxes of this class in the test split
    ap: float | None  #: average precision at the evaluation's IoU; None without support


@dataclass(frozen=True, kw_only=True)
class IterationSummary:
    """One point of a learning curve: what was labelled, and how good the detector became."""

    series: str  #: "" for the main loop
    strategy: str  #: how its batches were chosen, or "full"
    iteration: int
    images: int
    boxes: int
    class_counts: dict[str, int]  #: labelled boxes per class
    schedule: str | None = None
    detector: str | None = None  #: faster_rcnn or centernet; None in older records: faster_rcnn
    architecture: str | None = None
    pretrained: bool | None = None
    per_class: dict[str, ClassMetrics] | None = None
    macro_f1: float | None = None
    mean_ap: float | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)  #: wall time per step
    eval_key: str | None = None
