"""What the section Progress of an overview consists of; see overview_data.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unseen.loop.curves import ClassMetrics, IterationSummary
from unseen.loop.overview_data import Interval, Plain


@dataclass(frozen=True, kw_only=True)
class Gain(Plain):
    """What labelling brought between two measured iterations of one loop."""

    macro_f1: float  #: difference of the mean F1
    interval: Interval | None  #: of the difference, on the same resamples of the test images
    images: int  #: labelled in between
    boxes: int  #: labelled in between
    since: int  #: the iteration it is compared with


@dataclass(frozen=True, kw_only=True)
class ClassPoint(ClassMetrics, Plain):
    """One class in one iteration: a cell of the table."""

    interval: Interval | None = None  #: of the F1, over test images
    tp: int | None = None  #: None where the evaluation is gone
    fp: int | None = None
    fn: int | None = None


@dataclass(frozen=True, kw_only=True)
class Point(IterationSummary, Plain):
    """One iteration on a learning curve; `eval_key` is None where FiftyOne's evaluation is gone."""

    per_class: Mapping[str, ClassPoint]  #: empty where nothing was measured
    balance: float | None  #: 1 = as many of each class, 0 = one class only
    macro_interval: Interval | None = None
    predictions: str | None = None  #: field with the predictions
    gt_field: str | None = None  #: field with the labels it was measured against
    gain: Gain | None = None  #: over the measured iteration before
    gain_two: Gain | None = None  #: over the one before that


@dataclass(frozen=True, kw_only=True)
class Curve(Plain):
    """One loop: its iterations in order."""

    series: str  #: "" for the main loop
    strategy: str
    label: str  #: for a legend: "Diverse", "Random", "Full set"
    is_main: bool
    points: list[Point]


@dataclass(frozen=True, kw_only=True)
class Mistake(Plain):
    """One kind of errors of a detector."""

    kind: str  #: by its word in records, which is the attribute `error` of predictions
    name: str  #: for people: "wrong class"
    cost: float  #: what AP would gain without it
    boxes: int  #: of confident predictions
    classes: dict[str, int]  #: the same per class, most first
    advice: str  #: what to do about it


@dataclass(frozen=True, kw_only=True)
class Reliability(Plain):
    """The predictions of one range of confidence."""

    confidence: float  #: their mean
    share: float  #: of them that is right
    interval: Interval  #: of the share
    predictions: int


@dataclass(frozen=True, kw_only=True)
class Mistakes(Plain):
    """What is wrong with the newest detector."""

    iteration: int
    kinds: list[Mistake]  #: the costliest first
    sentence: str
    reliability: list[Reliability]
    calibration_error: float | None
    confidence_sentence: str


@dataclass(frozen=True, kw_only=True)
class Progress(Plain):
    """How the detector came along."""

    dataset: str
    classes: list[str]  #: the fixed class list
    curves: list[Curve]  #: the main loop first, then the baselines
    eval_keys: list[str]  #: evaluations that FiftyOne can open, oldest first
    test_images: int | None = None
    iou: float | None = None
    min_confidence: float | None = None
    mistakes: Mistakes | None = None  #: of the newest detector of the main loop, if on record
    people: list[str] = field(default_factory=list)  #: time and agreement of those who label
    empty_state: str | None = None

    @property
    def main(self) -> Curve | None:
        """The curve of the loop itself."""
        return next((c for c in self.curves if c.is_main), None)

    @property
    def newest(self) -> Point | None:
        """The newest measured iteration of the loop itself."""
        points = self.main.points if self.main else []
        return next((p for p in reversed(points) if p.macro_f1 is not None), None)

    @property
    def comparison(self) -> tuple[str, str] | None:
        """Two evaluations to put side by side, newer first; None without two.

        The newest of the loop itself, and the best baseline with as many images, else the one
        before.
        """
        own = [p for p in (self.main.points if self.main else []) if p.eval_key]
        others = [p for c in self.curves if not c.is_main for p in c.points if p.eval_key]
        if not own:
            return (keys[-1], keys[-2]) if len(keys := self.eval_keys) > 1 else None
        newest = own[-1]
        equal = [p for p in others if p.images == newest.images and p.eval_key != newest.eval_key]
        older = max(equal, key=lambda p: p.macro_f1 or 0.0, default=None) or next(
            (p for p in reversed([*others, *own]) if p.eval_key != newest.eval_key), None
        )
        return (newest.eval_key or "", older.eval_key or "") if older else None
