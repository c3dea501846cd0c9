"""How far the confidences of a detector can be believed. Plain Python, so that records load quickly.

Source: M. P. Naeini, G. Cooper, M. Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian
Binning*, 2015 (the expected calibration error, with bins of equal width).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions of one range of confidence."""

    confidence: float  #: their mean
    right: int
    predictions: int


def reliability(confidences: Iterable[float], is_right: Iterable[bool]) -> list[ReliabilityBin]:
    """Predictions with confidences in [0, 1] by tenths of confidence; empty tenths left out."""
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for confidence, right in zip(confidences, is_right, strict=True):
        bins[min(int(confidence * BINS), BINS - 1)].append((float(confidence), bool(right)))
    return [
        ReliabilityBin(sum(c for c, _ in mine) / len(mine), sum(r for _, r in mine), len(mine))
        for _, mine in sorted(bins.items())
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float | None:
    """Mean distance, [0, 1], of the confidence from the share that is right, over predictions."""
    total = sum(b.predictions for b in bins)
    distance = sum(abs(b.confidence * b.predictions - b.right) for b in bins)
    return distance / total if total else None
