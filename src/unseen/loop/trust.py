"""How far a ranking can be trusted: what is known before labels come back, and what after.

Before, only the scores are there. A metric that is about the same for every image cannot rank; one
that is not may still rank by something that nobody looks for. Only labels tell: whether the ranked
images hold boxes of rare or new classes more often than images that were chosen without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from unseen.arrays.bootstrap import mean_difference_interval
from unseen.loop.overview_data import Trust

#: The best images must lie this much above the median image, or the metric is called flat.
MIN_LIFT = 1.5
#: A class is rare below this part of an even share of the labelled boxes.
RARE_PART = 1 / 3
#: Chance of a false alarm that is accepted.
SIGNIFICANT = 0.05
#: Fewer images than this say nothing about a spread.
MIN_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Labels of the newest ranked batch, and of images chosen without the ranking.

    Each image is the list of its boxes' classes.
    """

    batch: str  #: name of the batch
    ranked: Sequence[Sequence[str]]
    compared: Sequence[Sequence[str]]
    how: str  #: how `compared` was chosen: "drawn at random", "of the test split", ...
    is_fair: bool  #: chosen independently of what is rare; the initial images are not
    counts_before: Mapping[str, int]  #: labelled boxes per class when the batch was chosen


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
    """What can be said about a ranking now.

    Args:
        values: (N,) the metric of every image that could be chosen.
        metric: its name.
        budget: images in a batch; the best that many are compared with the median image.
        mean_score: mean unseen score per pixel, in [0, 1]: the expected share of unseen pixels.
        evidence: labels of a ranked batch that came back.
        classes: the fixed class list.
        are_scores_old: a newer UNet was trained since.
    """
    figures = spread(values, budget)
    figures["unseen_share"] = mean_score
    details = [_spread_sentence(figures, metric)] if figures["images"] else []
    if mean_score is not None:
        details.append(
            f"{_percent(mean_score)} of the pixels are expected to be unseen (mean score)."
        )
    if are_scores_old:
        details.append("The scores are older than the newest UNet; score the pool again.")
    found = None if evidence is None else compare(evidence, classes)
    if evidence is not None and found is not None:
        figures.update(found)
        if found["rare_classes"] and evidence.is_fair:
            verdict, sentence = _by_labels(evidence, found)
            return Trust(
                verdict=verdict,
                sentence=sentence,
                figures=figures,
                details=details,
                is_warning=verdict != "good",
            )
        details.append(_why_not(evidence, found))
    verdict, sentence = _by_spread(figures, metric)
    return Trust(
        verdict=verdict,
        sentence=sentence,
        figures=figures,
        details=details,
        is_warning=verdict == "no better than random",
    )


def spread(values: np.ndarray, budget: int) -> dict[str, Any]:
    """Figures of how much the metric differs between images.

    Args:
        values: (N,) finite numbers >= 0.
        budget: images in a batch.

    Returns:
        `images`; `median`; `q95_to_median`; `variation`, standard deviation / mean; `lift`, the
        median of the best `budget` images (at most a twentieth of all, at least one) / median.
        None where undefined; a ratio to a median of 0 is undefined.
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
    """The best images hardly differ from the median one, or no image differs from another."""
    if figures["images"] < 2:
        return False
    if not figures["variation"]:  # all equal, or all 0
        return True
    return figures["lift"] is not None and figures["lift"] < MIN_LIFT


def rare_classes(
    images: Sequence[Sequence[str]], counts_before: Mapping[str, int], classes: Sequence[str]
) -> list[str]:
    """The classes of some images that were rare, or new, by the labels from before.

    Rare is what had at most RARE_PART of an even share of the labelled boxes.

    Args:
        images: the class of each box, per image.
        counts_before: labelled boxes per class.
        classes: the fixed class list.

    Returns:
        By name; none where nothing was labelled before. A class that no image holds can decide
        nothing and is left out.
    """
    seen = {label for image in images for label in image}
    known = sorted(seen | set(classes) | set(counts_before))
    total = sum(counts_before.values())
    limit = RARE_PART * total / len(known) if known else 0.0
    return [c for c in known if c in seen and counts_before.get(c, 0) <= limit] if total else []


def compare(evidence: Evidence, classes: Sequence[str]) -> dict[str, Any]:
    """How often ranked and other images hold boxes of classes that were rare or new.

    Rare is what had less than RARE_PART of an even share of the labelled boxes when the batch was
    chosen; a class without any box is new.
    """
    rare = rare_classes([*evidence.ranked, *evidence.compared], evidence.counts_before, classes)
    ranked, other = (
        np.asarray([sum(Counter(image)[c] for c in rare) for image in images])
        for images in (evidence.ranked, evidence.compared)
    )
    hits, other_hits = int((ranked > 0).sum()), int((other > 0).sum())
    table = [[hits, len(ranked) - hits], [other_hits, len(other) - other_hits]]
    return {
        "rare_classes": rare,
        "new_classes": [c for c in rare if not evidence.counts_before.get(c, 0)],
        "ranked_images": len(ranked),
        "ranked_with_rare": hits,
        "ranked_rare_boxes": int(ranked.sum()),
        "other_images": len(other),
        "other_with_rare": other_hits,
        "other_rare_boxes": int(other.sum()),
        "compared_with": evidence.how,
        "p_value": float(stats.fisher_exact(table, alternative="greater").pvalue),
        "difference_per_image": float(ranked.mean() - other.mean())
        if len(ranked) and len(other)
        else None,
        "difference_interval": mean_difference_interval([(ranked, other)], [1.0]),
    }


# --- words -----------------------------------------------------------------------------------------
def _by_labels(evidence: Evidence, found: Mapping[str, Any]) -> tuple[str, str]:
    names = ", ".join(found["rare_classes"])
    ranked = f"{found['ranked_with_rare']} of {found['ranked_images']} ranked images"
    other = f"{found['other_with_rare']} of {found['other_images']} images {evidence.how}"
    facts = f"{ranked} of {evidence.batch} hold rare or new classes ({names}); {other} do"
    chance = f"p = {_p(found['p_value'])}"
    share = found["ranked_with_rare"] / max(1, found["ranked_images"])
    other_share = found["other_with_rare"] / max(1, found["other_images"])
    if found["p_value"] <= SIGNIFICANT:
        return "good", f"The ranking finds what is rare: {facts} ({chance}, Fisher's exact test)."
    if share >= 1.5 * other_share and found["ranked_with_rare"]:
        return (
            "weak",
            f"It cannot be told from chance yet: {facts} ({chance}). More labelled batches will "
            "decide.",
        )
    return (
        "no better than random",
        f"The ranking is no better than random on these data: {facts} ({chance}). Random images "
        "would do as well.",
    )


def _by_spread(figures: Mapping[str, Any], metric: str) -> tuple[str, str]:
    if not figures["images"]:
        return "unknown", "No image of the pool is scored, so nothing can be said about a ranking."
    if figures["images"] < MIN_IMAGES:
        return (
            "unknown",
            f"Only {figures['images']} scored images are left: too few to judge the ranking.",
        )
    if is_flat(figures):
        what = (
            "is the same for every image"
            if not figures["variation"]
            else f"of the best images is only {figures['lift']:.2f} times that of the median image"
        )
        return (
            "no better than random",
            f"The metric {metric} {what}: this ranking is no better than random images.",
        )
    return (
        "unknown",
        "The metric differs between images, but only labels can tell whether it finds what is "
        "rare. Label a ranked batch, with a random share to compare it with.",
    )


def _why_not(evidence: Evidence, found: Mapping[str, Any]) -> str:
    """Why labels that are there cannot tell."""
    if not found["rare_classes"]:
        return (
            f"The labels of {evidence.batch} cannot tell either: no class in them was rare or new "
            "when it was chosen. Where nothing is rare, random images are as good."
        )
    names = ", ".join(found["rare_classes"])
    ranked = f"{found['ranked_with_rare']} of {found['ranked_images']} images of {evidence.batch}"
    return (
        f"{ranked} hold classes that were rare or new ({names}), but there is nothing fair to "
        f"compare with: rare is what the images {evidence.how} do not show. Select with a random "
        "share, or label the test split."
    )


def _spread_sentence(figures: Mapping[str, Any], metric: str) -> str:
    parts = []
    if figures["q95_to_median"] is not None:
        parts.append(f"95 % quantile / median {figures['q95_to_median']:.2f}")
    if figures["lift"] is not None:
        parts.append(f"best images / median {figures['lift']:.2f}")
    if figures["variation"] is not None:
        parts.append(f"coefficient of variation {figures['variation']:.2f}")
    if not parts:
        parts.append("0 everywhere")
    return f"Spread of {metric} over {figures['images']:,} images: {', '.join(parts)}."


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "below 0.001"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
