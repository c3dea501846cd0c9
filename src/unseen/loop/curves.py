"""What each iteration of each loop measured: the points of the learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unseen.detector.calibration import ReliabilityBin
from unseen.ranking import SCORED_STRATEGIES

#: The strategy of a detector that was trained on everything.
FULL = "full"
#: Baselines in the order of the paper's comparison; other strategies follow.
_ORDER = ("sequential", "random")


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """How one class is detected on the test split."""

    precision: float
    recall: float
    f1: float
    support: int  #: boxes of this class in the test split
    ap: float | None = None  #: average precision at the evaluation's IoU; None without support


@dataclass(frozen=True, kw_only=True)
class ErrorKind:
    """One kind of errors of a detector on the test split."""

    cost: float  #: what the mean AP would gain without it, [0, 1]; of all predictions
    counts: dict[str, int]  #: per class, of the confident predictions


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
    detector: str | None = None  #: faster_rcnn or centernet
    architecture: str | None = None
    pretrained: bool | None = None
    per_class: Mapping[str, ClassMetrics] | None = None
    macro_f1: float | None = None
    mean_ap: float | None = None
    errors: dict[str, ErrorKind] = field(default_factory=dict)  #: by the names of KINDS
    reliability: list[ReliabilityBin] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  #: wall time per step
    eval_key: str | None = None
    hours: float | None = None  #: of people's work on all images until now; None if unknown


# --- from the records ------------------------------------------------------------------------------
def summarise(loops: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> list[IterationSummary]:
    """One summary per iteration of `loops` (series -> iteration -> record), in the order given.

    Other series share the initial images with the main loop: their iteration 0 is left out unless
    it was measured again.
    """
    summaries = []
    for series, records in loops.items():
        strategies = (r["strategy"] for r in records.values() if r.get("strategy"))
        strategy = next(strategies, series or "none")
        summaries += [
            _summary(series, strategy, number, record)
            for number, record in records.items()
            if not series or number or evaluation_of(record)
        ]
    return summaries


def measured_classes(summaries: Sequence[IterationSummary]) -> list[str]:
    """The classes that detectors were measured on; those that were found later come last."""
    return list(dict.fromkeys(label for one in summaries for label in one.per_class or ()))


def evaluation_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `evaluate_detector` wrote into a record, or an empty entry."""
    entry: dict[str, Any] = record["steps"].get("evaluate_detector") or {}
    return entry


def _summary(
    series: str, strategy: str, number: int, record: Mapping[str, Any]
) -> IterationSummary:
    detector = record["steps"].get("train_detector", {})
    evaluation = evaluation_of(record)
    per_class = evaluation.get("per_class")
    counts = {str(k): int(n) for k, n in (record.get("class_counts") or {}).items()}
    return IterationSummary(
        series=series,
        strategy=strategy,
        iteration=number,
        images=record.get("labelled_images", len(record.get("labelled_ids") or ())),
        boxes=sum(counts.values()),
        class_counts=counts,
        **{k: detector.get(k) for k in ("schedule", "detector", "architecture", "pretrained")},
        per_class={k: ClassMetrics(**m) for k, m in per_class.items()} if per_class else None,
        **{k: evaluation.get(k) for k in ("macro_f1", "mean_ap", "eval_key")},
        errors={kind: ErrorKind(**e) for kind, e in (evaluation.get("errors") or {}).items()},
        reliability=[ReliabilityBin(**b) for b in evaluation.get("reliability") or ()],
        seconds={name: s["seconds"] for name, s in record["steps"].items() if "seconds" in s},
    )


# --- curves ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Series:
    """One loop: its iterations in order, from the initial images on."""

    name: str  #: "" for the main loop
    strategy: str
    label: str  #: for people, unique within a report: "Diverse", "Sequential"
    points: tuple[IterationSummary, ...]

    @property
    def is_ranked(self) -> bool:
        """Whether its batches were chosen by unseen scores."""
        return self.strategy in SCORED_STRATEGIES

    @property
    def last(self) -> IterationSummary:
        """The newest iteration."""
        return self.points[-1]

    def at(self, images: int) -> IterationSummary | None:
        """The newest iteration with that many labelled images."""
        return next((p for p in reversed(self.points) if p.images == images), None)


@dataclass(frozen=True)
class Curves:
    """The learning curves of one report."""

    judged: Series | None  #: the series whose ranking is judged; None without any iteration
    others: tuple[Series, ...]  #: what it is compared with; sequential and random first
    full: IterationSummary | None  #: the detector trained on everything, if there is one

    @property
    def series(self) -> tuple[Series, ...]:
        """All series, the judged one first."""
        return (self.judged, *self.others) if self.judged else ()


def read_curves(iterations: Sequence[IterationSummary]) -> Curves:
    """Sort iterations into series.

    The main loop (series "") is judged, or the first ranked series if the main loop is not ranked.
    All series share the initial images, so a series without an iteration 0 takes that of the main
    loop. Iterations without labelled images (their batch was only selected) are left out.
    """
    iterations = [i for i in iterations if i.images > 0]
    full = next((i for i in reversed(iterations) if i.strategy == FULL), None)
    groups: dict[str, dict[int, IterationSummary]] = {}
    for point in iterations:
        if point.strategy != FULL:
            groups.setdefault(point.series, {})[point.iteration] = point
    if not groups:
        return Curves(None, (), full)

    strategies = {name: _strategy(list(group.values())) for name, group in groups.items()}
    judged = min(groups, key=lambda name: (strategies[name] not in SCORED_STRATEGIES, name != ""))
    initial = next(
        (groups[name][0] for name in ("", judged, *groups) if 0 in groups.get(name, {})), None
    )
    names = sorted(groups, key=lambda name: (name != judged, _place(strategies[name])))
    series = []
    for name in names:
        points = {0: initial, **groups[name]} if initial else groups[name]
        label = strategies[name].capitalize() or "Loop"
        if list(strategies.values()).count(strategies[name]) > 1:
            label += f" ({name or 'main'})"
        ordered = tuple(point for _, point in sorted(points.items()))
        series.append(Series(name, strategies[name], label, ordered))
    return Curves(series[0], tuple(series[1:]), full)


def _strategy(points: list[IterationSummary]) -> str:
    """The strategy of the batches, which did not choose the initial images."""
    chosen = list(dict.fromkeys(p.strategy for p in points if p.iteration > 0 and p.strategy))
    ranked = [s for s in chosen if s in SCORED_STRATEGIES]
    return (ranked or chosen or [points[0].strategy])[-1]


def _place(strategy: str) -> int:
    return _ORDER.index(strategy) if strategy in _ORDER else len(_ORDER)


# --- numbers ---------------------------------------------------------------------------------------
def metrics_of(point: IterationSummary | None, label: str) -> ClassMetrics | None:
    """Metrics of one class, or None where they are undefined (not measured, no test boxes)."""
    metrics = (point.per_class or {}).get(label) if point else None
    return metrics if metrics is not None and metrics.support > 0 else None


def defined(value: float | None) -> float | None:
    """The value, or None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def balance(counts: Mapping[str, float], classes: Sequence[str]) -> float | None:
    """Normalised entropy of the labelled boxes: 1 = as many of each class, 0 = one class only.

    H = -sum(p log p) / log(K) over the K classes of the fixed list; None with fewer than two
    classes or without boxes.
    """
    numbers = [max(0, counts.get(label, 0)) for label in classes]
    total = sum(numbers)
    if len(numbers) < 2 or total == 0:
        return None
    shares = [n / total for n in numbers if n]
    return abs(sum(p * math.log(p) for p in shares)) / math.log(len(numbers))
