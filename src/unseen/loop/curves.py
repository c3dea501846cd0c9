"""The learning curves of one report: which series is judged, and what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unseen.loop.iteration import ClassMetrics, IterationSummary
from unseen.ranking import SCORED_STRATEGIES

FULL = "full"
#: Baselines in the order of the paper's comparison; other strategies follow.
_ORDER = ("sequential", "random")


@dataclass(frozen=True)
class Series:
    """One loop: its iterations in order, from the initial images on."""

    name: str  #: "" for the main loop
    strategy: str
    label: str  #: for people, unique within a report: "Diverse", "Sequential"
    points: tuple[IterationSummary, ...]

    @property
    def is_ranked(self) -> bool:
        """Its batches were chosen by what the UNet says."""
        return self.strategy in SCORED_STRATEGIES

    @property
    def last(self) -> IterationSummary:
        """The newest iteration."""
        return self.points[-1]

    def at(self, images: int) -> IterationSummary | None:
        """The newest iteration with that many labelled images."""
        found = [p for p in self.points if p.images == images]
        return found[-1] if found else None


@dataclass(frozen=True)
class Curves:
    """What a report draws.

    Attributes:
        judged: the series whose ranking is judged; None without any iteration.
        others: the series it is compared with; sequential and random first.
        full: the detector trained on everything, if there is one.
    """

    judged: Series | None
    others: tuple[Series, ...]
    full: IterationSummary | None

    @property
    def series(self) -> tuple[Series, ...]:
        """All series, the judged one first."""
        return (self.judged, *self.others) if self.judged else ()


def read_curves(iterations: Sequence[IterationSummary]) -> Curves:
    """Sort iterations into series.

    The judged series is the main loop (series ""), or the first ranked series where the main loop
    is none. Every series starts at iteration 0: the initial images are shared, so a series without
    its own is given those of the main loop. An iteration without labelled images has only been
    prepared (its batch is selected) and is left out.
    """
    iterations = [i for i in iterations if i.images > 0]
    full = [i for i in iterations if i.strategy == FULL]
    groups: dict[str, dict[int, IterationSummary]] = {}
    for point in iterations:
        if point.strategy != FULL:
            groups.setdefault(point.series, {})[point.iteration] = point
    if not groups:
        return Curves(None, (), full[-1] if full else None)

    strategies = {name: _strategy(list(group.values())) for name, group in groups.items()}
    judged = min(groups, key=lambda name: (strategies[name] not in SCORED_STRATEGIES, name != ""))
    initial = next(
        (groups[name][0] for name in ("", judged, *groups) if 0 in groups.get(name, {})), None
    )
    names = sorted(groups, key=lambda name: (name != judged, _place(strategies[name])))
    series = []
    for name in names:
        points = dict(groups[name])
        if 0 not in points and initial is not None:
            points[0] = initial
        strategy = strategies[name]
        twins = [n for n in names if strategies[n] == strategy]
        label = strategy.capitalize() or "Loop"
        if len(twins) > 1:
            label += f" ({name or 'main'})"
        series.append(Series(name, strategy, label, tuple(p for _, p in sorted(points.items()))))
    return Curves(series[0], tuple(series[1:]), full[-1] if full else None)


def metrics_of(point: IterationSummary | None, label: str) -> ClassMetrics | None:
    """Metrics of one class, or None where they are undefined (not measured, no test boxes)."""
    found = (point.per_class or {}).get(label) if point else None
    return found if found is not None and found.support > 0 else None


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


def _strategy(points: list[IterationSummary]) -> str:
    """The strategy of the batches; the initial images were chosen by none of them."""
    chosen = list(dict.fromkeys(p.strategy for p in points if p.iteration > 0 and p.strategy))
    if not chosen:
        return points[0].strategy
    ranked = [s for s in chosen if s in SCORED_STRATEGIES]
    return (ranked or chosen)[-1]


def _place(strategy: str) -> int:
    return _ORDER.index(strategy) if strategy in _ORDER else len(_ORDER)
