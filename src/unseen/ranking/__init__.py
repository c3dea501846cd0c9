"""What to label next: image metrics, regions, features, criteria, and the choice of a batch."""

from __future__ import annotations

STRATEGIES = (
    "mixed",
    "diverse",
    "plain",
    "balanced",
    "random",
    "sequential",
    "entropy",
    "foreground",
)


METRICS = ("excess", "alpha", "threshold", "region_strength")


#: Strategies that rank by what the UNet says; the others need no model.
SCORED_STRATEGIES = ("diverse", "mixed", "plain", "balanced", "entropy", "foreground")
