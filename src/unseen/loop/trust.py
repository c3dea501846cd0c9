"""How far a ranking can be trusted: what is known before labels come back, and what after.

Before, only the scores are there. A metric that is about the same for every image cannot rank, but
one that varies may still rank by something irrelevant. Only labels can tell: whether the ranked
images hold boxes of rare or new classes more often than images chosen without the ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from unseen.arrays.bootstrap import mean_difference_interval
from unseen.loop.overview_data import Control, ControlBatch, Interval, Trust

#: The metric is flat if the best images lie less than this factor above the median image.
MIN_LIFT = 1.5
#: A class is rare below this part of an even share of the labelled boxes.
RARE_PART = 1 / 3
#: Significance level of Fisher's exact test.
SIGNIFICANT = 0.05
#: Shares of images that differ by at least this factor may turn out significant with more labels.
PROMISING = 1.5
#: Fewer images than this say nothing about a spread, nor that two shares are alike.
MIN_IMAGES = 20

#: The classes of the boxes of some images.
Images = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class LabelledBatch:
    """The labels of a ranked batch."""

    name: str
    ranked: Images
    random: Images  #: drawn at random
    counts_before: Mapping[str, int]  #: labelled boxes per class when the batch was chosen
    images: int = 0  #: of the batch, labelled or not
    ids: Sequence[str] = ()  #: of the labelled ranked images


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A labelled batch, and images chosen without the ranking."""

    batch: LabelledBatch
    compared: Images
    how: str  #: how `compared` was chosen: "drawn at random", "of the test split", ...
    is_fair: bool  #: chosen independently of what is rare; the initial images are not


def rare_classes(
    images: Images, counts_before: Mapping[str, int], classes: Sequence[str]
) -> list[str]:
    """The classes in `images` that were rare or new, by the labels from before.

    Rare means at most RARE_PART of an even share of the labelled boxes over all known classes.
    Nothing is rare if nothing was labelled before.
    """
    shown = {label for image in images for label in image}
    known = shown | set(classes) | set(counts_before)
    total = sum(counts_before.values())
    if not total:
        return []
    limit = RARE_PART * total / len(known)
    return [c for c in sorted(shown) if counts_before.get(c, 0) <= limit]


def _boxes(images: Images, classes: Sequence[str]) -> np.ndarray:
    """(n,) boxes of these classes in each image."""
    return np.asarray([sum(label in classes for label in image) for image in images], np.float64)


# --- the verdict -----------------------------------------------------------------------------------
def judge_ranking(
    values: np.ndarray,
    *,
    metric: str,
    budget: int,
    mean_score: float | None = None,
    evidence: Evidence | None = None,
    classes: Sequence[str] = (),
    are_scores_old: bool = False,
) -> Trust:
    """What can be said about a ranking now: by labels if they can tell, else by the spread.

    `values` are the (N,) metric of every candidate, `budget` the images in a batch, and `mean_score`
    the mean unseen score per pixel in [0, 1], which is the expected share of unseen pixels.
    """
    figures = spread(values, budget)
    figures["unseen_share"] = mean_score
    details = [_spread_sentence(figures, metric)] if figures["images"] else []
    if mean_score is not None:
        details.append(f"Expected share of unseen pixels (mean score): {100 * mean_score:.2g} %.")
    if are_scores_old:
        details.append("The scores are older than the newest UNet; score the pool again.")
    decided = None
    if evidence is not None:
        compared = compare(evidence, classes)
        figures.update(compared)
        if compared["rare_classes"] and evidence.is_fair:
            decided = _by_labels(evidence, compared)
        if decided is None:
            details.append(_inconclusive(evidence, compared))
    verdict, sentence = decided or _by_spread(figures, metric)
    return Trust(
        verdict=verdict,
        sentence=sentence,
        figures=figures,
        details=details,
        is_warning=verdict in ("weak", "no better than random"),
    )


def spread(values: np.ndarray, budget: int) -> dict[str, Any]:
    """How much the metric, (N,) finite numbers >= 0, differs between images.

    `variation` is the standard deviation / mean; `lift` the median of the best `budget` images (at
    most a twentieth of all, at least one) / median of all. None where undefined.
    """
    values = np.sort(np.asarray(values, dtype=np.float64))
    count = len(values)
    figures: dict[str, Any] = {"images": count, "budget": budget}
    if not count:
        return {**figures, "median": None, "q95_to_median": None, "variation": None, "lift": None}
    median, mean = float(np.median(values)), float(values.mean())
    best = values[-max(1, min(budget, count // 20)) :]
    return {
        **figures,
        "median": median,
        "maximum": float(values[-1]),
        "q95_to_median": float(np.quantile(values, 0.95)) / median if median > 0 else None,
        "variation": float(values.std()) / mean if mean > 0 else None,
        "lift": float(np.median(best)) / median if median > 0 else None,
    }


def is_flat(figures: Mapping[str, Any]) -> bool:
    """Whether the best images hardly differ from the median one, or no image from another."""
    if figures["images"] < 2:
        return False
    if not figures["variation"]:  # all equal, or all 0
        return True
    return figures["lift"] is not None and figures["lift"] < MIN_LIFT


def compare(evidence: Evidence, classes: Sequence[str]) -> dict[str, Any]:
    """How often ranked and other images hold boxes of rare or new classes."""
    batch, before = evidence.batch, evidence.batch.counts_before
    rare = rare_classes([*batch.ranked, *evidence.compared], before, classes)
    ranked, other = _boxes(batch.ranked, rare), _boxes(evidence.compared, rare)
    hits, other_hits = int((ranked > 0).sum()), int((other > 0).sum())
    table = [[hits, len(ranked) - hits], [other_hits, len(other) - other_hits]]
    has_both = bool(len(ranked) and len(other))
    return {
        "rare_classes": rare,
        "new_classes": [c for c in rare if not before.get(c, 0)],
        "ranked_images": len(ranked),
        "ranked_with_rare": hits,
        "ranked_rare_boxes": int(ranked.sum()),
        "other_images": len(other),
        "other_with_rare": other_hits,
        "other_rare_boxes": int(other.sum()),
        "compared_with": evidence.how,
        "p_value": float(stats.fisher_exact(table, alternative="greater").pvalue),
        "difference_per_image": float(ranked.mean() - other.mean()) if has_both else None,
        "difference_interval": mean_difference_interval([(ranked, other)], [1.0]),
    }


def _numbers(evidence: Evidence, figures: Mapping[str, Any]) -> str:
    p = figures["p_value"]
    return (
        f"{figures['ranked_with_rare']} of {figures['ranked_images']} ranked images of "
        f"{evidence.batch.name} hold rare or new classes ({', '.join(figures['rare_classes'])}); "
        f"{figures['other_with_rare']} of {figures['other_images']} images {evidence.how} do "
        f"(p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'}, Fisher's exact test)"
    )


def _by_labels(evidence: Evidence, figures: Mapping[str, Any]) -> tuple[str, str] | None:
    """Verdict and sentence; None if there are too few images for any."""
    hits, images = figures["ranked_with_rare"], figures["ranked_images"]
    other_hits, other_images = figures["other_with_rare"], figures["other_images"]
    p, numbers = figures["p_value"], _numbers(evidence, figures)
    if p <= SIGNIFICANT:
        return "good", f"The ranking finds rare classes: {numbers}."
    if hits and hits / images >= PROMISING * other_hits / max(1, other_images):
        return (
            "weak",
            f"The difference is not significant yet: {numbers}. More labelled batches will decide.",
        )
    if min(images, other_images) < MIN_IMAGES:
        return None
    return (
        "no better than random",
        f"The ranking is no better than random on these data: {numbers}. Random images would do "
        "as well.",
    )


def _by_spread(figures: Mapping[str, Any], metric: str) -> tuple[str, str]:
    if not figures["images"]:
        return "unknown", "No image of the pool has a score, so nothing is known about the ranking."
    if figures["images"] < MIN_IMAGES:
        return (
            "unknown",
            f"Only {figures['images']} scored images are left: too few to judge the ranking.",
        )
    if is_flat(figures):
        what = "is the same for every image"
        if figures["variation"]:
            what = f"of the best images is only {figures['lift']:.2f} times that of the median one"
        return (
            "no better than random",
            f"The metric {metric} {what}: this ranking is no better than random.",
        )
    return (
        "unknown",
        "The metric differs between images, but only labels can tell whether it finds rare "
        "classes. Label a ranked batch with a random share to compare it with.",
    )


def _inconclusive(evidence: Evidence, figures: Mapping[str, Any]) -> str:
    """Why the labels of the batch cannot tell."""
    name = evidence.batch.name
    if not figures["rare_classes"]:
        return (
            f"The labels of {name} cannot tell either: none of its classes was rare or new when it "
            "was chosen. Where nothing is rare, random images are as good."
        )
    if evidence.is_fair:
        return f"Too few images to tell the ranking from random: {_numbers(evidence, figures)}."
    return (
        f"{figures['ranked_with_rare']} of {figures['ranked_images']} images of {name} hold classes "
        f"that were rare or new ({', '.join(figures['rare_classes'])}), but there is no fair "
        f"comparison: the images {evidence.how} define what is rare. Select a batch with a random "
        "share, or label the test split."
    )


def _spread_sentence(figures: Mapping[str, Any], metric: str) -> str:
    ratios = {
        "95 % quantile / median": figures["q95_to_median"],
        "best images / median": figures["lift"],
        "coefficient of variation": figures["variation"],
    }
    parts = [f"{name} {value:.2f}" for name, value in ratios.items() if value is not None]
    text = ", ".join(parts) or "0 everywhere"
    return f"Spread of {metric} over {figures['images']:,} images: {text}."


# --- the control group -----------------------------------------------------------------------------
def control_group(batches: Sequence[LabelledBatch], classes: Sequence[str]) -> Control | None:
    """The gain of ranked over random images, in boxes of rare or new classes per image.

    Both parts of a batch are labelled by the same people at the same time, so their difference needs
    no assumptions. Each batch has its own rare classes, and is weighted by its ranked images. None
    if no batch has labelled images of both parts.
    """
    rows, strata = [], []
    for batch in batches:
        if not batch.ranked or not batch.random:
            continue
        rare = rare_classes([*batch.ranked, *batch.random], batch.counts_before, classes)
        ranked, random = _boxes(batch.ranked, rare), _boxes(batch.random, rare)
        strata.append((ranked, random))
        rows.append(
            ControlBatch(
                batch=batch.name,
                rare_classes=rare,
                ranked_images=len(ranked),
                ranked_boxes=int(ranked.sum()),
                random_images=len(random),
                random_boxes=int(random.sum()),
            )
        )
    if not rows:
        return None
    weights = np.asarray([row.ranked_images for row in rows], np.float64)
    weights /= weights.sum()
    means = np.asarray([[part.mean() for part in parts] for parts in strata])
    per_ranked, per_random = (float(mean) for mean in weights @ means)
    bounds = mean_difference_interval(strata, weights)
    # An interval of width 0 would claim a certainty that few images do not give.
    is_wide = bounds is not None and bounds[0] < bounds[1]
    interval = Interval(low=bounds[0], high=bounds[1]) if bounds and is_wide else None
    return Control(
        batches=rows,
        ranked_per_image=per_ranked,
        random_per_image=per_random,
        gain=per_ranked - per_random,
        interval=interval,
        sentence=_control_sentence(rows, per_ranked, per_random, interval),
    )


def _control_sentence(
    rows: Sequence[ControlBatch], ranked: float, random: float, interval: Interval | None
) -> str:
    numbers = (
        f"Over {len(rows)} batch{'' if len(rows) == 1 else 'es'}, a ranked image held {ranked:.2f} "
        f"boxes of rare or new classes, one of the {sum(row.random_images for row in rows)} random "
        f"ones {random:.2f}"
    )
    if not any(row.rare_classes for row in rows):
        return f"{numbers}: no class was rare, so there was nothing to gain."
    gain = f"a gain of {ranked - random:+.2f} per image"
    if interval is None:
        return f"{numbers}: {gain}, from too few random images for an interval."
    certainty = "the gain is not significant yet"
    if interval.low > 0:
        certainty = "the gain is significant"
    elif interval.high < 0:
        certainty = "it is a significant loss"
    bounds = f"{interval.low:+.2f} to {interval.high:+.2f}"
    return f"{numbers}: {gain} (95 % interval {bounds}); {certainty}."
