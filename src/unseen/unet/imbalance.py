"""How unevenly the labelled examples are spread over the classes, and how the ranking adapts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def class_imbalance(counts: npt.ArrayLike) -> float:
    """The share of examples missing to as many of each class as the largest has, in [0, 1).

    Takes (K,) examples per class; 0 = as many of each, or none at all. Omega_imb of Dong, Gong &
    Zhu 2017, who weight their class rectification loss with it: it vanishes where nothing is rare.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if not counts.any():
        return 0.0
    return float((counts.max() - counts).sum() / (counts.max() * len(counts)))


def adapted_alpha(alpha: float, imbalance: float) -> float:
    """The exponent of M_alpha for the classes labelled so far (Ivanov et al. 2021, VI).

    A higher exponent lets few strong pixels outweigh many weak ones. Where one class has most
    labels, rare, compact examples are missing and worth more than the broad weak novelty that the
    large classes leave. So the `alpha` of even classes grows with the `class_imbalance`, up to
    twofold.
    """
    return alpha * (1 + imbalance)
