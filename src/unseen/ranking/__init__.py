"""What to label next: metrics, regions, features, criteria, and the choice of a batch.

This module itself only holds names, so that forms can import it without numpy or torch.
"""

from __future__ import annotations

#: Strategies that rank by the unseen scores of the UNet; the others need no model.
SCORED_STRATEGIES = ("diverse", "mixed", "plain", "balanced", "entropy", "foreground")

#: Every strategy, and what its batch holds: for forms, `--help`, the panel and docs/reference.md.
STRATEGIES = {
    "mixed": "unseen pixels, images unlike any other, unlabelled kinds of images and classes that "
    "were just found share the batch",
    "diverse": "the highest metric, but unlike the images chosen before",
    "plain": "the highest metric",
    "balanced": "expected examples that even out the labelled classes",
    "random": "drawn at random",
    "sequential": "the first in directory order",
    "entropy": "the highest entropy of the UNet, summed over pixels",
    "foreground": "the largest area that the UNet takes for an object",
}

METRICS = ("excess", "alpha", "threshold", "region_strength")

#: A class is rare if it has at most this part of an even share of the labelled boxes.
RARE_SHARE = 1 / 3


def ranking_metric(strategy: str, metric: str) -> str:
    """The image metric that a strategy ranks by; `metric` unless the strategy brings its own."""
    return strategy if strategy in ("entropy", "foreground") else metric
