"""What each run found of the rare classes, at equal numbers of images and of boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unseen.benchmark.report.runs import Benchmark, Run
from unseen.loop.curves import balance, defined
from unseen.report.table import Spread, spread

#: A measure of each run: (case, strategy) -> seed -> value, without what was not measured.
Values = dict[tuple[str, str], dict[int, float]]


@dataclass(frozen=True)
class Finding:
    """What one run found.

    Shares in [0, 1] are of what the pool holds beyond the initial images; None if it holds none.
    """

    boxes: float  #: in all labelled images, the initial ones included
    rare_boxes: float | None  #: share of the boxes of rare classes found
    rare_images: float | None  #: share of the images with a rare class found
    balance: float | None  #: entropy of the classes of all labelled boxes over log(classes)


def finding(run: Run, weights: npt.ArrayLike) -> Finding:
    """The figures of a run if each image counts by its (labelled,) weight in [0, 1]."""
    shares = np.asarray(weights, np.float64)
    labelled = shares @ box_counts(run)
    later = np.arange(len(shares)) >= run.initial
    rare_boxes, boxes = _rare_boxes(run)
    rare_images = (rare_boxes > 0).astype(np.float64)
    images = run.pool["rare_images"] - rare_images[~later].sum()
    return Finding(
        boxes=float(labelled.sum()),
        rare_boxes=float((rare_boxes * shares)[later].sum() / boxes) if boxes else None,
        rare_images=float((rare_images * shares)[later].sum() / images) if images else None,
        balance=balance(dict(zip(run.classes, labelled.tolist(), strict=True)), run.classes),
    )


def found_over_images(run: Run) -> np.ndarray | None:
    """(n + 1,) share of the rare boxes found after 0, 1, ... n images beyond the initial ones.

    None if there are no rare boxes to find.
    """
    rare, total = _rare_boxes(run)
    return np.concatenate([[0.0], np.cumsum(rare[run.initial :])]) / total if total else None


def equal_images(benchmark: Benchmark, run: Run) -> np.ndarray:
    """(labelled,) weights: 1 for as many images as every strategy labelled."""
    return (np.arange(len(run.labelled)) < benchmark.images[run.case, run.seed]).astype(np.float64)


def equal_boxes(benchmark: Benchmark, run: Run) -> np.ndarray:
    """(labelled,) weights: as many images as hold the boxes of the strategy that labelled fewest.

    The image that crosses that number counts by the share of its boxes below it.
    """
    runs = [r for r in benchmark.choosing() if (r.case, r.seed) == (run.case, run.seed)]
    allowed = min(box_counts(r).sum(axis=1) @ equal_images(benchmark, r) for r in runs)
    boxes = box_counts(run).sum(axis=1)
    left = allowed - np.concatenate([[0.0], np.cumsum(boxes)[:-1]])
    parts = np.divide(left, boxes, out=np.where(left >= 0, 1.0, 0.0), where=boxes > 0)
    return np.asarray(np.clip(parts, 0, 1) * equal_images(benchmark, run))


def box_counts(run: Run) -> np.ndarray:
    """(labelled, classes) boxes of each labelled image."""
    rows = [[counts.get(c, 0) for c in run.classes] for _, counts in run.labelled]
    return np.asarray(rows, np.float64).reshape(len(run.labelled), len(run.classes))


def values_of(runs: Sequence[Run], measure: Callable[[Run], float | None]) -> Values:
    """A measure of every run."""
    values: Values = {}
    for run in runs:
        value = defined(measure(run))
        if value is not None:
            values.setdefault((run.case, run.strategy), {})[run.seed] = value
    return values


def over_seeds(values: Values, case: str, strategy: str) -> Spread | None:
    """Mean and deviation of one strategy on one case."""
    return spread(list(values.get((case, strategy), {}).values()))


def over_cases(values: Values, strategy: str) -> float | None:
    """Mean of the case means; None if the strategy lacks a case, as means would not compare."""
    cases = dict.fromkeys(case for case, _ in values)
    means = [s.mean for c in cases if (s := over_seeds(values, c, strategy)) is not None]
    return float(np.mean(means)) if means and len(means) == len(cases) else None


def paired(values: Values, case: str, first: str, peer: str) -> list[float]:
    """Differences, first minus peer, over the seeds that both were run with."""
    ours, theirs = values.get((case, first), {}), values.get((case, peer), {})
    return [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]


def _rare_boxes(run: Run) -> tuple[np.ndarray, float]:
    """(labelled,) boxes of rare classes per image, and how many lie beyond the initial images."""
    rare = [run.classes.index(name) for name in run.rare]
    boxes: np.ndarray = box_counts(run)[:, rare].sum(axis=1)
    total = sum(run.pool["boxes"].get(name, 0) for name in run.rare)
    return boxes, float(total - boxes[: run.initial].sum())
