"""What each run found of the rare classes, for the same number of images and of boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unseen.benchmark.report.runs import Benchmark, Run
from unseen.loop.curves import balance, defined

#: A measure of each run: (case, strategy) -> seed -> value. What was not measured is left out.
Values = dict[tuple[str, str], dict[int, float]]


@dataclass(frozen=True)
class Spread:
    """A mean over seeds.

    Attributes:
        mean: of the values.
        sd: their standard deviation (n - 1); None for a single one.
        n: how many there are.
    """

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Finding:
    """What one run found with some of its labelled images.

    The initial images are the same for all and were not chosen: shares are of what could be found
    beyond them. They count in the balance, which is of everything labelled.

    Attributes:
        images: labelled beyond the initial ones.
        boxes: in all labelled images, the initial ones included.
        rare_boxes: share of the boxes of rare classes found, in [0, 1]; None where there is none.
        rare_images: share of the images with a rare class found, in [0, 1]; None likewise. Where the
            record does not say how many images hold any rare class, an image counts once for each
            rare class that it holds.
        entropy: of the classes of the labelled boxes, nats; None with fewer than two classes.
        balance: the same over log(classes), in [0, 1]; 1 = equally many boxes of each.
    """

    images: float
    boxes: float
    rare_boxes: float | None
    rare_images: float | None
    entropy: float | None
    balance: float | None


def finding(run: Run, weights: Sequence[float] | np.ndarray) -> Finding:
    """The figures of a run that labelled its images to some part.

    Args:
        run: the run.
        weights: (labelled,) share of each image that counts, in [0, 1].
    """
    shares = np.asarray(weights, np.float64)
    counts = box_counts(run)
    labelled = shares @ counts
    later = np.arange(len(shares)) >= run.initial
    found, total = _rare_boxes(run)
    hits, holding = _rare_images(run)
    even = balance(dict(zip(run.classes, labelled.tolist(), strict=True)), run.classes)
    return Finding(
        images=float(shares[later].sum()),
        boxes=float(labelled.sum()),
        rare_boxes=float((found * shares)[later].sum() / total) if total else None,
        rare_images=float((hits * shares)[later].sum() / holding) if holding else None,
        entropy=None if even is None else even * math.log(len(run.classes)),
        balance=even,
    )


def found_over_images(run: Run) -> np.ndarray | None:
    """(n + 1,) share of the rare boxes found after 0, 1, ... n images beyond the initial ones.

    None where there is nothing rare to be found.
    """
    found, total = _rare_boxes(run)
    if not total:
        return None
    return np.concatenate([[0.0], np.cumsum(found[run.initial :])]) / total


def area_under_curve(benchmark: Benchmark, run: Run) -> float | None:
    """Area under the share of rare boxes over images, as a share of the whole: how soon they come.

    Over as many images as every strategy labelled, by the rule of trapezes. 1/2 = found evenly, all
    of them in the end; near 1 = all found at once. None where there is nothing to be found.
    """
    curve = found_over_images(run)
    images = benchmark.images[run.case, run.seed] - run.initial
    if curve is None or images < 1:
        return None
    return float(((curve[1:] + curve[:-1]) / 2)[:images].mean())


def equal_images(benchmark: Benchmark, run: Run) -> np.ndarray:
    """(labelled,) weights: 1 for as many images as every strategy labelled."""
    return (np.arange(len(run.labelled)) < benchmark.images[run.case, run.seed]).astype(np.float64)


def equal_boxes(benchmark: Benchmark, run: Run) -> np.ndarray:
    """(labelled,) weights: as many images as hold the boxes of the strategy that labelled fewest.

    The image that crosses that number counts by the share of its boxes that is still allowed.
    """
    others = [r for r in benchmark.runs if (r.case, r.seed) == (run.case, run.seed)]
    totals = [
        box_counts(r).sum(axis=1) @ equal_images(benchmark, r) for r in others if not r.is_full
    ]
    boxes = box_counts(run).sum(axis=1)
    left = min(totals) - np.concatenate([[0.0], np.cumsum(boxes)[:-1]])
    parts = np.divide(left, boxes, out=np.where(left >= 0, 1.0, 0.0), where=boxes > 0)
    shares: np.ndarray = np.clip(parts, 0, 1) * equal_images(benchmark, run)
    return shares


def box_counts(run: Run) -> np.ndarray:
    """(labelled, classes) boxes of each labelled image."""
    rows = [[counts.get(c, 0) for c in run.classes] for _, counts in run.labelled]
    return np.asarray(rows, np.float64).reshape(len(run.labelled), len(run.classes))


def values_of(benchmark: Benchmark, measure: Callable[[Run], float | None]) -> Values:
    """A measure of every run but the full sets."""
    found: Values = {}
    for run in benchmark.runs:
        value = None if run.is_full else defined(measure(run))
        if value is not None:
            found.setdefault((run.case, run.strategy), {})[run.seed] = value
    return found


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and standard deviation; None without values."""
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, len(values))


def over_seeds(values: Values, case: str, strategy: str) -> Spread | None:
    """Of one strategy on one case."""
    return spread(list(values.get((case, strategy), {}).values()))


def over_cases(values: Values, cases: Sequence[str], strategy: str) -> float | None:
    """Mean of the case means; None where the strategy lacks a case that another one has.

    A mean over fewer cases could not be compared with the others.
    """
    measured = [c for c in cases if any(case == c for case, _ in values)]
    means = [s.mean for c in measured if (s := over_seeds(values, c, strategy)) is not None]
    return float(np.mean(means)) if means and len(means) == len(measured) else None


def paired(values: Values, case: str, first: str, peer: str) -> list[float]:
    """Differences, first less peer, over the seeds that both were run with."""
    ours, theirs = values.get((case, first), {}), values.get((case, peer), {})
    return [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]


def _rare_boxes(run: Run) -> tuple[np.ndarray, float]:
    """(labelled,) boxes of rare classes per image, and how many lie beyond the initial images."""
    rare = [run.classes.index(name) for name in run.rare]
    found: np.ndarray = box_counts(run)[:, rare].sum(axis=1)
    return found, _sum(run.pool["boxes"], run.rare) - float(found[: run.initial].sum())


def _rare_images(run: Run) -> tuple[np.ndarray, float]:
    """(labelled,) whether (or for how many classes) an image counts, and what can be found."""
    rare = [run.classes.index(name) for name in run.rare]
    holds = np.asarray(box_counts(run)[:, rare] > 0)
    total = run.pool.get("rare_images")
    hits = np.asarray(holds.any(axis=1) if total is not None else holds.sum(axis=1), np.float64)
    if total is None:
        total = _sum(run.pool["class_images"], run.rare)
    return hits, float(total) - float(hits[: run.initial].sum())


def _sum(numbers: Mapping[str, int], names: Sequence[str]) -> float:
    return float(sum(numbers.get(name, 0) for name in names))
