"""How far the confidences of a detector can be believed.

Source: M. P. Naeini, G. Cooper, M. Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian
Binning*, 2015 (the expected calibration error, with bins of equal width).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """The predictions of one range of confidence."""

    confidence: float  #: their mean
    right: int
    predictions: int


def reliability(confidences: npt.ArrayLike, is_right: npt.ArrayLike) -> list[ReliabilityBin]:
    """Predictions (N,) with confidences in [0, 1] by tenths of confidence; empty tenths left out."""
    scores, right = np.asarray(confidences, np.float64), np.asarray(is_right, bool)
    bins = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    made = []
    for number in np.unique(bins):
        mine = bins == number
        made.append(
            ReliabilityBin(float(scores[mine].mean()), int(right[mine].sum()), int(mine.sum()))
        )
    return made


def calibration_error(bins: list[ReliabilityBin]) -> float | None:
    """Mean distance, [0, 1], of the confidence from the share that is right, over predictions."""
    total = sum(b.predictions for b in bins)
    distance = sum(abs(b.confidence * b.predictions - b.right) for b in bins)
    return distance / total if total else None
