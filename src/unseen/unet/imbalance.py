"""How unevenly the labelled examples are spread over the classes, and what the ranking makes of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def class_imbalance(counts: npt.ArrayLike) -> float:
    """The share of examples that all classes lack of as many as the largest one has.

    Dong, Gong & Zhu 2017 call it Omega_imb and weight their loss with it (`class_balance`), so that
    the loss vanishes where nothing is rare.

    Args:
        counts: (K,) examples per class; without any there is no imbalance.

    Returns:
        In [0, 1): 0 = as many of each.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if not counts.any():
        return 0.0
    return float((counts.max() - counts).sum() / (counts.max() * len(counts)))


def adapted_alpha(alpha: float, imbalance: float) -> float:
    """The exponent of M_alpha for the classes that are labelled so far (Ivanov et al. 2021, VI).

    The higher the exponent, the more a few strong pixels outweigh many weak ones. Where one class
    has most of the labels, what is missing are rare, compact examples, and those are worth more
    than broad weak novelty, of which the large classes leave plenty: the exponent grows, up to
    twice its value. Where the classes are even, it stays as it is.

    Args:
        alpha: exponent > 0 for even classes.
        imbalance: of the labelled classes, in [0, 1), see `class_imbalance`.

    Returns:
        alpha (1 + imbalance), in [alpha, 2 alpha).
    """
    return alpha * (1 + imbalance)
